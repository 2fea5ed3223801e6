//! The hub as a whole: clients, publishers, other nodes and time in any order. After each step its
//! data structures must agree with each other (`Hub::audit`), remote state included. Once all
//! connections are closed and all deadlines have passed, no channel, member or byte may be left.

use std::collections::BTreeMap;
use std::io::IoSlice;

#[cfg(feature = "redis")]
use super::bus::Bus;
use super::pieces::{cuts, pieces};
use super::script::{CHANNELS, Script, USERS};
use crate::config::{App, ClientEvents, Config, RateLimit, Url, Webhook, WebhookEvent};
use crate::hub::{ConnId, EndpointId, Hub, IoAction, Now, SocketId, WebhookOutcome};
use crate::proto::auth::{Signer, md5_hex};
use crate::proto::message::json_string;

/// A script of steps: each is a byte that selects the step, and further bytes for its details. A bit
/// of the first byte enables other nodes.
pub fn hub(data: &[u8]) {
    let (lengths, script) = cuts(data);
    let has_bus = data.first().is_some_and(|first| first & 8 != 0);
    let mut world = World::new(lengths, has_bus);
    let mut script = Script::new(script);
    while let Some(step) = script.byte() {
        world.step(step, &mut script);
        world.hub.audit().unwrap_or_else(|fault| panic!("{fault}"));
    }
    world.end();
}

const SECRET: &str = "secret";

#[derive(Clone, Copy)]
struct Client {
    id: ConnId,
    /// The socket id of an established WebSocket.
    socket_id: Option<SocketId>,
    app: usize,
}

struct World<'a> {
    hub: Hub<()>,
    now: Now,
    signer: Signer,
    clients: Vec<Client>,
    /// The bytes that clients have sent and the hub has not read.
    sockets: BTreeMap<ConnId, Vec<u8>>,
    /// The lengths of pieces that clients send.
    lengths: &'a [u8],
    has_bus: bool,
    /// The endpoints of webhooks with a request under way.
    under_way: Vec<EndpointId>,
    #[cfg(feature = "redis")]
    bus: Bus,
}

/// A configuration with limits so low that a script reaches them.
fn settings(has_bus: bool, is_cluster: bool) -> Config {
    let plain = App::new("1", "one", SECRET);
    let mut other = App::new("2", "two", SECRET);
    other.subscription_count = true;
    other.strict_channel_names = true;
    other.max_connections = Some(3);
    other.max_message_size = 400;
    other.accept_client_events_from = ClientEvents::All;
    let limit = RateLimit { max_attempts: 5, decay_seconds: 1, terminate_on_limit: true };
    other.rate_limit = Some(limit);
    other.limits.max_channels = Some(4);
    other.limits.max_presence_members = Some(2);
    other.limits.max_event_payload_bytes = Some(20);
    other.limits.max_client_events_per_second = Some(2);
    other.limits.max_backend_events_per_second = Some(5);
    other.limits.max_read_requests_per_second = Some(5);
    other.limits.authorization_timeout_s = Some(20);
    let mut config = Config { apps: vec![plain, other], ..Config::default() };
    for (at, url) in ["http://a/", "http://b/?c", "http://a/"].into_iter().enumerate() {
        let mut webhook = Webhook::new(Url::parse(url).expect("the URL is valid"));
        if at == 2 {
            webhook.channels = vec!["presence-*".into()];
        } else {
            let all = WebhookEvent::ALL.into_iter();
            webhook.events = all.fold(webhook.events, |events, event| events.with(event));
        }
        config.apps[at % 2].webhooks.push(webhook);
    }
    config.server.path = "/ws".into();
    (config.server.scaling.enabled, config.server.scaling.cluster) = (has_bus, is_cluster);
    config.server.max_request_size = 4_096;
    config.apps[0].client_events_on_public_channels = true;
    let limits = &mut config.limits;
    limits.work_per_turn = 1_024;
    limits.client_events_per_second = 3;
    limits.connections = 12;
    limits.outbox_bytes = 16_384;
    limits.channels_per_connection = 4;
    limits.presence_members = 3;
    limits.presence_bytes = 100;
    limits.cache_bytes = 1_000;
    limits.events_per_batch = 3;
    limits.webhook_queue_bytes = 2_000;
    limits.webhook_bytes = 3_000;
    limits.webhook_messages_per_second = 2;
    config
}

