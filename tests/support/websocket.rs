//! A minimal WebSocket client, which can also send invalid frames and messages.

use super::http::read;
use super::{APP, Http, Response, Server, assert_same, channel_auth};
use serde_json::{Value, json};
use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};

/// The headers of a handshake, after the request line and `Host`.
pub const HANDSHAKE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

/// A frame from the server, or the end of the connection.
#[derive(Debug, Clone, PartialEq)]
pub enum Got {
    Text(String),
    /// A text message that was compressed.
    Deflated(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// A close frame: its code, if any, and its reason.
    Close(Option<u16>, String),
    /// The end of the TCP connection.
    End,
}

/// A client of the server.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The id from `connection_established`.
    pub socket_id: String,
}

impl Client {
    /// Connects to [`APP`] and receives `connection_established`.
    #[track_caller]
    pub fn connect(server: &Server) -> Self {
        Client::connect_to(server, "/app/app-key?protocol=7&client=js&version=8.4.0&flash=false")
    }

    /// Connects to another target and receives `connection_established`.
    #[track_caller]
    pub fn connect_to(server: &Server, target: &str) -> Self {
        let mut client = Client::open(server, target, "");
        let event = client.event();
        assert_eq!(event["event"], "pusher:connection_established");
        let data: Value = serde_json::from_str(event["data"].as_str().unwrap()).unwrap();
        client.socket_id = data["socket_id"].as_str().unwrap().to_owned();
        client
    }

    /// A handshake with these further header lines, and nothing more.
    #[track_caller]
    pub fn open(server: &Server, target: &str, headers: &str) -> Self {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{HANDSHAKE}{headers}\r\n");
        let (response, client) = Client::handshake(server, request.as_bytes());
        assert_eq!(response.status, 101, "{response:?}");
        client
    }

    /// Sends these bytes as a handshake, which may fail, and returns the response.
    #[track_caller]
    pub fn handshake(server: &Server, request: &[u8]) -> (Response, Self) {
        let mut http = Http::connect(server);
        http.send(request);
        let response = http.head();
        let (stream, buffer) = http.into_parts();
        (response, Client { stream, buffer, socket_id: String::new() })
    }

    pub fn send(&mut self, message: Value) {
        self.text(&message.to_string());
    }

    pub fn text(&mut self, text: &str) {
        self.frame(0x81, text.as_bytes());
    }

