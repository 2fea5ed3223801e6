//! The rate limit for client messages.

use crate::support::{Client, DEADLINE, Got, Server};
use serde_json::json;
use std::time::Instant;

const ON: (&str, &str) = ("REVERB_APP_RATE_LIMITING_ENABLED", "true");
const ATTEMPTS: &str = "REVERB_APP_RATE_LIMIT_MAX_ATTEMPTS";
const DECAY: &str = "REVERB_APP_RATE_LIMIT_DECAY_SECONDS";
const TERMINATE: (&str, &str) = ("REVERB_APP_RATE_LIMIT_TERMINATE", "true");

#[track_caller]
fn exceeded(client: &mut Client) {
    client.error(4301, "Rate limit exceeded");
}

#[test]
fn messages_over_the_limit_are_rejected_and_the_connection_stays() {
    let server = Server::with(&[ON, (ATTEMPTS, "3"), (DECAY, "60")]);
    let mut client = Client::connect(&server);
    let mut other = Client::connect(&server);
    for _ in 0..3 {
        client.nothing();
    }
    for _ in 0..3 {
        client.ping();
        exceeded(&mut client);
    }
    other.nothing();
    client.frame(0x89, b"still here");
    assert_eq!(client.receive(), Got::Pong(b"still here".to_vec()));
}

#[test]
fn every_message_except_pongs_and_control_frames_counts() {
    let server = Server::with(&[ON, (ATTEMPTS, "3"), (DECAY, "60")]);
    let mut client = Client::connect(&server);
    for _ in 0..10 {
        client.send(json!({"event": "pusher:pong", "data": {}}));
        client.frame(0x89, b"");
        client.frame(0x8A, b"");
        assert_eq!(client.receive(), Got::Pong(Vec::new()));
    }
    client.subscribe("c");
    client.text("not a message");
    client.error(4200, "Invalid message format");
    client.send(json!({"event": "client-x", "channel": "c", "data": {}}));
    client.error(4009, "Client events are only accepted on private and presence channels.");
    client.unsubscribe("c");
    exceeded(&mut client);
    let list = server.get("/apps/app-id/channels", "");
    list.is(200, json!({"channels": {"c": {}}}));
}

#[test]
fn the_limit_resets_with_the_next_window() {
    let server = Server::with(&[ON, (ATTEMPTS, "1"), (DECAY, "1")]);
    let mut client = Client::connect(&server);
    let started = Instant::now();
    client.nothing();
    loop {
        client.ping();
        if client.event()["event"] == "pusher:pong" {
            break;
        }
        assert!(started.elapsed() < DEADLINE, "the window never ends");
    }
    let waited = started.elapsed().as_millis();
    assert!((900..3_000).contains(&waited), "{waited} ms");
}

#[test]
fn a_terminating_limit_closes_with_a_code_that_allows_reconnecting() {
    let server = Server::with(&[ON, (ATTEMPTS, "2"), (DECAY, "60"), TERMINATE]);
    let mut witness = Client::connect(&server);
    witness.join("presence-a", "2");
    let mut client = Client::connect(&server);
    client.join("presence-a", "1");
    assert_eq!(witness.event()["event"], "pusher_internal:member_added");
    client.nothing();
    client.ping();
    exceeded(&mut client);
    client.closed(4100);
    assert_eq!(witness.event()["event"], "pusher_internal:member_removed");
}

#[test]
fn there_is_no_limit_by_default() {
    let server = Server::with(&[(ATTEMPTS, "1"), (DECAY, "60")]);
    let mut client = Client::connect(&server);
    for _ in 0..100 {
        client.nothing();
    }
}

#[test]
fn the_api_is_not_limited() {
    let server = Server::with(&[ON, (ATTEMPTS, "1"), (DECAY, "60")]);
    for _ in 0..5 {
        server.get("/apps/app-id/connections", "").is(200, json!({"connections": 0}));
    }
}
