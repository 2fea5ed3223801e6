//! Viewers of the feed over time: slow and silent ones, the line that keeps a response open, and
//! what is left after a viewer has closed. The lines themselves are tested in `tests/feed.rs`.

use serde_json::Value;

use super::*;

/// Views the feed of the app; `params` follow those of the signature.
fn view(world: &mut World, params: &str) -> ConnId {
    let id = world.open();
    let query =
        format!("auth_key=key&auth_timestamp={}&auth_version=1.0{params}", world.now.unix_s);
    let signature = Signer::new(SECRET).sign(&["GET\n/apps/1/feed\n", &query]);
    let target = format!("/apps/1/feed?{query}&auth_signature={signature}");
    world.send(id, format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes());
    while world.hub.next_dirty(world.now).is_some() {}
    id
}

/// Takes the output of a viewer, as after a turn in which its socket accepted everything. Returns
/// its lines.
fn lines(world: &mut World, id: ConnId) -> Vec<Value> {
    let mut text = String::new();
    loop {
        // A viewer that has just received lines gets the next ones a little later.
        world.pass(10);
        while world.hub.next_dirty(world.now).is_some() {}
        let piece = world.take(id);
        world.hub.written(id, false, world.now);
        if piece.is_empty() {
            break;
        }
        text.push_str(&piece);
    }
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn kinds(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["kind"].as_str().unwrap()).collect()
}