    /// A masked frame; the first byte holds FIN, RSV and the opcode.
    pub fn frame(&mut self, first: u8, payload: &[u8]) {
        self.raw(&frame(first, payload));
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends bytes that the server may stop reading; false if it did.
    pub fn try_raw(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends as much as the socket accepts now, and returns the number of bytes.
    pub fn send_some(&mut self, bytes: &[u8]) -> usize {
        self.stream.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while let Ok(length @ 1..) = self.stream.write(&bytes[sent..]) {
            sent += length;
        }
        self.stream.set_nonblocking(false).unwrap();
        sent
    }

    /// Shuts down the sending half of the TCP connection, without a close frame.
    pub fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Disconnects with a reset: a socket that is closed with unread bytes sends one.
    pub fn reset(mut self) {
        self.ping();
        self.stream.peek(&mut [0]).unwrap();
    }

    pub fn ping(&mut self) {
        self.send(json!({"event": "pusher:ping", "data": {}}));
    }

    /// Subscribes to a public channel and receives the response.
    #[track_caller]
    pub fn subscribe(&mut self, channel: &str) {
        self.send(json!({"event": "pusher:subscribe", "data": {"channel": channel}}));
        self.subscribed(channel);
    }

    /// Subscribes to a private channel of [`APP`] and receives the response.
    #[track_caller]
    pub fn subscribe_private(&mut self, channel: &str) {
        let auth = channel_auth(&APP, &self.socket_id, channel, "");
        self.send(json!({"event": "pusher:subscribe", "data": {"channel": channel, "auth": auth}}));
        self.subscribed(channel);
    }

    #[track_caller]
    pub fn subscribed(&mut self, channel: &str) {
        let event = "pusher_internal:subscription_succeeded";
        self.expect(json!({"event": event, "channel": channel, "data": "{}"}));
    }

    /// Requests a presence channel of [`APP`] with this `channel_data`.
    pub fn ask_to_join(&mut self, channel: &str, data: &str) {
        let auth = channel_auth(&APP, &self.socket_id, channel, data);
        let data = json!({"channel": channel, "auth": auth, "channel_data": data});
        self.send(json!({"event": "pusher:subscribe", "data": data}));
    }

    /// Joins a presence channel as this user with `{"name": user}`; returns the members.
    #[track_caller]
    pub fn join(&mut self, channel: &str, user: &str) -> Value {
        let data = json!({"user_id": user, "user_info": {"name": user}});
        self.ask_to_join(channel, &data.to_string());
        self.joined(channel)
    }

    /// Receives the response to a presence subscription; returns the members.
    #[track_caller]
    pub fn joined(&mut self, channel: &str) -> Value {
        let event = self.event();
        assert_eq!(event["event"], "pusher_internal:subscription_succeeded", "{event}");
        assert_eq!(event["channel"], channel);
        let data: Value = serde_json::from_str(event["data"].as_str().unwrap()).unwrap();
        data["presence"].clone()
    }

    pub fn unsubscribe(&mut self, channel: &str) {
        self.send(json!({"event": "pusher:unsubscribe", "data": {"channel": channel}}));
    }

    /// The next text message.
    #[track_caller]
    pub fn event(&mut self) -> Value {
        match self.receive() {
            Got::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("expected a message, received {other:?}"),
        }
    }

    /// Fails unless the next message means the same as this one.
    #[track_caller]
    pub fn expect(&mut self, message: Value) {
        let event = self.event();
        assert_same(&event, &message);
    }

    /// Fails unless the next message is `pusher:error` with this code and text.
    #[track_caller]
    pub fn error(&mut self, code: u16, message: &str) {
        let data = json!({"code": code, "message": message});
        self.expect(json!({"event": "pusher:error", "data": data}));
    }

    /// Fails unless the next two messages reject a subscription.
    #[track_caller]
    pub fn refused(&mut self, channel: &str) {
        self.error(4009, "Connection is unauthorized");
        let error = "The connection is unauthorized.";
        let data = json!({"type": "AuthError", "error": error, "status": 401});
        let event = "pusher:subscription_error";
        self.expect(json!({"event": event, "channel": channel, "data": data}));
    }

    /// Fails if any message has arrived: everything in transit arrives before this pong.
    #[track_caller]
    pub fn nothing(&mut self) {
        self.ping();
        self.expect(json!({"event": "pusher:pong"}));
    }

    /// Fails unless the server closes with this code; answers as a client should.
    #[track_caller]
    pub fn closed(&mut self, code: u16) {
        match self.receive() {
            Got::Close(Some(got), reason) => {
                assert_eq!(got, code, "{reason}");
                let _ = self.stream.write_all(&frame(0x88, &code.to_be_bytes()));
            }
            other => panic!("expected close {code}, received {other:?}"),
        }
        self.ended();
    }

    /// Fails unless the connection ends here.
    #[track_caller]
    pub fn ended(&mut self) {
        assert_eq!(self.receive(), Got::End);
    }

    /// The next frame.
    #[track_caller]
    pub fn receive(&mut self) -> Got {
        loop {
            if let Some((first, start, end)) = self.whole_frame() {
                let payload: Vec<u8> = self.buffer.drain(..end).skip(start).collect();
                if first == 0xC1 {
                    return Got::Deflated(inflate(&payload));
                }
                assert_eq!(first & 0xF0, 0x80, "the server's frames are whole and without RSV");
                return match first & 0x0F {
                    0x1 => Got::Text(String::from_utf8(payload).unwrap()),
                    0x2 => Got::Binary(payload),
                    0x8 if payload.is_empty() => Got::Close(None, String::new()),
                    0x8 => {
                        let code = u16::from_be_bytes([payload[0], payload[1]]);
                        Got::Close(Some(code), String::from_utf8(payload[2..].to_vec()).unwrap())
                    }
                    0x9 => Got::Ping(payload),
                    0xA => Got::Pong(payload),
                    opcode => panic!("opcode {opcode}"),
                };
            }
            let mut chunk = [0; 65536];
            match read(&mut self.stream, &mut chunk) {
                Ok(0) if self.buffer.is_empty() => return Got::End,
                Ok(0) => panic!("the connection ended inside a frame: {:?}", self.buffer),
                Ok(length) => self.buffer.extend_from_slice(&chunk[..length]),
                Err(error) => panic!("no frame: {error}"),
            }
        }
    }

    /// Discards everything received until the connection ends, also by a reset.
    pub fn drain(&mut self) {
        let mut chunk = [0; 65536];
        loop {
            match read(&mut self.stream, &mut chunk) {
                Ok(1..) => {}
                Ok(0) => return,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
                Err(error) => panic!("the connection does not end: {error}"),
            }
        }
    }

    /// The first byte of the next whole frame, and where its payload starts and ends.
    fn whole_frame(&self) -> Option<(u8, usize, usize)> {
        let buffer = &self.buffer;
        let (first, second) = (*buffer.first()?, *buffer.get(1)?);
        assert_eq!(second & 0x80, 0, "a server does not mask");
        let (start, length) = match second {
            126 => (4, u64::from(u16::from_be_bytes(buffer.get(2..4)?.try_into().unwrap()))),
            127 => (10, u64::from_be_bytes(buffer.get(2..10)?.try_into().unwrap())),
            short => (2, u64::from(short)),
        };
        let shortest = match length {
            0..=125 => 2,
            126..=65535 => 4,
            _ => 10,
        };
        assert_eq!(start, shortest, "the length takes the fewest bytes");
        let end = start + usize::try_from(length).unwrap();
        (buffer.len() >= end).then_some((first, start, end))
    }
}

/// The text of a compressed message, which contains no reference to an earlier one.
fn inflate(payload: &[u8]) -> String {
    let compressed = [payload, &[0, 0, 0xFF, 0xFF]].concat();
    let mut text = Vec::with_capacity(1 << 20);
    let status = flate2::Decompress::new(false).decompress_vec(
        &compressed,
        &mut text,
        flate2::FlushDecompress::Sync,
    );
    status.unwrap();
    String::from_utf8(text).unwrap()
}

/// The compressed payload of a message.
#[cfg(feature = "deflate")]
pub fn deflated(text: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(1 << 16);
    let mut compress = flate2::Compress::new(flate2::Compression::new(6), false);
    compress.compress_vec(text, &mut payload, flate2::FlushCompress::Sync).unwrap();
    assert_eq!(payload.split_off(payload.len() - 4), [0, 0, 0xFF, 0xFF]);
    payload
}

/// The bytes of a masked frame.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=65535 => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}
