//! Many URLs and many clients at once.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::receiver::Receiver;
use super::with_webhooks;
use crate::support::Client;

#[test]
fn a_thousand_urls_get_every_event() {
    let receiver = Receiver::start();
    let urls: Vec<Value> =
        (0..1_000).map(|n| json!({"url": receiver.url(&format!("/{n}")), "batch_ms": 1})).collect();
    let server =
        with_webhooks(Value::from(urls)).env("REVERB_LIMIT_WEBHOOK_CONNECTIONS", 50).start();
    let mut client = Client::connect(&server);
    for channel in ["a", "b"] {
        client.subscribe(channel);
        let event = json!({"name": "channel_occupied", "channel": channel});
        let mut paths = HashSet::new();
        for _ in 0..1_000 {
            let request = receiver.request();
            assert_eq!(request.events(), std::slice::from_ref(&event));
            assert!(paths.insert(request.path), "sent twice");
        }
    }
    assert!(!server.stderr().contains("webhook"), "{}", server.stderr());
    // The receiver notices the end of a connection after the server has begun the next.
    assert!((40..150).contains(&receiver.most_open()), "{} at once", receiver.most_open());
}

#[test]
fn connections_to_webhooks_count_against_the_open_file_limit() {
    let room = |urls: usize| {
        let webhooks: Vec<Value> =
            (0..urls).map(|n| json!({"url": format!("http://127.0.0.1:1/{n}")})).collect();
        let server = with_webhooks(Value::from(webhooks)).descriptors(300).start();
        let (_, after) = server.announced().split_once("up to ").unwrap();
        after.split(' ').next().unwrap().parse::<usize>().unwrap()
    };
    // A URL takes one; sixteen more are for lookups and the spool.
    assert_eq!(room(0) - room(20), 36);
    assert_eq!(room(20) - room(50), 30);
}

#[test]
fn ten_thousand_clients_that_leave_at_once_are_reported_once_each() {
    const CLIENTS: usize = 10_000;
    let receiver = Receiver::start();
    let server = with_webhooks(json!([{"url": receiver.url("/hook")}])).start();
    let mut bystander = Client::connect(&server);
    bystander.subscribe("quiet");
    receiver.events(1);
    let mut clients: Vec<Client> = Vec::with_capacity(CLIENTS);
    for n in 0..CLIENTS {
        let mut client = Client::connect(&server);
        client.subscribe_private(&format!("private-user.{n}"));
        clients.push(client);
    }
    assert_eq!(names(&receiver, CLIENTS, "channel_occupied").len(), CLIENTS);
    drop(clients);
    let vacated = names(&receiver, CLIENTS, "channel_vacated");
    assert_eq!(vacated.len(), CLIENTS);
    server.publish("quiet", "e", "d");
    bystander.expect(json!({"event": "e", "channel": "quiet", "data": "d"}));
}

/// The channels of this many events of one name, each once.
#[track_caller]
fn names(receiver: &Receiver, count: usize, name: &str) -> HashSet<String> {
    let mut channels = HashSet::new();
    for event in receiver.events(count) {
        assert_eq!(event["name"], name);
        channels.insert(event["channel"].as_str().unwrap().to_owned());
    }
    channels
}

#[test]
fn members_of_a_large_presence_channel_are_reported_once_each() {
    const CLIENTS: usize = 2_000;
    let receiver = Receiver::start();
    let events = ["member_added", "member_removed"];
    let server = with_webhooks(json!([{"url": receiver.url("/hook"), "events": events}])).start();
    let mut clients: Vec<Client> = (0..CLIENTS)
        .map(|n| {
            let mut client = Client::connect(&server);
            client.ask_to_join("presence-room", &json!({"user_id": n.to_string()}).to_string());
            client
        })
        .collect();
    let users = |name: &str| -> HashSet<String> {
        let users = receiver.events(CLIENTS).into_iter().map(|event| {
            assert_eq!(
                (&event["name"], &event["channel"]),
                (&json!(name), &json!("presence-room"))
            );
            event["user_id"].as_str().unwrap().to_owned()
        });
        users.collect()
    };
    assert_eq!(users("member_added").len(), CLIENTS);
    clients.clear();
    assert_eq!(users("member_removed").len(), CLIENTS);
    assert!(!server.stderr().contains("webhook"), "{}", server.stderr());
}
