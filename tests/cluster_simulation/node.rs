//! A node in the simulation: a hub without sockets, and the messages of its clients.

use std::collections::BTreeSet;

use reverb::config::Config;
use reverb::hub::{ConnId, Hub, Now};
use reverb::proto::auth::{Signer, md5_hex};
use serde_json::Value;

use super::SECRET;
use crate::simulation::{messages, take};

pub struct Node {
    pub hub: Hub<()>,
    /// A number that no other node ever had.
    pub number: usize,
    pub started_ms: u64,
    /// The nodes that this one has known while there were no faults.
    pub met: BTreeSet<usize>,
}

impl Node {
    pub fn new(config: &Config, number: usize, seed: u64, now: Now) -> Self {
        let mut bytes = [number as u8; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Node { hub: Hub::new(config, bytes, now), number, started_ms: now.ms, met: BTreeSet::new() }
    }

    /// A connection that has become a WebSocket, and its socket id.
    pub fn connect(&mut self, now: Now) -> (ConnId, String) {
        let id = self.hub.open((), None, now);
        let request = "GET /app/key HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                       Sec-WebSocket-Version: 13\r\n\r\n";
        self.hub.receive(id, &mut request.as_bytes().to_vec(), now);
        let bytes = take(&mut self.hub, id);
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let established = &messages(&bytes[end..])[0];
        let socket_id = established["data"]["socket_id"].as_str().unwrap().to_owned();
        (id, socket_id)
    }

    /// Receives a message of a client.
    pub fn receive(&mut self, id: ConnId, message: &Value, now: Now) {
        let text = message.to_string();
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend((text.len() as u16).to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.hub.receive(id, &mut frame, now);
    }

    /// The messages that the hub has sent to a client since the last call.
    pub fn take_messages(&mut self, id: ConnId, now: Now) -> Vec<Value> {
        while self.hub.next_dirty(now).is_some() {}
        if self.hub.outbox(id).unwrap().1.is_empty() {
            return Vec::new();
        }
        messages(&take(&mut self.hub, id))
    }

    /// The response of the API to a request on a new connection.
    pub fn request(&mut self, method: &str, path: &str, info: &str, body: &str, now: Now) -> Value {
        let mut query = format!("auth_key=key&auth_timestamp={}&auth_version=1.0", now.unix_s);
        if !body.is_empty() {
            query += &format!("&body_md5={}", md5_hex(body.as_bytes()));
        }
        query += info;
        let signature = Signer::new(SECRET).sign(&[method, "\n", path, "\n", &query]);
        let request = format!(
            "{method} {path}?{query}&auth_signature={signature} HTTP/1.1\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let id = self.hub.open((), None, now);
        self.hub.receive(id, &mut request.into_bytes(), now);
        let answer = String::from_utf8(take(&mut self.hub, id)).unwrap();
        self.hub.close(id, now);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        // 404 is the response for the users of a channel without members.
        let is_known = head.starts_with("HTTP/1.1 200 ") || head.starts_with("HTTP/1.1 404 ");
        assert!(is_known, "{answer}");
        serde_json::from_str(body).unwrap()
    }

    pub fn get(&mut self, path: &str, now: Now) -> Value {
        self.request("GET", path, "", "", now)
    }

    /// The users of a presence channel, sorted.
    pub fn users(&mut self, channel: &str, now: Now) -> BTreeSet<String> {
        let answer = self.get(&format!("/apps/1/channels/{channel}/users"), now);
        let users = answer["users"].as_array();
        users.into_iter().flatten().map(|user| user["id"].as_str().unwrap().to_owned()).collect()
    }
}
