//! Invalid and forged messages on the nodes' channel: no node fails, none is delivered to a client,
//! and the log has a line, not a flood.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::cluster::{BUS, Cluster};
use super::presence::{ROOM, member, quiet};
use super::resp::{Reply, Session};
use super::traffic::exchange;
use crate::support::{Client, Setup, logged, until};

/// Publishes bytes on the nodes' channel.
#[track_caller]
fn publish(session: &mut Session, bytes: &[u8]) {
    match session.send_and_receive(&[b"PUBLISH", BUS.as_bytes(), bytes]) {
        Reply::Number(receivers) => assert!(receivers >= 2, "the nodes receive it"),
        other => panic!("{other:?}"),
    }
}

/// An envelope from a node that does not exist.
fn envelope(node: &str, seq: Value, items: Value) -> String {
    json!({"type": "reverb.1", "payload": {"node": node, "seq": seq, "say": items}}).to_string()
}

/// The number of warnings about the channel in a node's log.
fn warnings(log: &str) -> usize {
    log.lines().filter(|line| line.contains("[WARN]") && line.contains("channel")).count()
}

#[test]
fn an_invalid_envelope_is_ignored_and_logged_once() {
    let cluster = Cluster::of(2);
    let mut ann = member(&cluster, 0, "ann");
    let mut session = cluster.redis.session();
    let php = json!({"type": "message", "application": "O:26:\"Laravel\\Reverb\\Application\":0:{}",
        "payload": {"event": "e", "channel": ROOM, "data": "php"}});
    let nested = "[".repeat(100_000);
    for text in [
        "",
        " ",
        "\0",
        "null",
        "5",
        "\"text\"",
        "[]",
        "{}",
        "{\"type\":5}",
        "{\"type\":\"reverb.1\"}",
        "{\"type\":\"reverb.1\",\"payload\":null}",
        "{\"type\":\"reverb.1\",\"payload\":{}}",
        "{\"type\":\"reverb.1\",\"payload\":{\"node\":5,\"seq\":\"a\",\"say\":{}}}",
        "{\"type\":\"reverb.1\",\"payload\":{\"node\":\"x\",\"seq\":0,\"say\":[]}}",
        &php.to_string(),
        &nested,
        &format!("{{\"type\":\"reverb.1\",\"payload\":{nested}"),
    ] {
        publish(&mut session, text.as_bytes());
    }
    publish(&mut session, b"\xff\xfe\x80 not a text");
    publish(&mut session, &vec![b'x'; 3_000_000]);
    exchange(&cluster, 50, || {});
    quiet(&cluster, &mut [&mut ann]);
    cluster.users(ROOM, &["ann"]);
    for node in cluster.nodes() {
        logged(node, &["[WARN]", "channel"]);
        assert_eq!(warnings(&node.stderr()), 1, "{}", node.stderr());
    }
}

#[test]
fn a_message_over_the_output_buffer_of_redis_only_breaks_the_connection() {
    let cluster = Cluster::of(2);
    let mut ann = member(&cluster, 0, "ann");
    let mut session = cluster.redis.session();
    session.send_and_receive(&[b"PUBLISH", BUS.as_bytes(), &vec![b'x'; 80_000_000]]);
    exchange(&cluster, 50, || {});
    quiet(&cluster, &mut [&mut ann]);
    cluster.users(ROOM, &["ann"]);
}

#[test]
fn an_oversized_message_is_skipped_and_the_next_is_delivered() {
    let small = || {
        let setup = Setup::new().env("REVERB_MAX_REQUEST_SIZE", 20_000);
        setup.env("REVERB_LIMIT_REDIS_REPLY_BYTES", 200_000)
    };
    let nodes = AtomicUsize::new(0);
    let cluster = Cluster::with(2, move || match nodes.fetch_add(1, Ordering::Relaxed) {
        0 => Setup::new(),
        _ => small(),
    });
    let mut ann = member(&cluster, 0, "ann");
    let mut far = Client::connect(cluster.node(1));
    far.subscribe("news");
    let visits = cluster.redis.accepted_connections();
    for _ in 0..3 {
        cluster.node(0).publish("news", "long", &"x".repeat(600_000));
    }
    cluster.node(0).publish("news", "short", "y");
    far.expect(json!({"event": "short", "channel": "news", "data": "y"}));
    let line = logged(cluster.node(1), &["[WARN] a message of 600", "redis_reply_bytes is 200000"]);
    exchange(&cluster, 50, || {});
    quiet(&cluster, &mut [&mut ann]);
    cluster.users(ROOM, &["ann"]);
    let log = cluster.node(1).stderr();
    assert_eq!(log.matches("was skipped").count(), 1, "{line}\n{log}");
    // Each call of `visits` makes a connection.
    assert_eq!(cluster.redis.accepted_connections(), visits + 1, "{log}");
}

