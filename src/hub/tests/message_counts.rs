//! The number of messages that webhooks report, for Laravel Pulse.

use super::*;
use crate::config::{Url, Webhook, WebhookEvents};

fn config(events: &str) -> Config {
    let mut config = Config { apps: vec![Settings::new("1", "key", SECRET)], ..Config::default() };
    let mut webhook = Webhook::new(Url::parse("http://app.example/hook").unwrap());
    webhook.events = WebhookEvents::parse([events]).unwrap();
    config.apps[0].webhooks.push(webhook);
    config
}

fn world(events: &str) -> World {
    let now = Now { ms: 1_000, unix_s: 1_795_450_533 };
    World { hub: Hub::new(&config(events), [0; 32], now), now }
}

impl World {
    fn reported(&mut self) -> Vec<String> {
        self.pass(50);
        let mut reported = Vec::new();
        while let Some(request) = self.hub.next_webhook(self.now) {
            self.hub.webhook_done(request.endpoint, WebhookOutcome::Status(200), self.now);
            let body = String::from_utf8(request.body.to_vec()).unwrap();
            let (_, events) = body.split_once(r#""events":["#).unwrap();
            reported.push(events.trim_end_matches("]}").to_owned());
        }
        reported
    }

    /// A client connects and subscribes: it gets two messages, and sends one.
    fn client(&mut self) {
        let (id, _) = self.connect();
        self.subscribe(id, "news");
    }
}

#[test]
fn the_number_of_messages_is_reported_at_whole_intervals() {
    let mut world = world("message_counts");
    world.client();
    world.pass(11_000);
    assert!(world.reported().is_empty());
    // 15 divides the time in seconds.
    world.now.unix_s += 12;
    world.pass(1_000);
    let expected =
        r#"{"name":"message_counts","time_ms":1795450544999,"sent":2,"received":1}"#.to_owned();
    assert_eq!(world.reported(), [expected]);
    // Without messages there is no report.
    world.pass(60_000);
    assert!(world.reported().is_empty());
}

#[test]
fn a_reload_reports_each_message_once() {
    let mut world = world("message_counts");
    world.client();
    let state = world.hub.save(world.now, |_, ()| 0).unwrap();
    world.hub = Hub::new(&config("message_counts"), [1; 32], world.now);
    world.hub.restore(state, world.now, |_| Some(())).unwrap();
    let reported = world.reported();
    assert!(reported[0].ends_with(r#""sent":2,"received":1}"#), "{reported:?}");
    world.client();
    world.hub.reconfigure(&config("message_counts"), world.now).unwrap();
    let reported = world.reported();
    assert!(reported[0].ends_with(r#""sent":2,"received":1}"#), "{reported:?}");
    world.pass(60_000);
    assert!(world.reported().is_empty());
}

#[test]
fn other_webhooks_get_no_numbers() {
    let mut world = world("connection_pruned");
    world.client();
    world.pass(30_000);
    assert!(world.reported().is_empty());
}
