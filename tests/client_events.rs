//! Client events: messages from one subscriber to the others.

use crate::support::{Client, Got, Server};
use serde_json::{Value, json};

const FROM: &str = "REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM";
const ON_PUBLIC: &str = "REVERB_APP_CLIENT_EVENTS_ON_PUBLIC_CHANNELS";
const CHANNEL: &str = "private-a";

fn client_event(channel: &str, data: Value) -> Value {
    json!({"event": "client-ev", "channel": channel, "data": data})
}

fn two_subscribers(server: &Server, channel: &str) -> (Client, Client) {
    let mut sender = Client::connect(server);
    let mut other = Client::connect(server);
    sender.subscribe_private(channel);
    other.subscribe_private(channel);
    (sender, other)
}

/// The number of client events of this connection that were rejected, each with this reason.
#[track_caller]
pub fn rejections(sender: &mut Client, reason: &str) -> u32 {
    sender.frame(0x89, b"end");
    let mut rejected = 0;
    loop {
        match sender.receive() {
            Got::Pong(_) => return rejected,
            Got::Text(text) => {
                assert!(text.contains("4301"), "{text}");
                assert!(text.contains(reason), "{text}");
                rejected += 1;
            }
            got => panic!("{got:?}"),
        }
    }
}

#[test]
fn a_client_event_is_delivered_to_the_other_members_only() {
    let server = Server::with(&[(ON_PUBLIC, "true")]);
    for channel in ["pub", "private-a", "private-encrypted-a"] {
        let (mut sender, mut other) = two_subscribers(&server, channel);
        sender.send(client_event(channel, json!({"x": 1})));
        other.expect(client_event(channel, json!({"x": 1})));
        sender.nothing();
        other.nothing();
    }
}

#[test]
fn a_client_event_of_a_non_member_is_rejected_and_not_delivered() {
    let server = Server::start();
    let (_, mut other) = two_subscribers(&server, CHANNEL);
    let mut outside = Client::connect(&server);
    for channel in [CHANNEL, "pub", "presence-a", "nobody"] {
        outside.send(client_event(channel, json!({"x": 1})));
        outside.error(4009, "The client is not a member of the specified channel.");
    }
    outside.subscribe_private(CHANNEL);
    outside.unsubscribe(CHANNEL);
    outside.send(client_event(CHANNEL, json!({})));
    outside.error(4009, "The client is not a member of the specified channel.");
    outside.nothing();
    other.nothing();
}

#[test]
fn an_app_with_client_events_disabled_rejects_them() {
    let server = Server::with(&[(FROM, "none")]);
    let (mut sender, mut other) = two_subscribers(&server, CHANNEL);
    sender.send(client_event(CHANNEL, json!({"x": 1})));
    sender.error(4301, "The app does not have client messaging enabled.");
    sender.nothing();
    other.nothing();
}