#[test]
fn an_incompatible_version_is_ignored_and_unknown_fields_are_skipped() {
    let cluster = Cluster::of(2);
    let mut ann = member(&cluster, 0, "ann");
    let mut session = cluster.redis.session();
    let later = json!({"type": "reverb.2", "payload": {"who": 7, "what": []}});
    publish(&mut session, later.to_string().as_bytes());
    let event = json!(["event", "app-id", "news", "of a later release", [ROOM], 0, null, null, 5]);
    let items = json!([["what-is-not-known-yet", {"a": 1}], [], event]);
    let more = json!({"type": "reverb.1", "more": 1,
        "payload": {"node": "00000000000000aa", "seq": 0, "say": items, "more": true}});
    publish(&mut session, more.to_string().as_bytes());
    let expected = json!({"event": "news", "channel": ROOM, "data": "of a later release"});
    ann.expect(expected);
    for node in cluster.nodes() {
        logged(node, &["[WARN]", "release"]);
    }
    quiet(&cluster, &mut [&mut ann]);
}

#[test]
fn invalid_values_are_ignored() {
    let cluster = Cluster::with_lease(2, 3_000);
    let mut ann = member(&cluster, 0, "ann");
    let mut session = cluster.redis.session();
    let node = "00000000000000bb";
    let items = json!([
        ["event"],
        ["event", "app-id"],
        ["event", "app-id", 5, "x", [ROOM], 0],
        ["event", "app-id", "e", "x", [5], 0],
        ["event", "app-id", "e", "x", ROOM, 0],
        ["event", "no-app", "e", "x", [ROOM], 0],
        ["terminate", "app-id", ["ann"]],
        ["terminate", "no-app", "ann"],
        ["connections", "app-id", -1],
        ["connections", "app-id", 1e300],
        ["connections", "app-id", "many"],
        ["connections", "no-app", 7],
        ["channel", "app-id", "", 1],
        ["channel", "app-id", ROOM, 4_294_967_296u64],
        ["joined", "app-id", "public", "x", {}],
        ["joined", "app-id", ROOM],
        ["left", "app-id", ROOM, "ann"],
        ["left", "app-id", ROOM, "nobody"],
        ["kept", "app-id", "cache-a", "no object", 5],
        ["kept", "app-id", "not-cached", {"event": "e"}, 5],
        ["whole"],
        ["heard", "x", 1],
        ["again", node, 1],
        null, 5, "x", {}, [[]],
    ]);
    publish(&mut session, envelope(node, json!(0), items.clone()).as_bytes());
    publish(&mut session, envelope(node, Value::Null, items).as_bytes());
    // Every item alone, with invalid sequence numbers.
    for seq in [json!(u64::MAX), json!(u64::MAX - 1), json!(-1), json!(1.5), json!("1")] {
        let item = json!([["alive", u64::MAX, u64::MAX, u64::MAX], ["hello"]]);
        publish(&mut session, envelope(node, seq, item).as_bytes());
    }
    for (first, next) in [(0, u64::MAX), (u64::MAX, 0), (5, 1), (u64::MAX, u64::MAX)] {
        let item = json!({"type": "reverb.1", "payload": {"node": node,
            "say": [["alive", first, next, u64::MAX]]}});
        publish(&mut session, item.to_string().as_bytes());
    }
    exchange(&cluster, 50, || {});
    // State of the node that does not exist is removed when its lease ends.
    cluster.users(ROOM, &["ann"]);
    cluster.count(1);
    quiet(&cluster, &mut [&mut ann]);
}

