//! Cache channels: a new subscriber receives the last published event first.

use crate::support::{APP, Client, Server, Setup, channel_auth, same};
use serde_json::{Value, json};

fn miss(channel: &str) -> Value {
    json!({"event": "pusher:cache_miss", "channel": channel})
}

fn event(channel: &str, name: &str, data: &str) -> Value {
    json!({"event": name, "channel": channel, "data": data})
}

/// The kept event of a channel, as the API returns it.
#[track_caller]
fn kept(server: &Server, channel: &str) -> Value {
    let answer = server.get(&format!("/apps/app-id/channels/{channel}"), "info=cache").json();
    answer.get("cache").cloned().unwrap_or(Value::Null)
}

#[test]
fn a_new_subscriber_receives_the_last_event_or_a_cache_miss() {
    let server = Server::start();
    let mut first = Client::connect(&server);
    first.subscribe("cache-c");
    first.expect(miss("cache-c"));
    server.publish("cache-c", "e1", "{\"é\":\"/\"}");
    server.publish("cache-c", "e2", "plain");
    first.expect(event("cache-c", "e1", "{\"é\":\"/\"}"));
    first.expect(event("cache-c", "e2", "plain"));
    let mut second = Client::connect(&server);
    second.subscribe("cache-c");
    second.expect(event("cache-c", "e2", "plain"));
    second.nothing();
    first.nothing();
}

#[test]
fn only_channels_with_a_cache_prefix_keep_an_event() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    for channel in ["cache-a", "private-cache-a", "private-encrypted-cache-a", "presence-cache-a"] {
        server.publish(channel, "e", "d");
        if channel.starts_with("presence-") {
            client.join(channel, "1");
        } else {
            client.subscribe_private(channel);
        }
        client.expect(event(channel, "e", "d"));
    }
    for channel in ["cached", "private-cachea", "my-cache-a", "presence-cachea"] {
        server.publish(channel, "e", "d");
        if channel.starts_with("presence-") {
            client.join(channel, "1");
        } else {
            client.subscribe_private(channel);
        }
        client.nothing();
    }
}

#[test]
fn the_cache_needs_no_subscriber_and_outlives_the_last_one() {
    let server = Server::start();
    server.publish("cache-c", "e0", "0");
    let mut client = Client::connect(&server);
    client.subscribe("cache-c");
    client.expect(event("cache-c", "e0", "0"));
    client.unsubscribe("cache-c");
    client.nothing();
    client.subscribe("cache-c");
    client.expect(event("cache-c", "e0", "0"));
    drop(client);
    let mut other = Client::connect(&server);
    other.subscribe("cache-c");
    other.expect(event("cache-c", "e0", "0"));
}

#[test]
fn a_repeated_subscription_receives_the_kept_event_again() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    client.subscribe("cache-c");
    client.expect(miss("cache-c"));
    client.subscribe("cache-c");
    client.expect(miss("cache-c"));
    server.publish("cache-c", "e", "d");
    client.expect(event("cache-c", "e", "d"));
    client.subscribe("cache-c");
    client.expect(event("cache-c", "e", "d"));
}

#[test]
fn events_with_a_socket_id_and_events_of_a_batch_are_kept() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    client.subscribe("cache-c");
    client.expect(miss("cache-c"));
    let body =
        json!({"name": "e1", "channel": "cache-c", "data": "1", "socket_id": client.socket_id});
    server.post("/apps/app-id/events", body).is(200, json!({}));
    client.nothing();
    client.subscribe("cache-c");
    client.expect(event("cache-c", "e1", "1"));
    let batch = json!({"batch": [{"name": "e2", "channel": "cache-c", "data": "2"}]});
    assert_eq!(server.post("/apps/app-id/batch_events", batch).status, 200);
    client.expect(event("cache-c", "e2", "2"));
    client.subscribe("cache-c");
    client.expect(event("cache-c", "e2", "2"));
}

#[test]
fn only_published_events_are_kept() {
    let server = Server::start();
    let mut first = Client::connect(&server);
    first.join("presence-cache-c", "1");
    first.expect(miss("presence-cache-c"));
    let mut second = Client::connect(&server);
    second.join("presence-cache-c", "2");
    second.expect(miss("presence-cache-c"));
    first.event();
    second.send(json!({"event": "client-x", "channel": "presence-cache-c", "data": {"k": 1}}));
    first.event();
    second.unsubscribe("presence-cache-c");
    first.event();
    second.join("presence-cache-c", "2");
    second.expect(miss("presence-cache-c"));
    assert_eq!(kept(&server, "presence-cache-c"), Value::Null);
}

#[test]
fn the_api_returns_the_kept_event_and_its_ttl() {
    let server = Server::start();
    assert_eq!(kept(&server, "cache-c"), Value::Null);
    server.publish("cache-c", "e", "{\"é\":\"/\"}");
    let kept = kept(&server, "cache-c");
    let expected = json!({
        "event": "e", "channel": "cache-c", "data": "{\"é\":\"/\"}", "ttl": "$number",
    });
    assert!(same(&kept, &expected), "{kept}");
    let ttl = kept["ttl"].as_u64().unwrap();
    assert!((1790..=1800).contains(&ttl), "{ttl}");
}

#[test]
fn a_kept_event_expires_after_the_cache_ttl() {
    let server = Setup::new().env("REVERB_LIMIT_CACHE_TTL_S", 1).start();
    server.publish("cache-c", "e", "d");
    let mut client = Client::connect(&server);
    client.subscribe("cache-c");
    client.expect(event("cache-c", "e", "d"));
    let started = std::time::Instant::now();
    while kept(&server, "cache-c") != Value::Null {
        assert!(started.elapsed() < crate::support::DEADLINE, "the event never expires");
    }
    client.subscribe("cache-c");
    client.expect(miss("cache-c"));
}

#[test]
fn an_app_over_its_cache_size_drops_the_oldest_event() {
    let server = Setup::new().env("REVERB_LIMIT_CACHE_BYTES", 3_000).start();
    let data = "d".repeat(1_000);
    for channel in ["cache-1", "cache-2", "cache-3", "cache-4"] {
        server.publish(channel, "e", &data);
    }
    assert_eq!(kept(&server, "cache-1"), Value::Null);
    assert_eq!(kept(&server, "cache-4")["data"], data);
}

#[test]
fn a_rejected_subscriber_does_not_receive_the_kept_event() {
    let server = Server::start();
    server.publish("private-cache-c", "e", "secret");
    let mut client = Client::connect(&server);
    let auth = channel_auth(&APP, "1.1", "private-cache-c", "");
    let data = json!({"channel": "private-cache-c", "auth": auth});
    client.send(json!({"event": "pusher:subscribe", "data": data}));
    client.refused("private-cache-c");
    client.nothing();
}
