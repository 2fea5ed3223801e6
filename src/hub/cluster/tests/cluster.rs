//! A simulated cluster: several hubs and a Redis, without sockets and real time. The tests are in
//! the other files.

use std::collections::VecDeque;
use std::io::IoSlice;

use crate::config::{App as Settings, Config, Limits, Url, Webhook};
use crate::hub::bus::{BusCounters, BusLink, BusWant};
use crate::hub::{ConnId, Hub, Now, Outbox};
use crate::proto::auth::Signer;

const SECRET: &str = "secret";

/// Nodes around one Redis.
pub(super) struct Cluster {
    pub nodes: Vec<Node>,
    pub now: Now,
    /// Whether Redis is reachable.
    pub is_up: bool,
    /// The role and mode that Redis reports.
    pub role: &'static str,
    pub mode: &'static str,
    /// Whether Redis permits inboxes.
    pub permits_inboxes: bool,
    /// The URL of the webhook of the app, for nodes that are added.
    pub webhook: Option<&'static str>,
    /// How often nodes sent HELLO, and how often they connected.
    pub hellos: usize,
    pub connects: usize,
}

pub(super) struct Node {
    pub hub: Hub<()>,
    is_connected: bool,
    /// The channels it is subscribed to.
    channels: Vec<Vec<u8>>,
    /// Messages that Redis has delivered to it.
    pub delivered: usize,
    /// Whether Redis delivers no message to it.
    is_cut_off: bool,
    /// Whether Redis delivers its messages to itself alone.
    pub is_one_way: bool,
    /// Output of Redis that the node has not received, for each connection.
    replies: [VecDeque<u8>; 2],
    /// Output of the node that Redis has not parsed, of each connection.
    commands: [Vec<u8>; 2],
}

impl Cluster {
    pub fn new(count: usize) -> Self {
        Self::with(count, |_| {})
    }

    /// Nodes that send webhooks.
    #[cfg(feature = "webhooks")]
    pub fn with_webhooks(count: usize) -> Self {
        let mut cluster = Self::new(0);
        cluster.webhook = Some("http://app/hook");
        (0..count).for_each(|_| cluster.add(|_| {}));
        cluster.settle();
        // Until a lease has passed, nodes are cautious.
        cluster.pass(5_000);
        cluster
    }

    pub fn with(count: usize, limits: impl Fn(&mut Limits)) -> Self {
        let now = Now { ms: 1_000, unix_s: 1_795_450_533 };
        let (role, mode) = ("master", "standalone");
        let mut cluster = Cluster {
            nodes: Vec::new(),
            now,
            is_up: true,
            role,
            mode,
            permits_inboxes: true,
            webhook: None,
            hellos: 0,
            connects: 0,
        };
        (0..count).for_each(|_| cluster.add(&limits));
        cluster.settle();
        cluster
    }

    pub fn add(&mut self, limits: impl Fn(&mut Limits)) {
        let mut config = self.config();
        limits(&mut config.limits);
        let seed = [self.nodes.len() as u8 + 1; 32];
        let hub = Hub::new(&config, seed, self.now);
        self.nodes.push(Node {
            hub,
            is_connected: false,
            channels: Vec::new(),
            delivered: 0,
            is_cut_off: false,
            is_one_way: false,
            replies: Default::default(),
            commands: Default::default(),
        });
    }

    /// Reloads a node: another process with another configuration takes over its state.
    pub fn reload(&mut self, at: usize, change: impl FnOnce(&mut Config)) {
        let mut config = self.config();
        change(&mut config);
        self.forget_connection(at);
        let (node, now) = (&mut self.nodes[at], self.now);
        let state = node.hub.save(now, |_, ()| 0).unwrap();
        node.hub = Hub::new(&config, [100 + at as u8; 32], now);
        node.hub.restore(state, now, |_| Some(())).unwrap();
        node.hub.audit().unwrap();
    }

    fn config(&self) -> Config {
        let mut config = config();
        let url = self.webhook.map(|url| Url::parse(url).unwrap());
        config.apps[0].webhooks.extend(url.map(Webhook::new));
        config
    }