#[test]
fn forged_requests_lose_no_event() {
    let cluster = Cluster::of(2);
    let mut recorder = cluster.redis.session();
    recorder.call(&["SUBSCRIBE", BUS]);
    let mut client = Client::connect(cluster.node(0));
    client.subscribe("traffic");
    let nodes = publishing_nodes(&mut recorder, 2);
    let mut session = cluster.redis.session();
    exchange(&cluster, 500, || {
        for (from, to) in [(&nodes[0], &nodes[1]), (&nodes[1], &nodes[0])] {
            for next in [0, 5, 100, u64::MAX] {
                let items = json!([["again", to, next], ["tell", to, 1], ["hello"]]);
                let items = json!({"type": "reverb.1", "payload": {"node": from, "say": items}});
                publish(&mut session, items.to_string().as_bytes());
            }
        }
    });
}

#[test]
fn a_replayed_envelope_is_ignored() {
    let cluster = Cluster::of(2);
    let mut recorder = cluster.redis.session();
    recorder.call(&["SUBSCRIBE", BUS]);
    let mut ann = member(&cluster, 0, "ann");
    cluster.node(0).publish(ROOM, "e", "1");
    cluster.node(1).publish(ROOM, "e", "2");
    for data in ["1", "2"] {
        ann.expect(json!({"event": "e", "channel": ROOM, "data": data}));
    }
    // The second event is the last message.
    let mut messages = vec![text(&mut recorder)];
    while !messages.last().unwrap().contains("\"e\",\"2\"") {
        messages.push(text(&mut recorder));
    }
    let mut session = cluster.redis.session();
    for text in &messages {
        publish(&mut session, text.as_bytes());
    }
    quiet(&cluster, &mut [&mut ann]);
    cluster.users(ROOM, &["ann"]);
}

#[test]
fn forged_envelopes_do_not_silence_a_node() {
    let cluster = Cluster::with_lease(2, 3_000);
    let mut ann = member(&cluster, 0, "ann");
    let mut recorder = cluster.redis.session();
    recorder.call(&["SUBSCRIBE", BUS]);
    let mut session = cluster.redis.session();
    for lie in [json!(["alive", u64::MAX, u64::MAX, 1]), json!(["goodbye"])] {
        cluster.node(0).publish("cache-a", "e", "before");
        until("the event arrives", || is_stored(&cluster, 1, "before"));
        let (node, next) = last_publisher(&mut recorder, "before");
        let seq = if lie[0] == "goodbye" { json!(next) } else { Value::Null };
        let mut lie = json!({"type": "reverb.1", "payload": {"node": node, "say": [lie]}});
        if !seq.is_null() {
            lie["payload"]["seq"] = seq;
        }
        publish(&mut session, lie.to_string().as_bytes());
        let mut number = 0;
        until("later events arrive", || {
            number += 1;
            cluster.node(0).publish("cache-a", "e", &number.to_string());
            is_stored(&cluster, 1, &number.to_string())
        });
    }
    cluster.users(ROOM, &["ann"]);
    cluster.count(1);
    exchange(&cluster, 50, || {});
    quiet(&cluster, &mut [&mut ann]);
}

/// Whether this is the event that a node stores for "cache-a".
#[track_caller]
fn is_stored(cluster: &Cluster, node: usize, data: &str) -> bool {
    let mut client = Client::connect(cluster.node(node));
    client.subscribe("cache-a");
    client.event()["data"] == data
}

/// The node that sent this event, and its next sequence number.
#[track_caller]
fn last_publisher(recorder: &mut Session, data: &str) -> (String, u64) {
    loop {
        let message = text(recorder);
        let envelope: Value = serde_json::from_str(&message).unwrap();
        if let Some(seq) = envelope["payload"]["seq"].as_u64().filter(|_| message.contains(data)) {
            return (envelope["payload"]["node"].as_str().unwrap().to_owned(), seq + 1);
        }
    }
}

/// The text of the next message on the nodes' channel.
#[track_caller]
fn text(recorder: &mut Session) -> String {
    match recorder.reply() {
        Reply::List(parts) => parts[2].text().to_owned(),
        other => panic!("{other:?}"),
    }
}

/// The names of the first nodes that publish on the channel.
#[track_caller]
fn publishing_nodes(recorder: &mut Session, count: usize) -> Vec<String> {
    let mut nodes: Vec<String> = Vec::new();
    while nodes.len() < count {
        let message: Value = serde_json::from_str(&text(recorder)).unwrap();
        let node = message["payload"]["node"].as_str().unwrap().to_owned();
        if !nodes.contains(&node) {
            nodes.push(node);
        }
    }
    nodes
}
