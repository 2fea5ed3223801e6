//! A hub without sockets with clients and publishers, for tests and benchmarks that count
//! allocations and instructions. The protocol is tested elsewhere.

#![allow(dead_code, reason = "each test and benchmark uses a part of it")]

use std::net::IpAddr;

use reverb::config::{App, Config, Limits};
use reverb::hub::{ConnId, Hub, IoAction, Now};
use reverb::proto::auth::{Signer, md5_hex};

/// A hub with one app. Each connection has 16 bytes of user data, as in the event loop.
pub struct World {
    pub hub: Hub<[u64; 2]>,
    pub now: Now,
}

/// The initial time.
pub const NOW: Now = Now { ms: 1_000, unix_s: 1_795_450_533 };
const UPGRADE: &[u8] = b"GET /app/key HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

impl World {
    pub fn new() -> Self {
        World::with(|_| {})
    }

    /// A world with other limits.
    pub fn with(set: impl FnOnce(&mut Limits)) -> Self {
        let mut app = App::new("1", "key", "secret");
        app.client_events_on_public_channels = true;
        let mut config = Config { apps: vec![app], ..Config::default() };
        // Time does not pass by itself here, so the second to which the limit applies would never
        // end.
        config.limits.client_events_per_second = 0;
        set(&mut config.limits);
        World { hub: Hub::new(&config, [7; 32], NOW), now: NOW }
    }

    pub fn open(&mut self) -> ConnId {
        self.hub.open([0; 2], None, self.now)
    }

    /// A connection from this address after a WebSocket handshake.
    pub fn open_from(&mut self, address: IpAddr) -> ConnId {
        let id = self.hub.open([0; 2], Some(address), self.now);
        self.hub.receive(id, &mut UPGRADE.to_vec(), self.now);
        id
    }

    /// A WebSocket connection, subscribed to a public channel.
    pub fn subscriber(&mut self, channel: &str) -> ConnId {
        let id = self.open();
        self.handle(id, &mut UPGRADE.to_vec());
        let text = format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}"}}}}"#);
        self.handle(id, &mut frame(&text));
        id
    }

    /// A member of a presence channel, after the others have received `member_added`.
    pub fn member(&mut self, user: usize) -> ConnId {
        let id = self.open();
        self.hub.receive(id, &mut UPGRADE.to_vec(), self.now);
        let socket_id = self.socket_id(id);
        self.write();
        let data = format!(r#"{{"user_id":"{user:05}"}}"#);
        let signed = format!("{socket_id}:presence-c:{data}");
        let auth = Signer::new("secret").sign(&[&signed]);
        let data = data.replace('"', "\\\"");
        let data =
            format!(r#"{{"channel":"presence-c","auth":"key:{auth}","channel_data":"{data}"}}"#);
        let text = format!(r#"{{"event":"pusher:subscribe","data":{data}}}"#);
        self.handle(id, &mut frame(&text));
        id
    }

    fn socket_id(&mut self, id: ConnId) -> String {
        let waiting = self.waiting(id);
        let start = waiting.find("socket_id").expect("the server accepts the client") + 14;
        waiting[start..].split('\\').next().unwrap().to_owned()
    }

    pub fn waiting(&mut self, id: ConnId) -> String {
        let (_, outbox) = self.hub.outbox(id).unwrap();
        let mut slices = [std::io::IoSlice::new(&[]); 64];
        let filled = outbox.slices(&mut slices, usize::MAX);
        let bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Passes bytes to the hub and writes the outboxes; returns the number of connections written.
    pub fn handle(&mut self, id: ConnId, bytes: &mut [u8]) -> usize {
        self.hub.receive(id, bytes, self.now);
        self.write()
    }

    /// Writes all outboxes as the loop does; returns how many connections were written to.
    pub fn write(&mut self) -> usize {
        let mut written = 0;
        loop {
            while let Some(id) = self.hub.next_dirty(self.now) {
                let (_, outbox) = self.hub.outbox(id).unwrap();
                written += usize::from(!outbox.is_empty());
                let bytes = outbox.bytes();
                outbox.consume(bytes);
                self.hub.written(id, false, self.now);
                if self.hub.next_action(id) == IoAction::Drop {
                    self.hub.close(id, self.now);
                }
            }
            // Handles input that was held until its client had read.
            while self.hub.next_read(self.now).is_some() {}
            if !self.hub.has_dirty() {
                return written;
            }
        }
    }

    /// Lets this time pass, and every deadline in it expire.
    pub fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now.ms += 1_000;
            self.now.unix_s += 1;
            self.hub.tick(self.now);
            self.write();
        }
    }
}

/// A text frame as a client sends it, under a mask of zeroes.
pub fn frame(text: &str) -> Vec<u8> {
    let len = text.len();
    let mut bytes = match len {
        0..126 => vec![0x81, 0x80 | len as u8],
        _ => vec![0x81, 0x80 | 126, (len >> 8) as u8, len as u8],
    };
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// A signed request as the official libraries send it.
pub fn request(method: &str, path: &str, body: &str) -> Vec<u8> {
    let (now, hash) = (NOW.unix_s, md5_hex(body.as_bytes()));
    let hash = if body.is_empty() { String::new() } else { format!("&body_md5={hash}") };
    let query = format!("auth_key=key&auth_timestamp={now}&auth_version=1.0{hash}");
    let signature = Signer::new("secret").sign(&[method, "\n", path, "\n", &query]);
    let head = format!(
        "{method} {path}?{query}&auth_signature={signature} HTTP/1.1\r\nHost: x\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

/// A signed batch of equal events.
pub fn batch_request(channel: &str, events: usize, size: usize) -> Vec<u8> {
    let data = format!(r#"{{\"text\":\"{}\"}}"#, "x".repeat(size));
    let event = format!(r#"{{"name":"App\\Events\\E","channel":"{channel}","data":"{data}"}}"#);
    request(
        "POST",
        "/apps/1/batch_events",
        &format!(r#"{{"batch":[{}]}}"#, vec![event; events].join(",")),
    )
}

/// A signed publish of an event as Laravel sends it: its data is JSON inside a string.
pub fn publish_request(channel: &str, size: usize) -> Vec<u8> {
    let data = format!(r#"{{\"text\":\"{}\"}}"#, "x".repeat(size));
    let body = format!(r#"{{"name":"App\\Events\\E","channels":["{channel}"],"data":"{data}"}}"#);
    request("POST", "/apps/1/events", &body)
}