#[test]
fn data_is_relayed_unchanged() {
    let server = Server::start();
    let (mut sender, mut other) = two_subscribers(&server, CHANNEL);
    for data in [
        "{}",
        "[]",
        "null",
        "5",
        "1.0",
        "-0",
        "1e3",
        "12345678901234567890",
        "true",
        "\"plain\"",
        "\"{\\\"k\\\": \\\"v\\\"}\"",
        "\"\\\"q\\\"\"",
        "\"\\u00e9\\/\"",
        "\"é/😀\"",
        "{ \"l\" : {\"0\":\"a\"},  \"f\":1.0 , \"dup\":1,\"dup\":2}",
        "[1,\t2]",
    ] {
        let message = format!(r#"{{"event":"client-ev","channel":"private-a","data":{data}}}"#);
        sender.text(&message);
        match other.receive() {
            Got::Text(text) => {
                assert!(text.contains(&format!("\"data\":{data}")), "{data}: {text}")
            }
            got => panic!("{data}: {got:?}"),
        }
    }
    sender.nothing();
}

#[test]
fn an_event_without_data_is_relayed() {
    let server = Server::start();
    let (mut sender, mut other) = two_subscribers(&server, CHANNEL);
    sender.send(json!({"event": "client-ev", "channel": CHANNEL}));
    let event = other.event();
    assert_eq!((&event["event"], &event["channel"]), (&json!("client-ev"), &json!(CHANNEL)));
    assert_eq!(event.get("data").unwrap_or(&Value::Null), &Value::Null);
}

#[test]
fn other_fields_of_the_message_are_not_relayed() {
    for from in ["members", "all"] {
        let server = Server::with(&[(FROM, from)]);
        let (mut sender, mut other) = two_subscribers(&server, CHANNEL);
        other.subscribe("pub");
        sender.send(json!({
            "event": "client-ev", "channel": CHANNEL, "data": {"x": 1}, "user_id": "spoof",
            "socket_id": "1.1", "channels": ["pub"], "foo": "bar",
        }));
        other.expect(client_event(CHANNEL, json!({"x": 1})));
        other.nothing();
    }
}

#[test]
fn the_user_id_is_that_of_the_presence_subscription() {
    let server = Server::with(&[(ON_PUBLIC, "true")]);
    let mut sender = Client::connect(&server);
    let mut other = Client::connect(&server);
    sender.join("presence-a", "1");
    other.join("presence-a", "2");
    sender.event();
    sender.send(
        json!({"event": "client-ev", "channel": "presence-a", "data": {}, "user_id": "spoof"}),
    );
    let mut expected = client_event("presence-a", json!({}));
    expected["user_id"] = json!("1");
    other.expect(expected);
    let data = json!({"channel": "pub", "channel_data": "{\"user_id\":\"admin\"}"});
    sender.send(json!({"event": "pusher:subscribe", "data": data}));
    sender.subscribed("pub");
    other.subscribe("pub");
    sender.send(client_event("pub", json!({})));
    other.expect(client_event("pub", json!({})));
}

#[test]
fn with_all_a_client_needs_no_membership_to_send_client_events() {
    let server = Server::with(&[(FROM, "all")]);
    let (mut first, mut second) = two_subscribers(&server, CHANNEL);
    let mut outside = Client::connect(&server);
    outside.send(client_event(CHANNEL, json!({"x": 1})));
    outside.send(client_event("private-nobody", json!({"x": 1})));
    outside.nothing();
    first.expect(client_event(CHANNEL, json!({"x": 1})));
    second.expect(client_event(CHANNEL, json!({"x": 1})));
    first.send(client_event(CHANNEL, json!("plain")));
    second.expect(client_event(CHANNEL, json!("plain")));
    first.nothing();
}

#[test]
fn a_client_event_with_an_invalid_channel_name_is_rejected() {
    let server = Server::with(&[(FROM, "all")]);
    let mut outside = Client::connect(&server);
    outside.send(client_event(&format!("private-{}", "é".repeat(192)), json!({})));
    outside.nothing();
    outside.send(client_event(&format!("private-{}", "x".repeat(193)), json!({})));
    outside.error(4200, "Invalid message format");
    outside.nothing();
}

#[test]
fn the_limit_on_event_names_applies_to_client_events() {
    let server = Server::start();
    let (mut sender, mut other) = two_subscribers(&server, CHANNEL);
    let named = |len| json!({"event": format!("client-{}", "é".repeat(len)), "channel": CHANNEL});
    sender.send(named(193));
    other.event();
    sender.send(named(194));
    sender.error(4200, "Invalid message format");
    other.nothing();
    assert!(server.killed().contains("(limits.event_name_length is 200)"));
}

#[test]
fn a_client_event_without_a_channel_name_is_rejected() {
    let server = Server::start();
    let (mut sender, mut other) = two_subscribers(&server, CHANNEL);
    for message in [
        json!({"event": "client-ev", "data": {}}),
        json!({"event": "client-ev", "channel": 5}),
        json!({"event": "client-ev", "channel": [CHANNEL], "data": {}}),
        json!({"event": "client-ev", "channel": "", "data": {}}),
        json!({"event": "client-ev", "channel": null, "data": {}}),
    ] {
        sender.send(message);
        sender.error(4200, "Invalid message format");
    }
    sender.nothing();
    other.nothing();
}

#[test]
fn the_event_name_is_relayed_unchanged() {
    let server = Server::start();
    let (mut sender, mut other) = two_subscribers(&server, CHANNEL);
    for name in ["client-", "client-é \"\\/\u{7f}", "client-client-x"] {
        sender.send(json!({"event": name, "channel": CHANNEL, "data": 1}));
        other.expect(json!({"event": name, "channel": CHANNEL, "data": 1}));
    }
}

#[test]
fn a_public_channel_rejects_client_events_by_default() {
    let server = Server::start();
    let (mut sender, mut other) = two_subscribers(&server, "pub");
    let error = "Client events are only accepted on private and presence channels.";
    sender.send(client_event("pub", json!({})));
    sender.error(4009, error);
    other.nothing();
    sender.subscribe_private(CHANNEL);
    other.subscribe_private(CHANNEL);
    sender.send(client_event(CHANNEL, json!({})));
    other.expect(client_event(CHANNEL, json!({})));
}

#[test]
fn client_events_over_the_rate_are_rejected_and_the_connection_stays() {
    let server = Server::with(&[("REVERB_LIMIT_CLIENT_EVENTS_PER_SECOND", "5")]);
    let (mut sender, mut other) = two_subscribers(&server, CHANNEL);
    // Twenty events at once fall into at most two seconds of five events each: at least ten are too
    // many.
    for n in 0..20 {
        let mut event = client_event(CHANNEL, json!(n)).to_string();
        if n % 2 == 1 {
            // An escaped event name must not evade the limit.
            event = event.replace("client-ev", "\\u0063lient-ev");
        }
        sender.text(&event);
    }
    let rejected = rejections(&mut sender, "limits.client_events_per_second");
    assert!((10..=15).contains(&rejected), "{rejected}");
    for _ in rejected..20 {
        other.event();
    }
    other.nothing();
    let log = server.killed();
    let logged = log.matches("limits.client_events_per_second is 5").count();
    assert_eq!(logged, 1, "{log}");
}