impl<'a> World<'a> {
    fn new(lengths: &'a [u8], has_bus: bool) -> Self {
        let now = Now { ms: 1_000, unix_s: 1_795_450_533 };
        // Redis is a cluster if the number of lengths is odd.
        let is_cluster = lengths.len() % 2 == 1;
        World {
            hub: Hub::new(&settings(has_bus, is_cluster), [0; 32], now),
            now,
            signer: Signer::new(SECRET),
            clients: Vec::new(),
            sockets: BTreeMap::new(),
            lengths,
            has_bus,
            under_way: Vec::new(),
            #[cfg(feature = "redis")]
            bus: Bus::new(is_cluster),
        }
    }

    fn step(&mut self, step: u8, script: &mut Script<'_>) {
        #[cfg(feature = "redis")]
        if self.has_bus && step >= 0xc0 {
            return self.bus.step(&mut self.hub, self.now, script, self.lengths);
        }
        if step.is_multiple_of(16) || self.clients.is_empty() {
            return self.connect(script);
        }
        let at = usize::from(script.byte().unwrap_or(0)) % self.clients.len();
        let client = self.clients[at];
        match step % 16 {
            1..=3 => self.subscribe(client, script),
            4 => {
                let channel = json_string(script.choose(&CHANNELS));
                let data = format!(r#"{{"channel":{channel}}}"#);
                self.send_text(
                    client,
                    &format!(r#"{{"event":"pusher:unsubscribe","data":{data}}}"#),
                );
            }
            5 => self.sign_in(client, script),
            6 => {
                let (channel, data) = (json_string(script.choose(&CHANNELS)), script.text());
                let data = json_string(&data);
                let event = r#""event":"client-e""#;
                self.send_text(
                    client,
                    &format!(r#"{{{event},"channel":{channel},"data":{data}}}"#),
                );
            }
            7 | 8 => self.publish(client, script),
            9 => self.ask(client, script),
            10 => self.send(client, script.bytes()),
            11 => {
                let (first, payload) = (script.byte().unwrap_or(0x89), script.bytes());
                self.send(client, &frame(first, payload));
            }
            12 => self.send_text(client, &script.text()),
            13 => self.disconnect(at, script),
            14 => self.advance(u64::from(script.byte().unwrap_or(0)) * 600),
            _ => self.write(script),
        }
    }

    /// Opens a connection, which becomes a WebSocket or stays HTTP.
    fn connect(&mut self, script: &mut Script<'_>) {
        let id = self.hub.open((), None, self.now);
        let kind = script.byte().unwrap_or(0);
        let app = usize::from(kind & 1);
        let mut client = Client { id, socket_id: None, app };
        if kind & 6 != 0 {
            let key = ["one", "two"][app];
            let request = format!(
                "GET /app/{key} HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            );
            self.send(client, request.as_bytes());
            let response = String::from_utf8_lossy(&self.take(id, usize::MAX)).into_owned();
            let socket_id = response.split(r#"socket_id\":\""#).nth(1);
            let socket_id = socket_id.and_then(|rest| rest.split('\\').next());
            client.socket_id = socket_id.and_then(SocketId::parse);
        }
        self.clients.push(client);
    }

    fn subscribe(&mut self, client: Client, script: &mut Script<'_>) {
        let channel = script.choose(&CHANNELS);
        let socket_id = client.socket_id.map_or(String::new(), |id| id.to_string());
        let key = ["one", "two"][client.app];
        let (auth, data) = match channel.starts_with("presence-") {
            true => {
                let user = json_string(script.choose(&USERS));
                let data = format!(r#"{{"user_id":{user},"user_info":{{"of":"{socket_id}"}}}}"#);
                (self.signer.sign(&[&socket_id, ":", channel, ":", &data]), json_string(&data))
            }
            false => (self.signer.sign(&[&socket_id, ":", channel]), "null".to_owned()),
        };
        let channel = json_string(channel);
        let data =
            format!(r#"{{"channel":{channel},"auth":"{key}:{auth}","channel_data":{data}}}"#);
        self.send_text(client, &format!(r#"{{"event":"pusher:subscribe","data":{data}}}"#));
    }

    fn sign_in(&mut self, client: Client, script: &mut Script<'_>) {
        let socket_id = client.socket_id.map_or(String::new(), |id| id.to_string());
        let id = json_string(script.choose(&USERS));
        let watched = [script.choose(&USERS), script.choose(&USERS)].map(json_string);
        let user = format!(r#"{{"id":{id},"watchlist":[{}]}}"#, watched.join(","));
        let auth = self.signer.sign(&[&socket_id, "::user::", &user]);
        let (key, user) = (["one", "two"][client.app], json_string(&user));
        let data = format!(r#"{{"auth":"{key}:{auth}","user_data":{user}}}"#);
        self.send_text(client, &format!(r#"{{"event":"pusher:signin","data":{data}}}"#));
    }

    fn publish(&mut self, client: Client, script: &mut Script<'_>) {
        let (kind, channel) = (script.byte().unwrap_or(0), script.choose(&CHANNELS));
        let (channel, data) = (json_string(channel), json_string(&script.text()));
        let except = self.clients[usize::from(kind >> 4) % self.clients.len()].socket_id;
        let except = except.map_or(String::new(), |id| format!(r#","socket_id":"{id}""#));
        let event = |field: &str| format!(r#"{{"name":"e",{field},"data":{data}{except}}}"#);
        let (verb, body) = match kind & 3 {
            0 => {
                let event = event(&format!(r#""channel":{channel}"#));
                ("batch_events", format!(r#"{{"batch":[{event},{event}]}}"#))
            }
            1 => ("events", event(&format!(r#""channels":[{channel},"a"],"info":"user_count""#))),
            2 => ("events", script.text()),
            _ => ("events", event(&format!(r#""channel":{channel}"#))),
        };
        self.request(client, "POST", verb, "", &body);
    }

    fn ask(&mut self, client: Client, script: &mut Script<'_>) {
        let asked = ["channels", "connections", "channels/a", "channels/presence-a/users"];
        match script.byte().unwrap_or(0) % 8 {
            4 => self.request(client, "POST", "users/1/terminate_connections", "", "{}"),
            5 => self.request(client, "HEAD", "channels/cache-c", "cache,subscription_count", ""),
            6 => self.request(client, "GET", "feed", "", ""),
            7 => {
                let other = self.clients[self.clients.len() / 2].socket_id;
                let other = other.map_or(String::new(), |id| id.to_string());
                let verb = format!("connections/{other}/terminate");
                self.request(client, "POST", &verb, "", "{}");
            }
            n => self.request(client, "GET", asked[usize::from(n) % 4], "user_count", ""),
        }
    }

    fn request(&mut self, client: Client, method: &str, verb: &str, info: &str, body: &str) {
        let path = format!("/apps/{}/{verb}", client.app + 1);
        let key = ["one", "two"][client.app];
        let md5 = if body.is_empty() { String::new() } else { md5_hex(body.as_bytes()) };
        let md5 = if body.is_empty() { md5 } else { format!("&body_md5={md5}") };
        let info = if info.is_empty() { String::new() } else { format!("&info={info}") };
        let time = self.now.unix_s;
        let query = format!("auth_key={key}&auth_timestamp={time}&auth_version=1.0{md5}{info}");
        let signature = self.signer.sign(&[method, "\n", &path, "\n", &query]);
        let len = body.len();
        let head = format!("{method} {path}?{query}&auth_signature={signature} HTTP/1.1");
        self.send(client, format!("{head}\r\nContent-Length: {len}\r\n\r\n{body}").as_bytes());
    }

    fn send_text(&mut self, client: Client, text: &str) {
        self.send(client, &frame(0x81, text.as_bytes()));
    }

    fn send(&mut self, client: Client, bytes: &[u8]) {
        for piece in pieces(self.lengths, bytes) {
            self.sockets.entry(client.id).or_default().extend_from_slice(piece);
            self.hub.ready(client.id);
            self.turn();
        }
        for _ in 0..TURNS_MAX {
            if self.hub.has_work() {
                self.turn();
            }
        }
    }

    /// Reads from the connections, as the event loop does in one turn.
    fn turn(&mut self) {
        self.hub.begin_turn();
        while let Some((id, bytes_max)) = self.hub.next_read(self.now) {
            let Some(waiting) = self.sockets.get_mut(&id) else { continue };
            let mut piece: Vec<u8> = waiting.drain(..waiting.len().min(bytes_max)).collect();
            let has_more = !waiting.is_empty();
            if !piece.is_empty() {
                self.hub.receive(id, &mut piece, self.now);
            }
            if has_more {
                self.hub.ready(id);
            }
        }
    }

    /// Disconnects a client in one of several ways, or stops the server.
    fn disconnect(&mut self, at: usize, script: &mut Script<'_>) {
        match script.byte().unwrap_or(0) % 8 {
            0..4 => self.hub.finished(self.clients[at].id, self.now),
            4 => self.hub.reject(self.clients[at].id, "Rejected.", self.now),
            5 if self.clients.len() > 6 => self.hub.drain(self.now),
            _ => self.close(self.clients[at].id),
        }
    }

    fn close(&mut self, id: ConnId) {
        self.clients.retain(|client| client.id != id);
        self.sockets.remove(&id);
        self.hub.close(id, self.now);
    }

    fn advance(&mut self, ms: u64) {
        let end_ms = self.now.ms + ms;
        while let Some(due_ms) = self.hub.next_tick_ms().filter(|due_ms| *due_ms <= end_ms) {
            let before = self.now.ms;
            self.now.ms = due_ms.max(before + 1);
            self.hub.tick(self.now);
            #[cfg(feature = "redis")]
            self.bus.turn(&mut self.hub, self.now);
        }
        self.now = Now { ms: self.now.ms.max(end_ms), unix_s: self.now.unix_s + ms / 1_000 };
        self.hub.tick(self.now);
    }

    /// Writes to the connections with output, as the event loop does, and closes those that ask for it.
    fn write(&mut self, script: &mut Script<'_>) {
        let bytes_max = [usize::MAX, 1, 100][usize::from(script.byte().unwrap_or(0)) % 3];
        self.clients.iter().for_each(|client| self.hub.touch(client.id));
        while let Some(id) = self.hub.next_dirty(self.now) {
            self.take(id, bytes_max);
            let is_blocked = self.hub.outbox(id).is_some_and(|(_, outbox)| !outbox.is_empty());
            self.hub.written(id, is_blocked, self.now);
            if self.hub.next_action(id) == IoAction::Drop {
                self.close(id);
            }
        }
        self.turn();
        self.exchange_webhooks(script.byte().unwrap_or(0));
    }

    /// Ends the requests under way, and begins others. The number selects the outcomes.
    fn exchange_webhooks(&mut self, outcomes: u8) {
        for (n, endpoint) in std::mem::take(&mut self.under_way).into_iter().enumerate() {
            let outcome = match outcomes >> (2 * (n % 4)) & 3 {
                0 | 1 => WebhookOutcome::Status(200),
                2 => WebhookOutcome::Status(500),
                _ => WebhookOutcome::Failed("the connection was closed".into()),
            };
            self.hub.webhook_done(endpoint, outcome, self.now);
        }
        while let Some(request) = self.hub.next_webhook(self.now) {
            assert!(!self.under_way.contains(&request.endpoint));
            self.under_way.push(request.endpoint);
        }
    }

    /// Removes up to `bytes_max` bytes from the outbox of a connection.
    fn take(&mut self, id: ConnId, bytes_max: usize) -> Vec<u8> {
        let Some((_, outbox)) = self.hub.outbox(id) else { return Vec::new() };
        let mut slices = [IoSlice::new(&[]); 64];
        let filled = outbox.slices(&mut slices, bytes_max);
        let mut bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
        bytes.truncate(bytes_max);
        outbox.consume(bytes.len());
        bytes
    }

    /// Closes all connections and lets all deadlines pass.
    fn end(mut self) {
        #[cfg(feature = "redis")]
        if self.has_bus {
            self.bus.is_up = false;
            self.hub.bus_lost("connection reset", self.now);
        }
        for client in std::mem::take(&mut self.clients) {
            self.hub.close(client.id, self.now);
        }
        while self.hub.next_dirty(self.now).is_some() {}
        self.sockets.clear();
        self.turn();
        assert_eq!(self.hub.connections(), 0);
        // The longest deadline is that of a cached event.
        self.advance(u64::from(settings(self.has_bus, false).limits.cache_ttl_s) * 1_000 + 1);
        // A server that stops keeps what it would report as gone.
        self.hub.stop_draining(self.now);
        for _ in 0..40 {
            self.advance(30_000);
            self.exchange_webhooks(0);
        }
        assert_eq!(self.hub.audit(), Ok(()));
        assert_eq!(self.hub.remains(), None);
    }
}

/// Enough turns for any input of a client, unless the hub waits for the client to read.
const TURNS_MAX: usize = 50;

/// A client frame with a mask of zeroes.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = match payload.len() {
        len @ 0..126 => vec![first, 0x80 | len as u8],
        len => vec![first, 0x80 | 126, (len >> 8) as u8, len as u8],
    };
    bytes.extend([0; 4]);
    bytes.extend_from_slice(payload);
    bytes
}