    /// Runs turns of all nodes until none has anything to send.
    pub fn settle(&mut self) {
        for _ in 0..1_000 {
            let mut is_quiet = true;
            for at in 0..self.nodes.len() {
                is_quiet &= !self.turn(at);
            }
            if is_quiet {
                return;
            }
        }
        panic!("the nodes never stop sending");
    }

    /// Runs one turn of a node's loop. Returns whether it sent or received anything.
    pub fn turn(&mut self, at: usize) -> bool {
        let (now, is_up) = (self.now, self.is_up);
        let has_received = self.receive(at);
        let node = &mut self.nodes[at];
        if node.hub.next_tick_ms().is_some_and(|due_ms| due_ms <= now.ms) {
            node.hub.tick(now);
        }
        while node.hub.next_dirty(now).is_some() {}
        match node.hub.bus_wants(now) {
            BusWant::Nothing => {}
            BusWant::Connect if is_up => {
                node.is_connected = true;
                self.connects += 1;
                node.hub.bus_connected(now);
            }
            BusWant::Connect => node.hub.bus_lost("connection refused", now),
            BusWant::Drop => self.forget_connection(at),
        }
        let mut happened = has_received;
        for link in BusLink::ALL {
            let node = &mut self.nodes[at];
            let output = take(node.hub.bus_outbox(link).unwrap());
            happened |= !output.is_empty();
            if node.is_connected && is_up {
                node.commands[link as usize].extend(output);
                self.redis(at, link);
            }
        }
        happened
    }

    /// A node receives the pending output of Redis. Returns whether there was any.
    pub fn receive(&mut self, at: usize) -> bool {
        let (node, now) = (&mut self.nodes[at], self.now);
        let mut has_received = false;
        for link in BusLink::ALL {
            let replies: Vec<u8> = node.replies[link as usize].drain(..).collect();
            if !replies.is_empty() {
                node.hub.bus_receive(link, &replies, now);
                has_received = true;
            }
        }
        has_received
    }