fn publish(world: &mut World, from: ConnId, bytes: usize) {
    let event = format!(r#"{{"event":"client-e","channel":"a","data":"{}"}}"#, "x".repeat(bytes));
    world.send_text(from, &event);
}

/// A world with a client that may publish.
fn with_publisher(set: impl FnOnce(&mut Limits)) -> (World, ConnId) {
    let mut world = World::new(|app, limits| {
        (app.max_message_size, limits.client_events_per_second) = (0, 0);
        set(limits);
    });
    let (publisher, _) = world.connect();
    world.subscribe(publisher, "a");
    (world, publisher)
}

#[test]
fn a_line_arrives_every_thirty_seconds() {
    let mut world = World::new(|_, _| {});
    let id = view(&mut world, "");
    assert_eq!(kinds(&lines(&mut world, id)), ["hello"]);
    for _ in 0..10 {
        world.pass(30_500);
        assert_eq!(kinds(&lines(&mut world, id)), ["alive"]);
        assert_eq!(world.hub.overdue(world.now), None);
    }
    world.hub.audit().unwrap();
}

#[test]
fn a_viewer_that_reads_nothing_is_closed() {
    let mut world = World::new(|_, _| {});
    let id = view(&mut world, "");
    world.pass(74_000);
    assert_eq!(world.hub.next_action(id), IoAction::Stay);
    assert_eq!(world.hub.connections.happenings.viewers(0), 1);
    world.pass(1_500);
    assert_eq!(world.hub.next_action(id), IoAction::Drop);
    assert_eq!(world.hub.connections.happenings.viewers(0), 0);
    assert!(world.hub.connections.happenings.feed().is_none());
    world.hub.audit().unwrap();
}

#[test]
fn a_slow_viewer_loses_lines_and_no_other_does() {
    let (mut world, publisher) = with_publisher(|_| {});
    let (slow, fast) = (view(&mut world, ""), view(&mut world, ""));
    for viewer in [slow, fast] {
        assert_eq!(kinds(&lines(&mut world, viewer)), ["hello"]);
    }
    let mut read = 0;
    for _ in 0..500 {
        (0..40).for_each(|_| publish(&mut world, publisher, 1_000));
        let events = lines(&mut world, fast);
        assert_eq!(kinds(&events), ["client_event"; 40]);
        read += events.len();
        let (_, outbox) = world.hub.outbox(slow).unwrap();
        assert!(outbox.bytes() <= 393_216);
    }
    assert_eq!(read, 20_000);
    assert_eq!(world.hub.next_action(slow), IoAction::Stay);
    let dropped = world.hub.counters().apps[0].feed_lines_dropped;
    let rest = lines(&mut world, slow);
    let events = rest.iter().filter(|line| line["kind"] == "client_event").count() as u64;
    let counts = rest.iter().filter(|line| line["kind"] == "dropped");
    let counts: u64 = counts.map(|line| line["count"].as_u64().unwrap()).sum();
    assert_eq!((events + counts, counts), (20_000, dropped));
    // Half of a megabyte of lines of 1.2 KB.
    assert!((300..700).contains(&events), "{events}");
    publish(&mut world, publisher, 1);
    assert_eq!(kinds(&lines(&mut world, slow)), ["client_event"]);
    world.hub.audit().unwrap();
}

#[test]
fn no_more_waits_than_an_outbox_may_have() {
    let (mut world, publisher) = with_publisher(|limits| limits.outbox_bytes = 16_384);
    let id = view(&mut world, "");
    for _ in 0..100 {
        publish(&mut world, publisher, 1_000);
        while world.hub.next_dirty(world.now).is_some() {}
        let (_, outbox) = world.hub.outbox(publisher).unwrap();
        let bytes = outbox.bytes();
        outbox.consume(bytes);
    }
    assert_eq!(world.hub.next_action(id), IoAction::Stay);
    assert_eq!(*kinds(&lines(&mut world, id)).last().unwrap(), "dropped");
}

#[test]
fn a_viewer_that_closes_is_gone_at_once() {
    let mut world = World::new(|_, _| {});
    let id = view(&mut world, "");
    world.send(id, b"GET /up HTTP/1.1\r\n\r\n");
    assert!(!world.take(id).contains("health"), "a further request is discarded");
    world.hub.finished(id, world.now);
    assert!(world.hub.connections.happenings.feed().is_none());
    assert_eq!(world.hub.next_action(id), IoAction::Drop);
}

#[test]
fn a_saved_state_has_no_viewer() {
    let (mut world, publisher) = with_publisher(|_| {});
    let id = view(&mut world, "");
    lines(&mut world, id);
    publish(&mut world, publisher, 1);
    let config = Config { apps: vec![Settings::new("1", "key", SECRET)], ..Config::default() };
    let names = world.hub.reconfigure(&config, world.now).unwrap();
    world.hub.audit().unwrap();
    assert!(world.hub.connections.happenings.feed().is_none());
    let id = ConnId(names.iter().position(|name| *name == id).unwrap() as u32);
    let output = world.take(id);
    assert!(output.contains("client_event") && output.ends_with("\r\n0\r\n\r\n"), "{output}");
    assert_eq!(world.hub.next_action(id), IoAction::ShutdownWrite);
}

#[test]
fn the_work_of_lines_counts() {
    let (mut world, publisher) = with_publisher(|_| {});
    let spent = |world: &mut World| {
        let before = world.hub.connections.work.done();
        publish(world, publisher, 1_000);
        world.hub.connections.work.done() - before
    };
    let alone = spent(&mut world);
    let _viewers = [view(&mut world, ""), view(&mut world, "kinds=api")];
    let watched = spent(&mut world);
    assert!((alone + 5..alone + 60).contains(&watched), "{alone} {watched}");
}

#[test]
fn a_viewer_of_the_console_keeps_its_port() {
    let mut world = World::new(|_, _| {});
    let config = Config { apps: vec![Settings::new("1", "key", SECRET)], ..Config::default() };
    world.hub = Hub::new(&config, [0; 32], world.now);
    let keys = ConsoleKeys { token: "token".into(), session: "5e55".into() };
    world.hub.open_console(&keys, &config, world.now);
    let id = world.open();
    world.hub.set_port(id, Port::Console);
    let headers = "Host: localhost:9101\r\nCookie: reverb_console_9101=5e55\r\n";
    world.send(id, format!("GET /api/feed HTTP/1.1\r\n{headers}\r\n").as_bytes());
    assert!(world.take(id).starts_with("HTTP/1.1 200 "));
    assert_eq!(world.hub.port(id), Some(Port::Console));
    world.hub.audit().unwrap();
}

#[test]
fn a_viewer_gets_lines_of_a_limited_number_of_events_and_of_everything_else() {
    let (mut world, publisher) = with_publisher(|limits| limits.feed_events_per_second = 100);
    let viewer = view(&mut world, "");
    assert_eq!(kinds(&lines(&mut world, viewer)), ["hello"]);
    for _ in 0..2 {
        (0..50).for_each(|_| publish(&mut world, publisher, 1));
        world.subscribe(publisher, "b");
        world.send_text(publisher, r#"{"event":"pusher:unsubscribe","data":{"channel":"b"}}"#);
        let seen = lines(&mut world, viewer);
        let rest = ["occupied", "subscribed", "unsubscribed", "vacated", "dropped"];
        assert_eq!(kinds(&seen)[..10], ["client_event"; 10]);
        let mut others = kinds(&seen)[10..].to_vec();
        others.sort_unstable_by_key(|kind| rest.iter().position(|it| it == kind));
        assert_eq!(others, rest);
        assert_eq!(seen.last().unwrap()["count"], 40);
        world.pass(100);
    }
    assert_eq!(world.hub.counters().apps[0].feed_lines_dropped, 80);
}
