//! The counters of a hub without sockets: they match the bytes and messages in both directions, and
//! nothing is counted twice.

use std::net::IpAddr;

use crate::world::{World, frame, request};
use reverb::config::LimitKind;
use reverb::hub::{AppCounters, ConnId, CounterVec};

/// What the counters of the app count during `act`.
fn counted(world: &mut World, act: impl FnOnce(&mut World)) -> AppCounters {
    let before = world.hub.counters().apps[0];
    act(world);
    let after = world.hub.counters().apps[0];
    AppCounters {
        connections_opened: after.connections_opened - before.connections_opened,
        messages_in: after.messages_in - before.messages_in,
        messages_handled: after.messages_handled - before.messages_handled,
        bytes_in: after.bytes_in - before.bytes_in,
        messages_out: after.messages_out - before.messages_out,
        bytes_out: after.bytes_out - before.bytes_out,
        client_events: after.client_events - before.client_events,
        feed_lines_dropped: after.feed_lines_dropped - before.feed_lines_dropped,
        api_events: after.api_events - before.api_events,
    }
}

fn waiting_bytes(world: &mut World, id: ConnId) -> u64 {
    world.hub.outbox(id).unwrap().1.bytes() as u64
}

fn times<const N: usize>(tally: &CounterVec<N>, wanted: u16) -> u64 {
    tally.iter().find(|(number, _)| *number == wanted).unwrap().1
}

