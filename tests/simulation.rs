//! Random operations of many clients on a hub without sockets, with a simulated clock, compared
//! with a simple model: lists that are searched linearly.
//!
//! After every operation each client must have received exactly the messages of the model, in
//! order, and the API must report the counts of the model. The application must receive the webhooks
//! of the model. `SIM_SEED=7 cargo test simulation`
//! repeats one seed; `SIM_SEEDS=5000` runs that many.

mod api;
mod application;
mod apps;

use std::collections::BTreeMap;
use std::io::IoSlice;

use application::Application;
use apps::Apps;
use reverb::config::{App, Config, Url, Webhook};
use reverb::hub::{ConnId, Hub, Now};
use reverb::proto::auth::Signer;
use serde_json::{Value, json};

const SECRET: &str = "secret";
const CHANNELS: [&str; 7] = [
    "news",
    "cache-c",
    "private-p",
    "private-cache-q",
    "presence-a",
    "presence-cache-b",
    "odd \"é",
];
const HAS_WEBHOOKS: bool = cfg!(feature = "webhooks");
const USERS: [&str; 4] = ["1", "2", "ann", "b/\""];

#[test]
fn the_hub_matches_the_model_for_every_seed() {
    if let Some(seed) = variable("SIM_SEED") {
        return World::new(seed).run();
    }
    for seed in 1..=variable("SIM_SEEDS").unwrap_or(200) {
        let run = std::panic::catch_unwind(|| World::new(seed).run());
        assert!(run.is_ok(), "to reproduce: SIM_SEED={seed}");
    }
}

pub fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A client in the model.
struct Client {
    id: ConnId,
    socket_id: String,
    /// Its channels, each with the user it has joined as.
    channels: Vec<(&'static str, Option<&'static str>)>,
    /// The messages it should have received since the last comparison.
    expected: Vec<Value>,
}

