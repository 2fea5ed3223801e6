//! Reloads lose no event: the configuration is read again (SIGHUP), or the binary replaces itself.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::receiver::{Answer, Receiver};
use super::{STATE, with_webhooks};
use crate::reload::reload;
use crate::support::{APP, Client, Server, logged};

/// A receiver that rejects every request until the flag is set.
fn rejecting() -> (Receiver, Arc<AtomicBool>) {
    let is_up = Arc::new(AtomicBool::new(false));
    let up = Arc::clone(&is_up);
    let receiver = Receiver::answering(move |_, _| match up.load(Ordering::Relaxed) {
        true => Answer::Status(200),
        false => Answer::Status(503),
    });
    (receiver, is_up)
}

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
    let (receiver, is_up) = rejecting();
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
fn new_webhooks_apply_after_sighup_and_what_waits_is_kept() {
    let (old, is_up) = rejecting();
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
    let (old, _) = rejecting();
    let new = Receiver::start();
    let server = with_webhooks(json!([{"url": old.url("/hook")}])).start();
    let mut client = Client::connect(&server);
    client.subscribe("a");
    old.request();
    configure(&server, &[new.url("/hook")]);
    client.subscribe("b");
    assert_eq!(channels(&new, 1), ["b"]);
    old.nothing_for(std::time::Duration::from_millis(2_500));
}

/// Replaces the webhooks in the server's `reverb.json`, and has them applied.
#[track_caller]
fn configure(server: &Server, urls: &[String]) {
    let webhooks = urls.iter().map(|url| json!({"url": url, "events": STATE}));
    let webhooks: Vec<Value> = webhooks.collect();
    let app = json!({"app_id": APP.id, "key": APP.key, "secret": APP.secret, "webhooks": webhooks});
    let config = json!({"apps": {"apps": [app]}});
    fs::write(server.directory().join("reverb.json"), config.to_string()).unwrap();
    server.signal("HUP");
    logged(server, &["reload: applied the configuration"]);
}
