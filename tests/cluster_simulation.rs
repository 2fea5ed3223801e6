//! Several hubs without sockets on a simulated Redis with a simulated clock: random operations of
//! clients and nodes while connections are cut inside a message, delayed and duplicated, Redis is
//! paused and killed, and nodes crash, stop and start.
//!
//! At no time may a client receive an event twice, out of order or after a gap, or a join of a
//! member that is present or a leave of one that is not; it always knows the members that its node
//! knows. Once the faults end, all nodes must agree with a simple model.
//! `SIM_SEED=7 cargo test cluster_simulation` runs one seed again, `SIM_SEEDS=5000` that many.
#![cfg(feature = "redis")]

mod client;
mod node;
mod receiver;
mod redis;
mod wires;

use std::collections::{BTreeMap, BTreeSet};

use reverb::config::{App, Config, Url, Webhook};
use reverb::hub::Now;
use reverb::proto::auth::Signer;
use serde_json::{Value, json};

use crate::simulation::variable;
use client::{Client, Published, Subscription};
use node::Node;
use receiver::Receiver;
use redis::{Connection, Redis};
use wires::Wire;

const SECRET: &str = "secret";
const CHANNELS: [&str; 6] =
    ["news", "cache-c", "private-p", "private-cache-q", "presence-a", "presence-b"];
const USERS: [&str; 4] = ["1", "2", "ann", "b/\""];

/// Places for nodes: a new node gets a free one.
const PLACES: usize = 4;

/// Longer than every lease, pause, timeout and backoff together.
const SETTLE_MS: u64 = 50_000;
const HAS_WEBHOOKS: bool = cfg!(feature = "webhooks");

#[test]
fn all_nodes_agree_once_the_faults_end() {
    if let Some(seed) = variable("SIM_SEED") {
        return World::new(seed).run();
    }
    for seed in 1..=variable("SIM_SEEDS").unwrap_or(100) {
        let run = std::panic::catch_unwind(|| World::new(seed).run());
        assert!(run.is_ok(), "repeat it with SIM_SEED={seed}");
    }
}

