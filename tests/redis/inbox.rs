//! What only one node needs goes to its inbox. Nodes without an inbox, of an older release or for
//! lack of a permission, are served on the shared channel.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::{Value, json};

use super::cluster::{BUS, Cluster, connections, scaled, users};
use super::daemon::Redis;
use super::presence::{ROOM, member};
use super::resp::{Reply, Session};
use crate::support::{Client, Setup, logged, until};

/// An older node: it has no inbox, and none of the values that came with inboxes.
const OLDER: &str = "00000000000000aa";

/// The next message that a session with subscriptions receives.
fn message(recorder: &mut Session) -> Value {
    match recorder.reply() {
        Reply::List(parts) => serde_json::from_str(parts.last().unwrap().text()).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// The items of the next message of a node that have one of these names, and the node's id. All
/// messages are passed over until there is one.
fn items(recorder: &mut Session, names: &[&str]) -> (String, Vec<Value>) {
    loop {
        let message = message(recorder);
        let node = message["payload"]["node"].as_str().unwrap();
        let said = message["payload"]["say"].as_array().unwrap().iter();
        let said: Vec<Value> =
            said.filter(|item| names.contains(&item[0].as_str().unwrap())).cloned().collect();
        if !said.is_empty() && node != OLDER {
            return (node.to_owned(), said);
        }
    }
}

fn publish(session: &mut Session, seq: Option<u64>, items: &Value) {
    let mut text = json!({"type": "reverb.1", "payload": {"node": OLDER, "say": items}});
    if let Some(seq) = seq {
        text["payload"]["seq"] = seq.into();
    }
    session.call(&["PUBLISH", BUS, &text.to_string()]);
}

#[test]
fn the_state_for_a_joining_node_goes_to_its_inbox() {
    let mut cluster = Cluster::of(1);
    let _ann = member(&cluster, 0, "ann");
    let (mut shared, mut inboxes) = (cluster.redis.session(), cluster.redis.session());
    shared.call(&["SUBSCRIBE", BUS]);
    inboxes.call(&["PSUBSCRIBE", &format!("{BUS}:*")]);
    cluster.join();
    cluster.users(ROOM, &["ann"]);
    let (_, parts) = items(&mut inboxes, &["part"]);
    assert_eq!((&parts[0][2], &parts[0][3]), (&json!(0), &json!(2)), "the first and the last part");
    // The marker is the last message on the shared channel.
    publish(&mut cluster.redis.session(), None, &json!([["marker"]]));
    loop {
        let payload = message(&mut shared)["payload"].take();
        if payload["node"] == OLDER {
            return;
        }
        assert!(!payload["say"].to_string().contains("begin"), "{payload}");
    }
}

#[test]
fn without_the_permission_for_inboxes_a_node_warns_once_and_works() {
    let redis = Redis::start();
    let user = ["ACL", "SETUSER", "app", "on", ">of-app", "+@all", "~*", "resetchannels"];
    redis.call(&[&user[..], &[&format!("&{BUS}")]].concat());
    let setup = || Setup::new().env("REDIS_USERNAME", "app").env("REDIS_PASSWORD", "of-app");
    let mut cluster = Cluster::on(redis, 2, setup);
    let _ann = member(&cluster, 0, "ann");
    cluster.join();
    cluster.users(ROOM, &["ann"]);
    let mut far = Client::connect(cluster.node(2));
    far.subscribe("a");
    // The node loses its connection, and events that it must receive afterwards.
    cluster.proxy(2).refuse();
    (0..20).for_each(|n| cluster.node(0).publish("a", "e", &n.to_string()));
    cluster.proxy(2).mend();
    for n in 0..20 {
        far.expect(json!({"event": "e", "channel": "a", "data": n.to_string()}));
    }
    for node in cluster.nodes() {
        let words = ["[WARN]", "NOPERM", &format!("&{BUS}:*"), "REDIS_USERNAME"];
        logged(node, &words);
        assert_eq!(node.stderr().matches("an inbox").count(), 1, "{}", node.stderr());
    }
}

#[test]
fn an_older_node_is_served_on_the_shared_channel() {
    let cluster = Cluster::of(1);
    let _ann = member(&cluster, 0, "ann");
    let mut recorder = cluster.redis.session();
    recorder.call(&["SUBSCRIBE", BUS]);
    let mut older = cluster.redis.session();
    publish(&mut older, None, &json!([["hello"], ["alive", 0, 0, 5, 0]]));
    // It is asked for its state as well, and sends it in the sequence.
    let (node, asked) = items(&mut recorder, &["tell"]);
    assert_eq!(asked[0][1], OLDER);
    let state = json!([["begin", 1], ["channel", "app-id", ROOM, 1],
        ["joined", "app-id", ROOM, "bob", {"name": "bob"}], ["whole"]]);
    publish(&mut older, Some(0), &state);
    until("the member of the older node is known", || {
        users(cluster.node(0), ROOM) == ["ann", "bob"]
    });
    // The state of the other node, in its sequence.
    publish(&mut older, None, &json!([["tell", node, 1]]));
    // That ann has joined may be announced before it.
    let facts = loop {
        let (_, facts) = items(&mut recorder, &["begin", "joined", "whole"]);
        if facts[0][0] != "joined" {
            break facts;
        }
    };
    assert_eq!(facts[0], json!(["begin", 1]));
    assert!(facts.iter().any(|fact| fact[0] == "joined" && fact[3] == "ann"), "{facts:?}");
    // An event again.
    cluster.node(0).publish(ROOM, "news", "1");
    let seq = loop {
        let message = message(&mut recorder);
        if message["payload"]["say"].to_string().contains("news") {
            break message["payload"]["seq"].as_u64().unwrap();
        }
    };
    publish(&mut older, None, &json!([["again", node, seq]]));
    // Its own request; a heartbeat of the other node may precede it.
    while message(&mut recorder)["payload"]["node"] != OLDER {}
    let (_, events) = items(&mut recorder, &["event"]);
    assert_eq!(events[0][2], "news");
}

#[test]
fn connections_to_two_servers_count_as_no_connection() {
    let (one, other) = (Redis::start(), Redis::start());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let ports = [one.port(), other.port()];
    // A balancer that sends every second connection to another server.
    thread::spawn(move || {
        for (number, node) in listener.incoming().map_while(Result::ok).enumerate() {
            let server = TcpStream::connect(("127.0.0.1", ports[number % 2])).unwrap();
            for (mut from, mut to) in [
                (node.try_clone().unwrap(), server.try_clone().unwrap()),
                (server.try_clone().unwrap(), node.try_clone().unwrap()),
            ] {
                thread::spawn(move || {
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Both);
                });
            }
        }
    });
    let setup = Setup::new().env("REVERB_LIMIT_NODE_LEASE_MS", 500);
    let setup = setup.env("REVERB_LIMIT_REDIS_REPLY_TIMEOUT_MS", 500);
    let node = scaled(setup, port).start();
    logged(&node, &["[WARN]", "has not received its own messages", "proxy"]);
    assert!(!node.stderr().contains("connected to Redis"), "{}", node.stderr());
    assert_eq!(connections(&node), 0);
}