#[test]
fn a_client_event_counts_once_in_and_once_for_each_recipient() {
    let mut world = World::new();
    let sender = world.subscriber("c");
    let others: Vec<ConnId> = (0..3).map(|_| world.subscriber("c")).collect();
    let mut event = frame(r#"{"event":"client-e","channel":"c","data":{}}"#);
    let bytes_in = event.len() as u64;
    let mut bytes_out = 0;
    let counted = counted(&mut world, |world| {
        world.hub.receive(sender, &mut event, world.now);
        bytes_out = others.iter().map(|&id| waiting_bytes(world, id)).sum();
    });
    let expected = AppCounters {
        messages_in: 1,
        messages_handled: 1,
        bytes_in,
        messages_out: 3,
        bytes_out,
        client_events: 1,
        ..AppCounters::default()
    };
    assert_eq!(counted, expected);
    assert!(bytes_out > 0);
}

#[test]
fn a_rejected_message_is_not_counted_as_handled() {
    let mut world = World::new();
    let sender = world.subscriber("c");
    let counted = counted(&mut world, |world| {
        for text in ["no JSON", r#"{"event":"pusher:subscribe","data":{"channel":"private-c"}}"#] {
            world.hub.receive(sender, &mut frame(text), world.now);
        }
    });
    assert_eq!((counted.messages_in, counted.messages_handled), (2, 0));
}

#[test]
fn an_api_event_is_counted_once_for_each_of_its_channels() {
    let mut world = World::new();
    world.subscriber("a");
    let publisher = world.open();
    let body = r#"{"name":"e","channels":["a","nobody"],"data":"x"}"#;
    let mut publish = request("POST", "/apps/1/events", body);
    let counted = counted(&mut world, |world| _ = world.handle(publisher, &mut publish));
    assert_eq!((counted.api_events, counted.messages_out), (2, 1));
    assert_eq!((counted.messages_in, counted.client_events), (0, 0));
}

#[test]
fn a_connection_is_counted_once_its_app_has_accepted_it() {
    let mut world = World::new();
    let accepted = counted(&mut world, |world| _ = world.subscriber("c"));
    // The two messages sent are `connection_established` and `subscription_succeeded`.
    assert_eq!(
        (accepted.connections_opened, accepted.messages_in, accepted.messages_out),
        (1, 1, 2)
    );
    let plain = counted(&mut world, |world| {
        let id = world.open();
        world.handle(id, &mut b"GET /up HTTP/1.1\r\n\r\n".to_vec());
    });
    assert_eq!(plain, AppCounters::default());
}

#[test]
fn close_frames_are_counted_by_code_and_requests_by_status() {
    let mut world = World::new();
    let id = world.open();
    world.handle(id, &mut b"GET /nothing HTTP/1.1\r\n\r\nbroken\r\n\r\n".to_vec());
    // A binary message; a close frame with the invalid code 864.
    for (first, payload) in [(0x82, ""), (0x88, "\u{3}\u{60}")] {
        let id = world.subscriber("c");
        let mut bytes = frame(payload);
        bytes[0] = first;
        world.handle(id, &mut bytes);
    }
    assert_eq!((responses(&world, 404), responses(&world, 400)), (1, 1));
    let counters = world.hub.counters();
    assert_eq!((times(&counters.closes, 1003), times(&counters.closes, 1002)), (1, 1));
    assert_eq!(counters.closes.iter().map(|(_, times)| times).sum::<u64>(), 2);
    assert_eq!(counters.closes.others, 0);
}

/// How many requests of any route got this status.
fn responses(world: &World, status: u16) -> u64 {
    world.hub.counters().requests.iter().map(|tally| times(tally, status)).sum()
}

#[test]
fn a_request_that_is_rejected_by_its_head_is_counted_by_status() {
    let mut world = World::with(|limits| limits.api_requests = 1);
    // All but the last byte of a publish: the limit allows one such request at a time.
    let mut publish = request("POST", "/apps/1/events", r#"{"name":"e","channel":"c","data":""}"#);
    publish.pop();
    for mut bytes in [publish.clone(), publish, WITH_BODY.to_vec()] {
        let id = world.open();
        world.handle(id, &mut bytes);
    }
    assert_eq!((responses(&world, 503), responses(&world, 400)), (1, 1));
}

const WITH_BODY: &[u8] = b"GET /app/key HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nContent-Length: 5\r\n\r\n";

/// Whether a WebSocket from this address is accepted, as opposed to rejected with 4100.
fn is_accepted(world: &mut World, address: &str) -> bool {
    let id = world.open_from(address.parse().unwrap());
    let sent = world.waiting(id);
    assert!(sent.contains("connection_established") != sent.contains("4100"), "{sent}");
    sent.contains("connection_established")
}

#[test]
fn one_address_gets_at_most_half_of_the_connections() {
    let mut world = World::with(|limits| limits.connections = 20);
    assert!((0..10).all(|_| is_accepted(&mut world, "203.0.113.5")));
    assert!(!is_accepted(&mut world, "203.0.113.5"));
    assert!(is_accepted(&mut world, "203.0.113.6"));
    assert_eq!(world.hub.counters().limits_exceeded[LimitKind::ConnectionsPerAddress as usize], 1);
}

#[test]
fn clients_behind_a_private_proxy_are_not_counted_together() {
    let mut world = World::with(|limits| limits.connections_per_address = 1);
    for address in ["127.0.0.1", "10.0.0.1", "::1", "fd00::1"] {
        assert!((0..3).all(|_| is_accepted(&mut world, address)), "{address}");
    }
}

#[test]
fn an_address_below_its_limit_is_accepted_again() {
    let mut world = World::with(|limits| limits.connections_per_address = 2);
    let address: IpAddr = "2001:db8::1".parse().unwrap();
    let first = world.open_from(address);
    assert!(is_accepted(&mut world, "2001:db8::2"));
    assert!(!is_accepted(&mut world, "2001:db8::3"));
    // The rejected connection is removed as well: its close frame was written.
    world.write();
    world.hub.close(first, world.now);
    world.pass(20);
    assert!(is_accepted(&mut world, "2001:db8::3"));
}

#[test]
fn an_address_far_over_its_limit_gets_no_response() {
    let mut world = World::with(|limits| limits.connections_per_address = 2);
    let address: IpAddr = "203.0.113.5".parse().unwrap();
    let dropped = (0..1_000)
        .filter(|_| {
            let id = world.hub.open([0; 2], Some(address), world.now);
            world.hub.next_action(id) == reverb::hub::IoAction::Drop
        })
        .count();
    assert_eq!(dropped, 1_000 - 2 - 64);
    world.write();
    assert_eq!(world.hub.connections(), 2 + 64);
    // The rejected connections, which send nothing, time out.
    world.pass(6);
    assert_eq!(world.hub.connections(), 2);
}

#[test]
fn a_forwarded_address_replaces_that_of_the_proxy() {
    let mut world = World::with(|limits| limits.connections_per_address = 1);
    let client: IpAddr = "203.0.113.5".parse().unwrap();
    let id = world.open_from("127.0.0.1".parse().unwrap());
    world.hub.set_address(id, client);
    assert!(!is_accepted(&mut world, "203.0.113.5"));
    world.write();
    world.hub.close(id, world.now);
    world.pass(20);
    assert!(is_accepted(&mut world, "203.0.113.5"));
}

#[test]
fn members_that_leave_together_get_no_events_about_each_other() {
    let mut world = World::new();
    let watcher = world.member(99_999);
    let members: Vec<ConnId> = (0..300).map(|user| world.member(user)).collect();
    let leaves = counted(&mut world, |world| {
        // The hub sees a few ends at a time, as the event loop reports them.
        for some in members.chunks(10) {
            some.iter().for_each(|&id| world.hub.finished(id, world.now));
            world.write();
            world.now.ms += 1;
        }
        world.pass(2);
    });
    assert_eq!(world.hub.connections(), 1);
    // The watcher receives all 300 events, and each other member those of the first 64 leaves at
    // most, although there are 45,000 pairs of members.
    assert!((300..300 + 65 * 300).contains(&leaves.messages_out), "{}", leaves.messages_out);
    let few = counted(&mut world, |world| {
        world.member(1);
        let id = world.member(2);
        world.hub.finished(id, world.now);
        world.write();
    });
    // Two joins and one leave, each sent at once to the watcher and to the other member.
    assert_eq!(few.messages_out, 2 + 2 + 3 + 2);
    let _ = watcher;
}
