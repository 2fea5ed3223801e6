//! The application that receives the webhooks of all nodes: it answers, fails, is slow, or handles
//! a request whose response is lost. What it knows must be right once the faults end.

use std::collections::{BTreeMap, BTreeSet};

use reverb::hub::{EndpointId, WebhookOutcome, WebhookRequest};
use serde_json::Value;

use super::{CHANNELS, World};

#[derive(Default)]
pub struct Receiver {
    /// The channels that it believes to be occupied.
    pub occupied: BTreeSet<String>,
    /// The users that it believes to be in a channel.
    pub members: BTreeSet<(String, String)>,
    /// What it knows only from nodes that have ended.
    unknown_channels: BTreeSet<String>,
    unknown_members: BTreeSet<(String, String)>,
    /// Whether all nodes have ended that knew what was reported; none of them has a spool.
    has_lost_all: bool,
    /// Whether it answers every request at once.
    pub is_calm: bool,
    /// The requests without a response.
    under_way: Vec<UnderWay>,
    /// The body of each delivery.
    deliveries: BTreeMap<String, Vec<u8>>,
}

struct UnderWay {
    place: usize,
    endpoint: EndpointId,
    outcome: WebhookOutcome,
    due_ms: u64,
}

impl Receiver {
    /// When it responds next.
    pub fn next_ms(&self) -> Option<u64> {
        self.under_way.iter().map(|it| it.due_ms).min()
    }

    fn handle(&mut self, request: &WebhookRequest) {
        let line = request.head.lines().find(|line| line.starts_with("X-Reverb-Delivery: "));
        let before = self.deliveries.insert(line.unwrap().to_owned(), request.body.to_vec());
        assert!(before.is_none_or(|before| *before == *request.body), "a delivery id is reused");
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        for event in body["events"].as_array().unwrap() {
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            let (channel, user) = (text("channel"), text("user_id"));
            match text("name").as_str() {
                "channel_occupied" => _ = self.occupied.insert(channel),
                "channel_vacated" => _ = self.occupied.remove(&channel),
                "member_added" => _ = self.members.insert((channel, user)),
                "member_removed" => _ = self.members.remove(&(channel, user)),
                _ => {}
            }
        }
    }
}

impl World {
    /// The requests that a node sends in a turn, and the responses that it gets.
    pub fn exchange_webhooks(&mut self, place: usize) {
        let now = self.now;
        let Some(node) = &mut self.nodes[place] else { return };
        let due = |it: &mut UnderWay| it.place == place && it.due_ms <= now.ms;
        for done in self.receiver.under_way.extract_if(.., due) {
            node.hub.webhook_done(done.endpoint, done.outcome, now);
        }
        while let Some(request) = self.nodes[place].as_mut().and_then(|it| it.hub.next_webhook(now))
        {
            let fate = if self.receiver.is_calm { 9 } else { self.below(10) };
            // Two fail: the first after the request was handled, the second before.
            if fate != 1 {
                self.receiver.handle(&request);
            }
            let (outcome, wait_ms) = match fate {
                0 => (WebhookOutcome::Failed("the connection was closed".into()), 5),
                1 => (WebhookOutcome::Status(503), 1),
                2 => (WebhookOutcome::Status(200), self.below(3_000) as u64),
                _ => (WebhookOutcome::Status(204), 1),
            };
            let (endpoint, due_ms) = (request.endpoint, now.ms + wait_ms);
            self.receiver.under_way.push(UnderWay { place, endpoint, outcome, due_ms });
        }
    }

    /// A node has ended. What it has reported about clients that no other node knows is in its
    /// spool only.
    pub fn note_unknown_clients(&mut self, place: usize) {
        self.receiver.under_way.retain(|it| it.place != place);
        let (now, places) = (self.now, self.places());
        // Nodes that have just started do not know what was reported.
        let lease_ms = u64::from(self.config.limits.node_lease_ms);
        let is_fresh = |at: &usize| {
            self.nodes[*at].as_ref().is_some_and(|node| now.ms < node.started_ms + 2 * lease_ms)
        };
        self.receiver.has_lost_all |= places.iter().all(is_fresh);
        let (mut occupied, mut members) = (BTreeSet::new(), BTreeSet::new());
        for at in places {
            let node = self.node(at);
            for channel in CHANNELS {
                let state = node.get(&format!("/apps/1/channels/{channel}"), now);
                if state["occupied"].as_bool() == Some(true) {
                    occupied.insert(channel.to_owned());
                }
                if channel.starts_with("presence-") {
                    let users = node.users(channel, now).into_iter();
                    members.extend(users.map(|user| (channel.to_owned(), user)));
                }
            }
        }
        let state = &mut self.receiver;
        state.unknown_channels.extend(state.occupied.difference(&occupied).cloned());
        state.unknown_members.extend(state.members.difference(&members).cloned());
    }

    /// Fails unless the application knows which channels are occupied, and by whom.
    pub fn check_receiver(&mut self) {
        let subscriptions = || self.clients.iter().flat_map(|client| &client.subscriptions);
        let occupied: BTreeSet<String> =
            subscriptions().map(|(channel, _)| (*channel).to_owned()).collect();
        let members: BTreeSet<(String, String)> = subscriptions()
            .filter_map(|(channel, it)| Some(((*channel).to_owned(), it.user?.to_owned())))
            .collect();
        let state = &mut self.receiver;
        state.occupied.retain(|it| occupied.contains(it) || !state.unknown_channels.contains(it));
        state.members.retain(|it| members.contains(it) || !state.unknown_members.contains(it));
        (state.unknown_channels, state.unknown_members) = Default::default();
        if std::mem::take(&mut state.has_lost_all) {
            (state.occupied, state.members) = (occupied.clone(), members.clone());
        }
        assert_eq!(state.occupied, occupied);
        assert_eq!(state.members, members);
    }
}