struct World {
    seed: u64,
    config: Config,
    now: Now,
    random: u64,
    redis: Redis,
    nodes: Vec<Option<Node>>,
    wires: Vec<Wire>,
    connections: Vec<Option<Connection>>,
    clients: Vec<Client>,
    published: Vec<Published>,
    /// The application that receives webhooks.
    receiver: Receiver,
    /// The number of nodes that were ever started.
    count: usize,
    /// The queues are so small that events are lost.
    is_lossy: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut app = App::new("1", "key", SECRET);
        // Clients here never answer a ping; `simulation.rs` tests the pings.
        app.ping_interval_s = 86_400;
        if HAS_WEBHOOKS {
            app.webhooks = vec![Webhook::new(Url::parse("http://app/hook").unwrap())];
        }
        let mut config = Config { apps: vec![app], ..Config::default() };
        config.server.scaling.enabled = true;
        let is_lossy = seed.is_multiple_of(4);
        config.server.scaling.timeout_s = if is_lossy { 3 } else { 3_600 };
        config.limits.bus_queue_bytes = if is_lossy { 65_536 } else { 16_777_216 };
        config.limits.node_lease_ms = 4_000;
        World {
            seed,
            config,
            now: Now { ms: 5_000, unix_s: 1_795_450_533 },
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            redis: Redis { is_up: true, ..Redis::default() },
            nodes: (0..PLACES).map(|_| None).collect(),
            wires: (0..PLACES).map(|_| Wire::default()).collect(),
            connections: (0..PLACES).map(|_| None).collect(),
            clients: Vec::new(),
            published: Vec::new(),
            receiver: Receiver::default(),
            count: 0,
            is_lossy,
        }
    }

    fn run(mut self) {
        for _ in 0..2 + self.below(2) {
            self.start_node();
        }
        for _ in 0..3 {
            self.settle();
            for _ in 0..60 {
                self.storm();
                let ms = self.below(10) * self.below(10) * self.below(10);
                self.pass(ms as u64);
                self.check_members();
            }
        }
        self.settle();
        self.clients.clear();
    }

    /// Performs one random operation, or causes one fault.
    fn storm(&mut self) {
        match self.below(24) {
            0..=3 => self.connect(),
            4..=8 => self.with_client(Self::subscribe),
            9 => self.with_client(Self::unsubscribe),
            10 => self.with_client(Self::disconnect),
            11..=12 => self.with_client(Self::send_client_event),
            13..=18 => self.publish(),
            19..=21 => self.cause_fault(),
            22 => self.start_node(),
            _ => self.end_node(),
        }
    }

    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 33) as usize % end
    }

    fn with_client(&mut self, act: impl FnOnce(&mut Self, usize)) {
        if !self.clients.is_empty() {
            let n = self.below(self.clients.len());
            act(self, n);
        }
    }

    /// The places of the running nodes.
    fn places(&self) -> Vec<usize> {
        (0..PLACES).filter(|at| self.nodes[*at].is_some()).collect()
    }

    fn any_place(&mut self) -> usize {
        let places = self.places();
        places[self.below(places.len())]
    }

    fn node(&mut self, at: usize) -> &mut Node {
        self.nodes[at].as_mut().unwrap()
    }

    fn start_node(&mut self) {
        if let Some(at) = self.nodes.iter().position(Option::is_none) {
            self.count += 1;
            self.nodes[at] = Some(Node::new(&self.config, self.count, self.seed, self.now));
            self.wires[at] = Wire::default();
        }
    }

    /// Ends a node, with or without a goodbye, and its clients.
    fn end_node(&mut self) {
        if self.places().len() < 2 {
            return;
        }
        let at = self.any_place();
        if self.below(2) == 0 {
            let now = self.now;
            self.node(at).hub.bus_leave(now);
            self.pass(20);
        }
        self.nodes[at] = None;
        self.connections[at] = None;
        self.wires[at] = Wire::default();
        self.note_unknown_clients(at);
        self.clients.retain(|client| client.node != at);
    }

    fn connect(&mut self) {
        let (at, now) = (self.any_place(), self.now);
        let (id, socket_id) = self.node(at).connect(now);
        self.clients.push(Client { node: at, id, socket_id, subscriptions: BTreeMap::new() });
    }

    fn disconnect(&mut self, n: usize) {
        let client = self.clients.remove(n);
        let now = self.now;
        self.node(client.node).hub.close(client.id, now);
    }

    fn send_message(&mut self, n: usize, message: &Value) {
        let (at, id, now) = (self.clients[n].node, self.clients[n].id, self.now);
        self.node(at).receive(id, message, now);
        self.receive(n);
    }

    fn subscribe(&mut self, n: usize) {
        let channel = CHANNELS[self.below(CHANNELS.len())];
        if self.clients[n].subscriptions.contains_key(channel) {
            return;
        }
        let user = USERS[self.below(USERS.len())];
        let user = channel.starts_with("presence-").then_some(user);
        let socket_id = &self.clients[n].socket_id;
        let mut data = json!({"channel": channel});
        let mut signed = vec![socket_id.clone(), ":".into(), channel.to_owned()];
        if let Some(user) = user {
            let member = json!({"user_id": user, "user_info": {"of": socket_id}}).to_string();
            data["channel_data"] = member.as_str().into();
            signed.extend([":".into(), member]);
        }
        let signed: Vec<&str> = signed.iter().map(String::as_str).collect();
        data["auth"] = format!("key:{}", Signer::new(SECRET).sign(&signed)).into();
        self.receive(n);
        let at = self.clients[n].node;
        let met = self.node(at).met.clone();
        let subscription = Subscription::new(user, self.published.len(), met);
        self.clients[n].subscriptions.insert(channel, subscription);
        self.send_message(n, &json!({"event": "pusher:subscribe", "data": data}));
    }

    fn unsubscribe(&mut self, n: usize) {
        let channel = CHANNELS[self.below(CHANNELS.len())];
        self.send_message(n, &json!({"event": "pusher:unsubscribe", "data": {"channel": channel}}));
        if let Some(subscription) = self.clients[n].subscriptions.remove(channel) {
            let socket_id = &self.clients[n].socket_id;
            subscription.check(channel, socket_id, &self.published, None, self.is_lossy);
        }
    }

    fn publish(&mut self) {
        let (at, now) = (self.any_place(), self.now);
        // The lossy queues hold a few dozen of these.
        let padding = "x".repeat(if self.is_lossy { 2_000 } else { 1 });
        let mut batch = Vec::new();
        for _ in 0..1 + self.below(3) {
            let channel = CHANNELS[self.below(CHANNELS.len())];
            let except = match self.below(3) {
                0 if !self.clients.is_empty() => {
                    let n = self.below(self.clients.len());
                    Some(self.clients[n].socket_id.clone())
                }
                _ => None,
            };
            let data = json!({"n": self.published.len(), "padding": padding}).to_string();
            let mut event = json!({"name": "e", "channel": channel, "data": data});
            if let Some(except) = &except {
                event["socket_id"] = except.as_str().into();
            }
            batch.push(event);
            let node = self.node(at).number;
            self.published.push(Published { node, channel, except });
        }
        let body = json!({"batch": batch}).to_string();
        self.node(at).request("POST", "/apps/1/batch_events", "", &body, now);
    }

    /// A client sends an event to the other subscribers of a channel.
    fn send_client_event(&mut self, n: usize) {
        let channel = ["private-p", "presence-a"][self.below(2)];
        if !self.clients[n].subscriptions.contains_key(channel) {
            return;
        }
        let (at, except) = (self.clients[n].node, Some(self.clients[n].socket_id.clone()));
        let node = self.node(at).number;
        let data = json!({"n": self.published.len()});
        self.published.push(Published { node, channel, except });
        self.send_message(n, &json!({"event": "client-e", "channel": channel, "data": data}));
    }

    /// A client receives the messages that its node has sent.
    fn receive(&mut self, n: usize) {
        let (at, id, now) = (self.clients[n].node, self.clients[n].id, self.now);
        for message in self.node(at).take_messages(id, now) {
            let channel = message["channel"].as_str().unwrap_or_else(|| panic!("{message}"));
            let subscription = self.clients[n].subscriptions.get_mut(channel);
            subscription
                .unwrap_or_else(|| panic!("no subscription of {channel}"))
                .receive(&message, channel);
        }
    }

    /// Every client receives its messages, and must know the members that its node knows.
    fn check_members(&mut self) {
        let now = self.now;
        for n in 0..self.clients.len() {
            self.receive(n);
        }
        for at in self.places() {
            for channel in ["presence-a", "presence-b"] {
                let local = self.clients.iter().filter(|client| client.node == at);
                let subscriptions: Vec<_> =
                    local.filter_map(|it| it.subscriptions.get(channel)).collect();
                if subscriptions.is_empty() {
                    continue;
                }
                let node = self.nodes[at].as_mut().unwrap();
                let known = node.users(channel, now);
                assert!(
                    subscriptions.iter().all(|subscription| subscription.users == known),
                    "{channel}: {known:?}"
                );
            }
        }
    }

    /// Ends all faults and lets time pass; all nodes must then agree.
    fn settle(&mut self) {
        self.mend();
        self.receiver.is_calm = true;
        self.pass(SETTLE_MS);
        if HAS_WEBHOOKS {
            self.check_receiver();
        }
        self.receiver.is_calm = false;
        self.check_members();
        let (now, places) = (self.now, self.places());
        let alive: BTreeSet<usize> = places.iter().map(|at| self.node(*at).number).collect();
        for &at in &places {
            let (others, counters) = self.node(at).hub.bus_counters().unwrap();
            assert_eq!(others, places.len() - 1, "nodes for node {at}: {counters:?}");
            let count = json!({"connections": self.clients.len()});
            assert_eq!(self.node(at).get("/apps/1/connections", now), count);
            self.node(at).met = alive.clone();
        }
        for channel in CHANNELS {
            self.compare(channel, &places);
        }
        for client in &self.clients {
            for (channel, subscription) in &client.subscriptions {
                let (published, alive) = (&self.published, Some(&alive));
                subscription.check(channel, &client.socket_id, published, alive, self.is_lossy);
            }
        }
    }

    /// Fails unless every node returns the right state of a channel.
    fn compare(&mut self, channel: &'static str, places: &[usize]) {
        let now = self.now;
        let subscriptions: Vec<_> =
            self.clients.iter().filter_map(|client| client.subscriptions.get(channel)).collect();
        let users: BTreeSet<String> = subscriptions
            .iter()
            .filter_map(|subscription| subscription.user)
            .map(str::to_owned)
            .collect();
        let mut expected = json!({"occupied": !subscriptions.is_empty()});
        if !subscriptions.is_empty() {
            match channel.starts_with("presence-") {
                true => expected["user_count"] = users.len().into(),
                false => expected["subscription_count"] = subscriptions.len().into(),
            }
        }
        let mut kept = BTreeSet::new();
        for &at in places {
            let (path, info) =
                (format!("/apps/1/channels/{channel}"), "subscription_count,user_count,cache");
            let mut got = self.node(at).request("GET", &path, &format!("&info={info}"), "", now);
            let cache = got.as_object_mut().unwrap().remove("cache");
            kept.insert(cache.map(|cache| cache["data"].as_str().unwrap().to_owned()));
            assert_eq!(got, expected, "{channel}");
            if channel.starts_with("presence-") {
                assert_eq!(self.node(at).users(channel, now), users, "{channel}");
            }
        }
        // An event of a node that died may have reached some nodes and not others.
        let numbers: Vec<usize> = kept.iter().flatten().map(|data| number(data)).collect();
        let alive: Vec<usize> = places.iter().map(|at| self.node(*at).number).collect();
        let is_orphan = |n: &usize| !alive.contains(&self.published[*n].node);
        if !numbers.iter().any(is_orphan) {
            assert_eq!(kept.len(), 1, "of {channel} the nodes keep {kept:?}");
        }
    }
}

/// The number of an event, from its data.
fn number(data: &str) -> usize {
    let data: Value = serde_json::from_str(data).unwrap();
    data["n"].as_u64().unwrap() as usize
}
