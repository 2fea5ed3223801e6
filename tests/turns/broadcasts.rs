//! Turns of the event loop with events for many subscribers: what is written first, and what shares a
//! write.

use reverb::hub::ConnId;

use super::{Loop, PING};
use crate::simulation::messages;
use crate::world::publish_request;

#[test]
fn an_event_for_twenty_thousand_subscribers_does_not_block_other_clients() {
    let mut world = Loop::new();
    let subscribers: Vec<ConnId> = (0..20_000).map(|_| world.subscriber("c")).collect();
    world.settle();
    world.take_all();
    let (probe, publisher, other) = (world.connect(), world.open(), world.open());
    let friend = world.subscriber("d");
    world.settle();
    world.take_all();
    world.send(publisher, &publish_request("c", 1));
    world.send(publisher, &publish_request("c", 2));
    world.turn();
    world.send_text(probe, PING);
    world.send(other, &publish_request("d", 1));
    assert!(world.turns_until_answered(probe) <= 2);
    let reached =
        |world: &Loop| subscribers.iter().filter(|id| !world.sockets[id].output.is_empty()).count();
    assert!((1..10_000).contains(&reached(&world)), "{}", reached(&world));
    world.turn();
    assert!(!world.take(other).is_empty() && !world.take(friend).is_empty());
    assert!(reached(&world) < 20_000);
    assert!(world.take(publisher).is_empty(), "publishing is no faster than writing");
    world.settle();
    for id in &subscribers {
        let received = messages(&world.take(*id));
        let texts: Vec<&str> =
            received.iter().map(|message| message["data"]["text"].as_str().unwrap()).collect();
        assert_eq!(texts, ["x", "xx"]);
    }
    assert_eq!(String::from_utf8(world.take(publisher)).unwrap().matches("200 OK").count(), 2);
}

#[test]
fn an_event_shares_the_writes_that_another_has_left() {
    let mut world = Loop::new();
    let subscribers: Vec<ConnId> = (0..1_000).map(|_| world.subscriber("c")).collect();
    let publisher = world.open();
    world.settle();
    world.take_all();
    let before = world.writes;
    world.send(publisher, &publish_request("c", 1));
    world.turn();
    assert!(!world.take(publisher).is_empty(), "the response comes before the event");
    world.send(publisher, &publish_request("c", 2));
    world.settle();
    for id in &subscribers {
        let received = messages(&world.take(*id));
        let texts = received.iter().map(|message| message["data"]["text"].as_str().unwrap());
        assert_eq!(texts.collect::<Vec<_>>(), ["x", "xx"]);
    }
    let writes = world.writes - before;
    assert!((1_000..1_300).contains(&writes), "{writes} writes of two events");
}