    /// Redis handles the commands of a node.
    fn redis(&mut self, at: usize, link: BusLink) {
        let bytes = std::mem::take(&mut self.nodes[at].commands[link as usize]);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let words = command(&mut rest);
            let reply = match &*words[0] {
                b"HELLO" => {
                    self.hellos += 1;
                    let (role, mode) = (self.role, self.mode);
                    let greeting = "%3\r\n+proto\r\n:3\r\n";
                    format!("{greeting}+mode\r\n+{mode}\r\n+role\r\n+{role}\r\n").into_bytes()
                }
                b"SUBSCRIBE" | b"PUBLISH" if !self.permits_inboxes && words[1] != b"reverb" => {
                    b"-NOPERM No permissions to access a channel\r\n".to_vec()
                }
                b"SUBSCRIBE" => {
                    self.nodes[at].channels.push(words[1].clone());
                    b">3\r\n$9\r\nsubscribe\r\n$6\r\nreverb\r\n:1\r\n".to_vec()
                }
                b"PUBLISH" if self.nodes[at].is_one_way => {
                    self.push(at, &words[1], &words[2]);
                    b":1\r\n".to_vec()
                }
                b"PUBLISH" => {
                    format!(":{}\r\n", self.publish_on(&words[1], &words[2])).into_bytes()
                }
                other => panic!("{:?}", String::from_utf8_lossy(other)),
            };
            self.nodes[at].replies[link as usize].extend(reply);
        }
    }

    pub fn publish(&mut self, text: &[u8]) -> usize {
        self.publish_on(b"reverb", text)
    }

    fn publish_on(&mut self, channel: &[u8], text: &[u8]) -> usize {
        (0..self.nodes.len()).filter(|at| self.push(*at, channel, text)).count()
    }

    fn push(&mut self, at: usize, channel: &[u8], text: &[u8]) -> bool {
        let mut push = format!(">3\r\n$7\r\nmessage\r\n$6\r\nreverb\r\n${}\r\n", text.len());
        push.push_str(std::str::from_utf8(text).unwrap());
        push.push_str("\r\n");
        let node = &mut self.nodes[at];
        let reaches = node.channels.iter().any(|name| name == channel) && !node.is_cut_off;
        if reaches {
            node.delivered += 1;
            node.replies[BusLink::Subscriber as usize].extend(push.bytes());
        }
        reaches
    }

    /// Sets whether Redis delivers no message to this node.
    pub fn is_cut_off(&mut self, at: usize, is_cut_off: bool) {
        self.nodes[at].is_cut_off = is_cut_off;
    }

    pub fn forget_connection(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.is_connected = false;
        node.channels.clear();
        (node.replies, node.commands) = Default::default();
    }

    /// Closes a node's connection, with the loss of all data in transit.
    pub fn cut(&mut self, at: usize) {
        if self.nodes[at].is_connected {
            self.forget_connection(at);
            self.nodes[at].hub.bus_lost("connection reset", self.now);
        }
    }

    pub fn stop_redis(&mut self) {
        self.is_up = false;
        (0..self.nodes.len()).for_each(|at| self.cut(at));
    }

    /// Advances the clock, from one deadline of any node to the next.
    pub fn pass(&mut self, ms: u64) {
        let end_ms = self.now.ms + ms;
        while self.now.ms < end_ms {
            let due_ms = self.nodes.iter().filter_map(|node| node.hub.next_tick_ms()).min();
            self.now.ms = due_ms.unwrap_or(end_ms).clamp(self.now.ms + 1, end_ms);
            self.settle();
        }
    }

    fn connect(&mut self, at: usize) -> (ConnId, String) {
        let now = self.now;
        let hub = &mut self.nodes[at].hub;
        let id = hub.open((), None, now);
        hub.receive(id, &mut HANDSHAKE.to_vec(), now);
        let output = self.output(at, id);
        let start = output.find("socket_id").unwrap() + 14;
        (id, output[start..].split('\\').next().unwrap().to_owned())
    }

    fn send(&mut self, at: usize, id: ConnId, text: &str) {
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend((text.len() as u16).to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.nodes[at].hub.receive(id, &mut frame, self.now);
    }

    /// A client of a node in this channel, as this user if it is a presence channel.
    pub fn member(&mut self, at: usize, channel: &str, user: &str) -> ConnId {
        let (id, socket_id) = self.connect(at);
        let data = format!(r#"{{"user_id":"{user}","user_info":{{"name":"n{user}"}}}}"#);
        let auth = Signer::new(SECRET).sign(&[&socket_id, ":", channel, ":", &data]);
        let data = crate::proto::message::json_string(&data);
        let data =
            format!(r#"{{"channel":"{channel}","auth":"key:{auth}","channel_data":{data}}}"#);
        self.send(at, id, &format!(r#"{{"event":"pusher:subscribe","data":{data}}}"#));
        id
    }

    /// A client of a node, signed in as this user and subscribed to its user channel.
    pub fn user(&mut self, at: usize, user: &str) -> ConnId {
        let (id, socket_id) = self.connect(at);
        let data = format!(r#"{{"id":"{user}"}}"#);
        let auth = Signer::new(SECRET).sign(&[&socket_id, "::user::", &data]);
        let data = crate::proto::message::json_string(&data);
        let data = format!(r#"{{"auth":"key:{auth}","user_data":{data}}}"#);
        self.send(at, id, &format!(r#"{{"event":"pusher:signin","data":{data}}}"#));
        let data = format!(r##"{{"channel":"#server-to-user-{user}"}}"##);
        self.send(at, id, &format!(r#"{{"event":"pusher:subscribe","data":{data}}}"#));
        id
    }

    pub fn whisper(&mut self, at: usize, id: ConnId, channel: &str, data: u32) {
        let text = format!(r#"{{"event":"client-e","channel":"{channel}","data":{data}}}"#);
        self.send(at, id, &text);
    }

    pub fn close(&mut self, at: usize, id: ConnId) {
        self.nodes[at].hub.close(id, self.now);
    }

    pub fn output(&mut self, at: usize, id: ConnId) -> String {
        let (_, outbox) = self.nodes[at].hub.outbox(id).unwrap();
        String::from_utf8_lossy(&take(outbox)).into_owned()
    }

    pub fn counters(&self, at: usize) -> BusCounters {
        self.nodes[at].hub.bus_counters().unwrap().1
    }

    /// The state as a node sees it: the subscription count of each channel, and its users.
    pub fn view(&self, at: usize) -> Vec<(String, u64, Vec<String>)> {
        let channels = self.nodes[at].hub.pubsub.apps[0].channels.iter().map(|(_, it)| it);
        let channels = channels.filter(|channel| channel.kind.is_listed());
        let mut view: Vec<_> = channels
            .map(|channel| {
                let presence = channel.presence.as_deref();
                let ids = presence.into_iter().flat_map(|presence| presence.ids());
                let mut ids: Vec<String> = ids.map(str::to_owned).collect();
                ids.sort();
                (channel.name.to_string(), channel.subscriptions(), ids)
            })
            .collect();
        view.sort();
        view
    }
}

fn config() -> Config {
    let mut config = Config { apps: vec![Settings::new("1", "key", SECRET)], ..Config::default() };
    config.server.scaling.enabled = true;
    config.limits.node_lease_ms = 5_000;
    config.limits.client_events_per_second = 0;
    config.apps[0].client_events_on_public_channels = true;
    config
}

fn take(outbox: &mut Outbox) -> Vec<u8> {
    let mut slices = vec![IoSlice::new(&[]); 4_096];
    let filled = outbox.slices(&mut slices, usize::MAX);
    let bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
    outbox.consume(bytes.len());
    bytes
}

/// Parses the first command in these bytes.
fn command(bytes: &mut &[u8]) -> Vec<Vec<u8>> {
    let number = |bytes: &mut &[u8], sign| {
        assert_eq!(bytes[0], sign);
        let end = bytes.iter().position(|b| *b == b'\r').unwrap();
        let number: usize = std::str::from_utf8(&bytes[1..end]).unwrap().parse().unwrap();
        *bytes = &bytes[end + 2..];
        number
    };
    let count = number(bytes, b'*');
    let word = |_| {
        let len = number(bytes, b'$');
        let word = bytes[..len].to_vec();
        *bytes = &bytes[len + 2..];
        word
    };
    (0..count).map(word).collect()
}

const HANDSHAKE: &[u8] = b"GET /app/key HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Publishes an event by a node's API.
pub(super) fn publish(cluster: &mut Cluster, at: usize, channel: &str, data: &str) {
    publish_to(cluster, at, "1", channel, data);
}

/// Publishes an event to the app with this id, by a node's API.
pub(super) fn publish_to(cluster: &mut Cluster, at: usize, app: &str, channel: &str, data: &str) {
    let body = format!(r#"{{"name":"e","channel":"{channel}","data":"{data}"}}"#);
    post_to(cluster, at, app, &body);
}

/// Posts an event with this body.
pub(super) fn post(cluster: &mut Cluster, at: usize, body: &str) {
    post_to(cluster, at, "1", body);
}

fn post_to(cluster: &mut Cluster, at: usize, app: &str, body: &str) {
    let query = format!(
        "auth_key=key&auth_timestamp={}&auth_version=1.0&body_md5={}",
        cluster.now.unix_s,
        crate::proto::auth::md5_hex(body.as_bytes())
    );
    let signature = Signer::new(SECRET).sign(&["POST\n/apps/", app, "/events\n", &query]);
    let mut request = format!(
        "POST /apps/{app}/events?{query}&auth_signature={signature} HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes();
    let id = cluster.nodes[at].hub.open((), None, cluster.now);
    let now = cluster.now;
    cluster.nodes[at].hub.receive(id, &mut request, now);
    let answer = cluster.output(at, id);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