struct World {
    hub: Hub<()>,
    now: Now,
    random: u64,
    signer: Signer,
    clients: Vec<Client>,
    /// A kept API connection.
    publisher: ConnId,
    /// The last event of each cache channel.
    kept: BTreeMap<&'static str, Value>,
    /// The users of each presence channel, in the order of joining.
    users: BTreeMap<&'static str, Vec<&'static str>>,
    events: u64,
    config: Config,
    application: Application,
    apps: Apps,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut app = App::new("1", "key", SECRET);
        app.client_events_on_public_channels = true;
        // Clients here never answer a ping.
        app.ping_interval_s = 86_400;
        if HAS_WEBHOOKS {
            app.webhooks = vec![Webhook::new(Url::parse("http://app/hook").unwrap())];
        }
        let mut config = Config { apps: vec![app], ..Config::default() };
        // Small enough that nearly all work is deferred once.
        config.limits.work_per_turn = 1_024;
        // The publisher stays connected for as long as the run takes.
        config.limits.keep_alive_timeout_ms = 3_600_000;
        config.limits.request_timeout_ms = 3_600_000;
        let now = Now { ms: 5_000, unix_s: 1_795_450_533 };
        let mut hub = Hub::new(&config, [seed as u8; 32], now);
        let publisher = hub.open((), None, now);
        World {
            hub,
            now,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            signer: Signer::new(SECRET),
            clients: Vec::new(),
            publisher,
            kept: BTreeMap::new(),
            users: BTreeMap::new(),
            events: 0,
            config,
            application: Application::default(),
            apps: Apps::default(),
        }
    }

    fn run(mut self) {
        for _ in 0..160 {
            match self.below(26) {
                0..=3 => self.connect(),
                4..=9 => self.with_client(Self::subscribe),
                10..=11 => self.with_client(Self::unsubscribe),
                12 => self.with_client(Self::whisper),
                13..=15 => self.publish(),
                16 => self.with_client(|world, n| world.leave(n, 1)),
                17 => {
                    let many = self.below(4);
                    self.with_client(|world, n| world.leave(n, many + 1));
                }
                18 => self.with_client(Self::ping),
                19 => match self.below(4) {
                    0 => self.reconfigure(),
                    1 => self.hand_over(),
                    _ => self.count(),
                },
                _ => self.act_on_app(),
            }
            self.compare();
        }
        self.dismiss_all();
        let all = self.clients.len();
        self.leave(0, all);
        self.compare();
        self.count();
        assert_eq!(self.get("/apps/1/channels"), json!({"channels": {}}));
        if HAS_WEBHOOKS {
            self.check_application();
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

    fn connect(&mut self) {
        let id = self.hub.open((), None, self.now);
        let request = "GET /app/key HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                       Sec-WebSocket-Version: 13\r\n\r\n";
        self.receive(id, request.as_bytes());
        let bytes = take(&mut self.hub, id);
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let established = &messages(&bytes[end..])[0];
        assert_eq!(established["event"], "pusher:connection_established");
        let socket_id = established["data"]["socket_id"].as_str().unwrap().to_owned();
        self.clients.push(Client { id, socket_id, channels: Vec::new(), expected: Vec::new() });
    }

    fn subscribe(&mut self, n: usize) {
        let channel = CHANNELS[self.below(CHANNELS.len())];
        let user = USERS[self.below(USERS.len())];
        let is_presence = channel.starts_with("presence-");
        let mut data = json!({"channel": channel});
        let socket_id = &self.clients[n].socket_id;
        if is_presence {
            let member = json!({"user_id": user, "user_info": {"of": socket_id}}).to_string();
            let signature = self.signer.sign(&[socket_id, ":", channel, ":", &member]);
            data["auth"] = format!("key:{signature}").into();
            data["channel_data"] = member.into();
        } else if channel.starts_with("private-") {
            let signature = self.signer.sign(&[socket_id, ":", channel]);
            data["auth"] = format!("key:{signature}").into();
        }
        self.send(n, json!({"event": "pusher:subscribe", "data": data}));

        let user = is_presence.then_some(user);
        let seat = self.clients[n].channels.iter().position(|(name, _)| *name == channel);
        let stays = seat.is_some_and(|at| self.clients[n].channels[at].1 == user);
        if !stays {
            if let Some(at) = seat {
                let (_, before) = self.clients[n].channels.remove(at);
                self.user_left(channel, before);
            }
            self.user_joined(n, channel, user);
            self.clients[n].channels.push((channel, user));
        }
        let data = match user {
            Some(_) => json!({"presence": self.presence(channel)}),
            None => json!({}),
        };
        let event = "pusher_internal:subscription_succeeded";
        let expected = &mut self.clients[n].expected;
        expected.push(json!({"event": event, "data": data, "channel": channel}));
        if channel.contains("cache-") {
            let miss = json!({"event": "pusher:cache_miss", "channel": channel});
            expected.push(self.kept.get(channel).cloned().unwrap_or(miss));
        }
    }

    /// The member list for a new subscriber, without infos, which other tests compare.
    fn presence(&self, channel: &str) -> Value {
        let users = self.users.get(channel).cloned().unwrap_or_default();
        json!({"count": users.len(), "ids": users})
    }

    /// Expects `member_added` for a user's first connection, and adds the user to the model.
    fn user_joined(&mut self, n: usize, channel: &'static str, user: Option<&'static str>) {
        let Some(user) = user else { return };
        let users = self.users.entry(channel).or_default();
        if users.contains(&user) {
            return;
        }
        users.push(user);
        let info = json!({"of": self.clients[n].socket_id});
        let data = json!({"user_id": user, "user_info": info});
        let event = "pusher_internal:member_added";
        self.expect_all(channel, json!({"event": event, "data": data, "channel": channel}), None);
    }

    /// Expects `member_removed` for a user's last connection, which the model has removed already.
    fn user_left(&mut self, channel: &'static str, user: Option<&'static str>) {
        let Some(user) = user else { return };
        let is_here = |client: &Client| client.channels.contains(&(channel, Some(user)));
        if self.clients.iter().any(is_here) {
            return;
        }
        self.users.entry(channel).or_default().retain(|other| *other != user);
        let event = "pusher_internal:member_removed";
        let message = json!({"event": event, "data": {"user_id": user}, "channel": channel});
        self.expect_all(channel, message, None);
    }

    fn expect_all(&mut self, channel: &str, message: Value, except: Option<&str>) {
        for client in &mut self.clients {
            let is_in = client.channels.iter().any(|(name, _)| *name == channel);
            if is_in && except != Some(&client.socket_id) {
                client.expected.push(message.clone());
            }
        }
    }

    fn unsubscribe(&mut self, n: usize) {
        let channel = CHANNELS[self.below(CHANNELS.len())];
        self.send(n, json!({"event": "pusher:unsubscribe", "data": {"channel": channel}}));
        let seat = self.clients[n].channels.iter().position(|(name, _)| *name == channel);
        if let Some(at) = seat {
            let (_, user) = self.clients[n].channels.remove(at);
            self.user_left(channel, user);
        }
    }

    fn whisper(&mut self, n: usize) {
        let channel = CHANNELS[self.below(CHANNELS.len())];
        let data = json!({"n": self.events, "odd": "\"\u{1}é"});
        let mut message = json!({"event": "client-x", "channel": channel, "data": data});
        self.send(n, message.clone());
        match self.clients[n].channels.iter().find(|(name, _)| *name == channel) {
            Some((_, user)) => {
                if let Some(user) = user {
                    message["user_id"] = (*user).into();
                }
                self.application.expect_client_event(channel);
                let sender = self.clients[n].socket_id.clone();
                self.expect_all(channel, message, Some(&sender));
            }
            None => {
                let text = "The client is not a member of the specified channel.";
                let data = json!({"code": 4009, "message": text});
                self.clients[n].expected.push(json!({"event": "pusher:error", "data": data}));
            }
        }
    }

    fn publish(&mut self) {
        self.events += 1;
        let first = self.below(CHANNELS.len());
        let channels = &CHANNELS[first..(first + 1 + self.below(2)).min(CHANNELS.len())];
        let except = match self.below(3) {
            0 if !self.clients.is_empty() => {
                let n = self.below(self.clients.len());
                Some(self.clients[n].socket_id.clone())
            }
            _ => None,
        };
        let data = format!("event {}", self.events);
        let mut body = json!({"name": "e", "channels": channels, "data": data});
        if let Some(except) = &except {
            body["socket_id"] = except.as_str().into();
        }
        assert_eq!(self.request("POST", "/apps/1/events", &body.to_string()), json!({}));
        for channel in channels {
            let message = json!({"event": "e", "data": data, "channel": channel});
            self.expect_all(channel, message.clone(), except.as_deref());
            if channel.contains("cache-") {
                self.kept.insert(channel, message);
            }
        }
    }

    /// Several clients disconnect in one turn: the others receive all departures, in order.
    fn leave(&mut self, first: usize, many: usize) {
        for _ in 0..many.min(self.clients.len() - first) {
            let client = self.clients.remove(first);
            self.hub.close(client.id, self.now);
            // The hub leaves channels in its own order; the order of events within each is fixed.
            for (channel, user) in client.channels {
                self.user_left(channel, user);
            }
        }
    }

    fn ping(&mut self, n: usize) {
        self.now.ms += self.below(5_000) as u64;
        self.send(n, json!({"event": "pusher:ping", "data": {}}));
        self.clients[n].expected.push(json!({"event": "pusher:pong"}));
    }

    /// Compares the counts of the API.
    fn count(&mut self) {
        assert_eq!(self.get("/apps/1/connections"), json!({"connections": self.clients.len()}));
        for channel in CHANNELS {
            let is_in = |client: &&Client| client.channels.iter().any(|(name, _)| *name == channel);
            let subscribers = self.clients.iter().filter(is_in).count();
            let path = format!("/apps/1/channels/{}", channel.replace(' ', "%20"));
            let path = path.replace('"', "%22").replace('é', "%C3%A9");
            let users = self.users.get(channel).map_or(0, Vec::len);
            let is_presence = channel.starts_with("presence-");
            let expected = match (subscribers, is_presence) {
                (0, _) => json!({"occupied": false}),
                (_, true) => json!({"occupied": true, "user_count": users}),
                (_, false) => json!({"occupied": true, "subscription_count": subscribers}),
            };
            let info = "user_count,subscription_count";
            assert_eq!(self.get_with(&path, &format!("info={info}")), expected);
        }
    }

    /// Compares the hub's queued output with the model.
    fn compare(&mut self) {
        while self.hub.next_dirty(self.now).is_some() {}
        assert_eq!(self.hub.audit(), Ok(()));
        for client in &mut self.clients {
            let mut got = messages(&take(&mut self.hub, client.id));
            for message in &mut got {
                // The model has no infos; other tests compare them.
                if let Some(presence) = message.pointer_mut("/data/presence") {
                    presence.as_object_mut().unwrap().remove("hash");
                }
            }
            by_channel(&mut got);
            by_channel(&mut client.expected);
            assert_eq!(got, std::mem::take(&mut client.expected), "{}", client.socket_id);
        }
        self.compare_guests();
        self.exchange_webhooks();
    }

    fn send(&mut self, n: usize, message: Value) {
        self.send_to(self.clients[n].id, &message);
    }

    fn send_to(&mut self, id: ConnId, message: &Value) {
        let text = message.to_string();
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend((text.len() as u16).to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.receive(id, &frame);
    }

    /// Sends bytes to the hub in two parts, split at random.
    fn receive(&mut self, id: ConnId, bytes: &[u8]) {
        let at = self.below(bytes.len() + 1);
        for piece in [&bytes[..at], &bytes[at..]] {
            self.read(id, piece);
        }
    }

    /// Makes the hub read these bytes from a socket, in as many turns as its budget requires.
    fn read(&mut self, id: ConnId, mut bytes: &[u8]) {
        self.hub.ready(id);
        while self.hub.has_work() {
            self.hub.begin_turn();
            while let Some((next, bytes_max)) = self.hub.next_read(self.now) {
                if next != id || bytes.is_empty() {
                    continue;
                }
                let (piece, rest) = bytes.split_at(bytes_max.min(bytes.len()));
                bytes = rest;
                self.hub.receive(id, &mut piece.to_vec(), self.now);
                self.hub.ready(id);
            }
        }
        assert!(bytes.is_empty(), "the hub never reads the connection");
    }
}

/// Takes the queued output of a connection.
pub fn take(hub: &mut Hub<()>, id: ConnId) -> Vec<u8> {
    let (_, outbox) = hub.outbox(id).unwrap();
    let mut slices = vec![IoSlice::new(&[]); 1_000];
    let filled = outbox.slices(&mut slices, usize::MAX);
    let bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
    outbox.consume(bytes.len());
    assert!(outbox.is_empty());
    bytes
}

/// The messages in a server's text frames; `data` that is a string of JSON is decoded.
pub fn messages(mut bytes: &[u8]) -> Vec<Value> {
    let mut messages = Vec::new();
    while let [0x81, short, rest @ ..] = bytes {
        let (len, rest) = match short {
            126 => (u16::from_be_bytes([rest[0], rest[1]]) as usize, &rest[2..]),
            len => (*len as usize, rest),
        };
        let mut message: Value = serde_json::from_slice(&rest[..len]).unwrap();
        let inner = message["data"].as_str().and_then(|text| serde_json::from_str(text).ok());
        if let Some(inner) = inner {
            message["data"] = inner;
        }
        messages.push(message);
        bytes = &rest[len..];
    }
    assert_eq!(bytes, b"");
    messages
}

/// Sorts by channel, keeping the order within each: the order across channels is not defined.
fn by_channel(messages: &mut [Value]) {
    messages.sort_by_key(|message| message["channel"].to_string());
}
