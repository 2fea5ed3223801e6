//! The application that receives the webhooks of the hub, and the model of what it must receive: each
//! channel and each member as present at once, and as absent when it has been gone for three seconds.

use std::collections::{BTreeMap, BTreeSet};

use reverb::hub::WebhookOutcome;
use serde_json::Value;

use super::World;

/// A channel, or a user of it; the third field is the name of another event.
type Subject = (String, Option<String>, &'static str);

#[derive(Default)]
pub struct Application {
    /// What it has received about each subject, in order: whether it is present.
    received: BTreeMap<Subject, Vec<bool>>,
    expected: BTreeMap<Subject, Vec<bool>>,
    /// The deliveries that it has handled.
    handled: BTreeSet<String>,
    /// The subjects that are present, and those that are gone, with the time.
    present: BTreeSet<Subject>,
    gone: BTreeMap<Subject, u64>,
    /// Whether it acknowledges every request.
    is_calm: bool,
}

impl Application {
    /// Expects the event of a client.
    pub fn expect_client_event(&mut self, channel: &str) {
        let subject = (channel.to_owned(), None, "client_event");
        self.expected.entry(subject).or_default().push(true);
    }

    fn handle(&mut self, body: &[u8]) {
        let body: Value = serde_json::from_slice(body).unwrap();
        for event in body["events"].as_array().unwrap() {
            let text = |name: &str| event[name].as_str().map(str::to_owned);
            let (kind, is_present) = match event["name"].as_str().unwrap() {
                "channel_occupied" | "member_added" => ("", true),
                "channel_vacated" | "member_removed" => ("", false),
                "client_event" => ("client_event", true),
                _ => continue,
            };
            let user = text("user_id").filter(|_| kind.is_empty());
            let subject = (text("channel").unwrap(), user, kind);
            self.received.entry(subject).or_default().push(is_present);
        }
    }
}

impl World {
    /// Compares the clients with the last state, sends the requests that are due, and answers them.
    pub fn exchange_webhooks(&mut self) {
        let memberships = || self.clients.iter().flat_map(|client| &client.channels);
        let channels = memberships().map(|(name, _)| ((*name).to_owned(), None, ""));
        let users = memberships()
            .filter_map(|(name, user)| Some(((*name).to_owned(), Some((*user)?.to_owned()), "")));
        let present: BTreeSet<Subject> = channels.chain(users).collect();
        let model = &mut self.application;
        for subject in present.difference(&model.present) {
            if model.gone.remove(subject).is_none() {
                model.expected.entry(subject.clone()).or_default().push(true);
            }
        }
        for subject in model.present.difference(&present) {
            model.gone.insert(subject.clone(), self.now.ms);
        }
        model.present = present;
        self.pass_time(50);
        while let Some(request) = self.hub.next_webhook(self.now) {
            let fate = if self.application.is_calm { 7 } else { self.below(8) };
            let line = request.head.lines().find(|line| line.starts_with("X-Reverb-Delivery: "));
            // The first fails before it is handled, the second after.
            if fate > 0 && self.application.handled.insert(line.unwrap().to_owned()) {
                self.application.handle(&request.body);
            }
            let outcome = match fate {
                0 => WebhookOutcome::Status(500),
                1 => WebhookOutcome::Failed("the connection was closed".into()),
                _ => WebhookOutcome::Status(200),
            };
            self.hub.webhook_done(request.endpoint, outcome, self.now);
        }
        assert_eq!(self.hub.audit(), Ok(()));
    }

    /// Lets time pass. Subjects that have been gone for long enough are reported.
    fn pass_time(&mut self, ms: u64) {
        self.now.ms += ms;
        while self.hub.is_tick_due(self.now) {
            self.hub.begin_turn();
            self.hub.tick(self.now);
        }
        let model = &mut self.application;
        let is_due = |left_ms: &u64| *left_ms + 3_000 <= self.now.ms;
        for subject in model.gone.iter().filter(|(_, left_ms)| is_due(left_ms)).map(|it| it.0) {
            model.expected.entry(subject.clone()).or_default().push(false);
        }
        model.gone.retain(|_, left_ms| !is_due(left_ms));
    }

    /// All clients have left: the application must know it, and everything before.
    pub fn check_application(&mut self) {
        self.application.is_calm = true;
        for _ in 0..25 {
            self.pass_time(4_000);
            self.exchange_webhooks();
        }
        assert_eq!(self.application.received, self.application.expected);
    }
}
