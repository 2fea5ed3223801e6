//! Requests that are acknowledged: their headers, order and connections.

use std::time::Duration;

use serde_json::json;

use super::receiver::{Answer, Receiver};
use super::{server_for, with_webhooks};
use crate::support::{APP, App, Client, Setup, hmac_hex};

#[test]
fn channels_and_members_are_reported_in_order() {
    let receiver = Receiver::start();
    let server = server_for(&receiver);
    let mut client = Client::connect(&server);
    client.join("presence-room", "7");
    client.subscribe("news");
    let expected = [
        json!({"name": "channel_occupied", "channel": "presence-room"}),
        json!({"name": "member_added", "channel": "presence-room", "user_id": "7"}),
        json!({"name": "channel_occupied", "channel": "news"}),
    ];
    assert_eq!(receiver.events(3), expected);
    drop(client);
    let mut events = receiver.events(3);
    events.sort_by_key(|event| event["name"].to_string() + &event["channel"].to_string());
    let expected = [
        json!({"name": "channel_vacated", "channel": "news"}),
        json!({"name": "channel_vacated", "channel": "presence-room"}),
        json!({"name": "member_removed", "channel": "presence-room", "user_id": "7"}),
    ];
    assert_eq!(events, expected);
}

#[test]
fn a_client_that_returns_within_three_seconds_is_not_reported() {
    let receiver = Receiver::start();
    let server = server_for(&receiver);
    let mut client = Client::connect(&server);
    client.join("presence-room", "7");
    receiver.events(2);
    drop(client);
    let mut client = Client::connect(&server);
    client.join("presence-room", "7");
    // The barrier: a channel that is left later than the room would have been reported.
    client.subscribe("barrier");
    client.unsubscribe("barrier");
    let expected = [
        json!({"name": "channel_occupied", "channel": "barrier"}),
        json!({"name": "channel_vacated", "channel": "barrier"}),
    ];
    assert_eq!(receiver.events(2), expected);
}

#[test]
fn a_request_has_the_headers_of_pusher_and_those_of_the_webhook() {
    let receiver = Receiver::start();
    let webhook = json!([{
        "url": receiver.url("/hook?a=b%20c"),
        "headers": {"Authorization": "Bearer x", "X-Tenant": "7"},
    }]);
    let server = with_webhooks(webhook).start();
    Client::connect(&server).subscribe("news");
    let request = receiver.request();
    assert_eq!(request.path, "/hook?a=b%20c");
    assert_eq!(request.header("Host"), format!("127.0.0.1:{}", receiver.port()));
    assert_eq!(request.header("Authorization"), "Bearer x");
    assert_eq!(request.header("X-Tenant"), "7");
    assert!(request.header("User-Agent").starts_with("reverb/"));
    assert_eq!(request.events(), [json!({"name": "channel_occupied", "channel": "news"})]);
}

#[test]
fn the_webhook_of_a_single_app_is_set_by_variables() {
    let receiver = Receiver::start();
    let server = Setup::new()
        .env("REVERB_APP_WEBHOOK_URL", receiver.url("/hook"))
        .env("REVERB_APP_WEBHOOK_EVENTS", "cache_miss,client_event")
        .start();
    let mut client = Client::connect(&server);
    client.send(json!({"event": "pusher:subscribe", "data": {"channel": "cache-scores"}}));
    let expected = [json!({"name": "cache_miss", "channel": "cache-scores"})];
    assert_eq!(receiver.events(1), expected, "and no channel_occupied");
}

#[test]
fn a_connection_is_used_again() {
    let receiver = Receiver::start();
    let server = server_for(&receiver);
    let mut client = Client::connect(&server);
    for n in 0..20 {
        client.subscribe(&format!("c{n}"));
        let event = json!({"name": "channel_occupied", "channel": format!("c{n}")});
        assert_eq!(receiver.events(1), [event]);
    }
    assert_eq!(receiver.connections(), 1);
}

#[test]
fn a_connection_that_the_server_closes_is_replaced_without_a_pause() {
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let receiver = Receiver::answering(|_, _| Answer::Last(response.to_vec()));
    let server = server_for(&receiver);
    let mut client = Client::connect(&server);
    for n in 0..5 {
        client.subscribe(&format!("c{n}"));
        receiver.events(1);
    }
    assert_eq!(receiver.connections(), 5);
    assert!(!server.stderr().contains("webhook"), "{}", server.stderr());
}

#[test]
fn each_app_has_its_own_key_and_batches() {
    let receiver = Receiver::start();
    let other = App { id: "2", key: "other-key", secret: "other-secret" };
    let webhooks = json!({"webhooks": [{"url": receiver.url("/hook")}]});
    let server = Setup::bare().apps(&[(&APP, webhooks.clone()), (&other, webhooks)]).start();
    Client::connect(&server).subscribe("a");
    let target = "/app/other-key?protocol=7&client=js&version=8.4.0&flash=false";
    Client::connect_to(&server, target).subscribe("b");
    let end = std::time::Instant::now() + crate::support::DEADLINE;
    let mut got: Vec<(String, String)> = (0..2)
        .map(|_| {
            let request = receiver.request_until(end).unwrap();
            let secret =
                if request.header("X-Pusher-Key") == APP.key { APP.secret } else { other.secret };
            assert_eq!(request.header("X-Pusher-Signature"), hmac_hex(secret, &request.body));
            let channel = request.events()[0]["channel"].as_str().unwrap().to_owned();
            (request.header("X-Pusher-Key").to_owned(), channel)
        })
        .collect();
    got.sort();
    assert_eq!(got, [("app-key", "a"), ("other-key", "b")].map(|(k, c)| (k.into(), c.into())));
}

#[test]
fn a_webhook_covers_only_its_events_and_channels() {
    let (users, all) = (Receiver::start(), Receiver::start());
    let server = with_webhooks(json!([
        {"url": users.url("/"), "events": ["channel_occupied"], "channels": ["private-user.*"]},
        {"url": all.url("/"), "batch_ms": 1},
    ]))
    .start();
    let mut client = Client::connect(&server);
    client.subscribe("news");
    client.subscribe_private("private-user.7");
    let expected = json!({"name": "channel_occupied", "channel": "private-user.7"});
    assert_eq!(users.events(1), std::slice::from_ref(&expected));
    assert_eq!(all.events(2)[1], expected);
    users.nothing_for(Duration::from_millis(200));
}
