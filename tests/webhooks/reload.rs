//! Reloads lose no event: the configuration is read again (SIGHUP), or the binary replaces itself.

use std::fs;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::receiver::{Answer, Receiver};
use super::{STATE, with_webhooks};
use crate::reload::reload;
use crate::support::{APP, Client, DEADLINE, Server, Setup, logged, until};

/// The channels of the events that arrive until all of these have, without repetitions.
#[track_caller]
fn channels(receiver: &Receiver, count: usize) -> Vec<String> {
    let mut channels: Vec<String> = Vec::new();
    while channels.len() < count {
        for event in receiver.request().events() {
            assert_eq!(event["name"], "channel_occupied");
            let channel = event["channel"].as_str().unwrap().to_owned();
            if !channels.contains(&channel) {
                channels.push(channel);
            }
        }
    }
    channels
}

#[test]
fn what_waits_is_handed_to_the_new_process() {
    let (receiver, is_up) = Receiver::failing();
    let server = with_webhooks(json!([{"url": receiver.url("/hook")}])).start();
    let mut client = Client::connect(&server);
    client.subscribe("a");
    logged(&server, &["webhook", "503"]);
    client.subscribe("b");
    reload(&server);
    client.subscribe("c");
    is_up.store(true, Ordering::Relaxed);
    assert_eq!(channels(&receiver, 3), ["a", "b", "c"]);
    // The channels are known to be occupied, and stay so for the new process.
    client.subscribe("d");
    assert_eq!(channels(&receiver, 1), ["d"]);
}

#[test]
fn a_request_under_way_is_sent_again_by_the_new_process() {
    let receiver = Receiver::answering(|_, n| match n {
        0 => Answer::Nothing,
        _ => Answer::Status(200),
    });
    let server = with_webhooks(json!([{"url": receiver.url("/hook")}])).start();
    Client::connect(&server).subscribe("a");
    let first = receiver.request();
    reload(&server);
    let second = receiver.request();
    assert_eq!((first.delivery(), &first.body), (second.delivery(), &second.body));
}

#[test]
fn the_origin_of_a_connection_is_reported_before_and_after_a_reload() {
    let receiver = Receiver::start();
    let webhook = json!([{"url": receiver.url("/hook"), "events": ["message_received"]}]);
    let server = with_webhooks(webhook).start();
    let path = format!("/app/{}", APP.key);
    let mut page = Client::open(&server, &path, "Origin: https://shop.test\r\n");
    let mut program = Client::connect(&server);
    for _ in 0..2 {
        page.ping();
        assert_eq!(receiver.events(1)[0]["origin"], "https://shop.test");
        program.ping();
        assert_eq!(receiver.events(1)[0].get("origin"), None);
        reload(&server);
    }
}

#[test]
fn new_webhooks_apply_after_sighup_and_what_waits_is_kept() {
    let (old, is_up) = Receiver::failing();
    let new = Receiver::start();
    let server = with_webhooks(json!([{"url": old.url("/hook")}])).start();
    let mut client = Client::connect(&server);
    client.subscribe("a");
    logged(&server, &["webhook", "503"]);
    configure(&server, &[old.url("/hook"), new.url("/hook")]);
    client.subscribe("b");
    assert_eq!(channels(&new, 1), ["b"]);
    is_up.store(true, Ordering::Relaxed);
    assert_eq!(channels(&old, 2), ["a", "b"]);
}

#[test]
fn a_removed_webhook_gets_nothing_more() {
    let (old, _) = Receiver::failing();
    let new = Receiver::start();
    let server = with_webhooks(json!([{"url": old.url("/hook")}])).start();
    let mut client = Client::connect(&server);
    client.subscribe("a");
    old.request();
    configure(&server, &[new.url("/hook")]);
    client.subscribe("b");
    assert_eq!(channels(&new, 1), ["b"]);
    // A retry before the reload is allowed.
    while old.request_until(Instant::now()).is_some() {}
    old.nothing_for(Duration::from_millis(2_500));
}

#[test]
fn a_url_that_replaces_all_webhooks_has_a_connection_of_its_own() {
    let (old, new) = (Receiver::start(), Receiver::start());
    let server = with_webhooks(json!([{"url": old.url("/hook")}])).start();
    let mut client = Client::connect(&server);
    client.subscribe("a");
    assert_eq!(channels(&old, 1), ["a"]);
    // The connection to the first URL is kept, and no webhook is left.
    configure(&server, &[]);
    configure(&server, &[new.url("/hook")]);
    client.subscribe("b");
    assert_eq!(channels(&new, 1), ["b"]);
}

#[test]
fn a_request_of_a_removed_webhook_does_not_hold_up_the_next() {
    let receiver = Receiver::answering(|_, n| match n {
        0 => Answer::Nothing,
        _ => Answer::Status(200),
    });
    let url = receiver.url("/hook");
    let server = Setup::bare().config(two_apps(std::slice::from_ref(&url), &url)).start();
    Client::connect(&server).subscribe("a");
    assert_eq!(receiver.request().events()[0]["channel"], "a");
    apply(&server, &two_apps(&[], &url));
    Client::connect_to(&server, "/app/key2").subscribe("b");
    let request = receiver.request_until(Instant::now() + DEADLINE).unwrap();
    assert_eq!(request.header("X-Pusher-Key"), "key2");
    assert_eq!(request.events()[0]["channel"], "b");
    // It has a connection of its own, on which no response to the first can arrive.
    assert!(!server.stderr().contains("no answer"), "{}", server.stderr());
    assert_eq!(receiver.connections(), 2);
}

/// Two apps: the first with webhooks to these URLs, the second with one.
fn two_apps(first: &[String], second: &String) -> Value {
    let webhooks = |urls: &[String]| -> Value {
        urls.iter().map(|url| json!({"url": url, "events": STATE, "batch_ms": 1})).collect()
    };
    let one = json!({"app_id": APP.id, "key": APP.key, "secret": APP.secret,
        "webhooks": webhooks(first)});
    let two = json!({"app_id": "id2", "key": "key2", "secret": "secret2",
        "webhooks": webhooks(std::slice::from_ref(second))});
    json!({"apps": {"apps": [one, two]}})
}

/// Replaces the webhooks in the server's `reverb.json`, and makes the server apply them.
#[track_caller]
fn configure(server: &Server, urls: &[String]) {
    let webhooks = urls.iter().map(|url| json!({"url": url, "events": STATE}));
    let webhooks: Vec<Value> = webhooks.collect();
    let app = json!({"app_id": APP.id, "key": APP.key, "secret": APP.secret, "webhooks": webhooks});
    apply(server, &json!({"apps": {"apps": [app]}}));
}

/// Replaces the server's `reverb.json`, and waits until the server has applied it.
#[track_caller]
fn apply(server: &Server, config: &Value) {
    let applied = || server.stderr().matches("reload: applied the configuration").count();
    let before = applied();
    fs::write(server.directory().join("reverb.json"), config.to_string()).unwrap();
    server.signal("HUP");
    until("the configuration is applied", || applied() > before);
}
