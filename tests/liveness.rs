//! Silent connections: pings in both forms, and timeouts.

use crate::support::{Client, Got, Server};
use serde_json::json;

fn server() -> Server {
    Server::with(&[("REVERB_APP_PING_INTERVAL", "1"), ("REVERB_LIMIT_PONG_TIMEOUT_MS", "600")])
}

#[track_caller]
fn control_ping(client: &mut Client) -> Vec<u8> {
    match client.receive() {
        Got::Ping(payload) => payload,
        got => panic!("expected a control ping, received {got:?}"),
    }
}

#[test]
fn a_silent_client_is_pinged_in_both_ways_and_then_disconnected() {
    let server = server();
    let mut witness = Client::connect(&server);
    witness.join("presence-a", "2");
    let mut client = Client::connect(&server);
    client.join("presence-a", "1");
    assert_eq!(witness.event()["event"], "pusher_internal:member_added");
    control_ping(&mut client);
    witness.frame(0x8A, b"alive");
    assert_eq!(client.event()["event"], "pusher:ping");
    client.error(4201, "Pong reply not received in time");
    client.closed(4201);
    loop {
        match witness.receive() {
            Got::Ping(payload) => witness.frame(0x8A, &payload),
            Got::Text(text) if text.contains("member_removed") => break,
            Got::Text(text) if text.contains("pusher:ping") => {}
            got => panic!("{got:?}"),
        }
    }
}

#[test]
fn a_client_without_a_subscription_is_pinged_as_well() {
    let server = server();
    let mut client = Client::connect(&server);
    control_ping(&mut client);
    assert_eq!(client.event()["event"], "pusher:ping");
    client.error(4201, "Pong reply not received in time");
    client.closed(4201);
    server.get("/apps/app-id/connections", "").is(200, json!({"connections": 0}));
}

#[test]
fn a_pong_frame_keeps_a_connection_alive() {
    let server = server();
    let mut client = Client::connect(&server);
    for _ in 0..2 {
        let payload = control_ping(&mut client);
        client.frame(0x8A, &payload);
    }
    client.nothing();
}

#[test]
fn any_message_keeps_a_connection_alive() {
    let server = server();
    let mut client = Client::connect(&server);
    control_ping(&mut client);
    client.nothing();
    control_ping(&mut client);
    assert_eq!(client.event()["event"], "pusher:ping");
    client.send(json!({"event": "pusher:pong", "data": {}}));
    control_ping(&mut client);
    client.text("nonsense");
    client.error(4200, "Invalid message format");
    control_ping(&mut client);
}

#[test]
fn a_client_that_only_receives_is_pinged() {
    let server = server();
    let mut client = Client::connect(&server);
    client.subscribe("c");
    loop {
        server.publish("c", "e", "d");
        match client.receive() {
            Got::Text(text) => assert!(text.contains("\"e\""), "{text}"),
            Got::Ping(_) => break,
            got => panic!("{got:?}"),
        }
    }
}

#[test]
fn a_client_that_sends_is_not_pinged() {
    let server = server();
    let mut client = Client::connect(&server);
    let started = std::time::Instant::now();
    while started.elapsed().as_millis() < 1_500 {
        client.nothing();
    }
}
