//! One WebSocket client: completes the handshake, subscribes, and compares the number of every
//! event with the expected one. It answers pings, and masks with zeroes, which is valid.

use std::io::{ErrorKind, Read, Write};
use std::time::Instant;

use mio::net::TcpStream;
use reverb::proto::websocket::Inflater;

use crate::event;
use crate::lane::find;
use crate::process::APP_KEY;

/// The state of a client.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Phase {
    Closed,
    /// Waits for the 101.
    Upgrading,
    /// Waits for `pusher:connection_established`.
    Greeting,
    Subscribing,
    Ready,
}

/// A client. It records results in a [`CounterVec`].
pub struct Client {
    pub stream: Option<TcpStream>,
    pub phase: Phase,
    /// The index of its channel, if it has one.
    pub channel: Option<usize>,
    /// The number of the next expected event.
    pub next: u64,
    /// Whether the client does not read.
    pub deaf: bool,
    /// From `pusher:connection_established`.
    pub socket_id: String,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
}

/// The results of all clients.
pub struct CounterVec {
    clock: Instant,
    /// Events published so far, by channel.
    pub published: Vec<u64>,
    pub received: u64,
    /// Bytes that the sockets of all clients have received.
    pub bytes: u64,
    /// The last compressed payload, and the number of its event: it is the same for all clients.
    compressed: (Vec<u8>, Option<u64>),
    /// Clients that are connected and subscribed.
    pub ready: usize,
    /// Clients that the server rejected or disconnected.
    pub refused: u64,
    pub missing: u64,
    /// Events that arrived twice, or after a later one.
    pub late: u64,
    /// Responses to [`Client::ping`].
    pub pongs: u64,
    /// When the events of the first channel were published, if latencies are measured.
    pub sent_ns: Vec<u64>,
    /// The latency of each of them, in nanoseconds.
    pub latencies: Vec<u64>,
    /// When the bytes that are being parsed were read.
    read_ns: u64,
}

impl CounterVec {
    pub fn new(channels: usize) -> Self {
        CounterVec {
            clock: Instant::now(),
            published: vec![0; channels],
            received: 0,
            bytes: 0,
            compressed: (Vec::new(), None),
            ready: 0,
            refused: 0,
            missing: 0,
            late: 0,
            pongs: 0,
            sent_ns: Vec::new(),
            latencies: Vec::new(),
            read_ns: 0,
        }
    }

    pub fn now_ns(&self) -> u64 {
        self.clock.elapsed().as_nanos() as u64
    }
}

impl Client {
    pub fn new(channel: Option<usize>) -> Self {
        Client {
            stream: None,
            phase: Phase::Closed,
            channel,
            next: 0,
            deaf: false,
            socket_id: String::new(),
            incoming: Vec::new(),
            outgoing: Vec::new(),
        }
    }

    /// Starts on a new connection.
    pub fn begin(&mut self, stream: TcpStream, offers_deflate: bool) {
        self.stream = Some(stream);
        self.incoming = Vec::new();
        self.outgoing = upgrade(offers_deflate);
        self.phase = Phase::Upgrading;
        self.flush();
    }

    /// Sends a close frame and closes, as a browser does when it leaves a page.
    pub fn hang_up(&mut self, tally: &mut CounterVec) {
        if self.phase == Phase::Ready {
            tally.ready -= 1;
            self.send(CLOSE, &1000_u16.to_be_bytes());
        }
        self.phase = Phase::Closed;
        self.stream = None;
    }

    pub fn flush(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        while !self.outgoing.is_empty() {
            match stream.write(&self.outgoing) {
                Ok(written) => drop(self.outgoing.drain(..written)),
                Err(_) => return,
            }
        }
        self.outgoing = Vec::new();
    }

    /// Reads available bytes; all of them if the server has closed.
    pub fn receive(&mut self, buffer: &mut [u8], to_the_end: bool, tally: &mut CounterVec) {
        while let Some(stream) = &mut self.stream
            && !self.deaf
        {
            match stream.read(buffer) {
                Ok(len @ 1..) => {
                    tally.bytes += len as u64;
                    if !tally.sent_ns.is_empty() {
                        tally.read_ns = tally.now_ns();
                    }
                    self.take(&buffer[..len], tally);
                    if len < buffer.len() && !to_the_end {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => return self.lost(tally),
            }
        }
    }

    /// The server has closed the connection unexpectedly.
    fn lost(&mut self, tally: &mut CounterVec) {
        tally.ready -= usize::from(self.phase == Phase::Ready);
        tally.refused += u64::from(self.phase != Phase::Closed);
        self.phase = Phase::Closed;
        self.stream = None;
    }

    fn take(&mut self, bytes: &[u8], tally: &mut CounterVec) {
        if self.incoming.is_empty() {
            let used = self.digest(bytes, tally);
            if used < bytes.len() {
                self.incoming = bytes[used..].to_vec();
            }
            return;
        }
        let mut held = std::mem::take(&mut self.incoming);
        held.extend_from_slice(bytes);
        let used = self.digest(&held, tally);
        self.incoming = held[used..].to_vec();
    }

    /// Parses complete frames at the front, and returns their length.
    fn digest(&mut self, bytes: &[u8], tally: &mut CounterVec) -> usize {
        let mut at = 0;
        if self.phase == Phase::Upgrading {
            let Some(head) = find(bytes, b"\r\n\r\n") else { return 0 };
            if !bytes.starts_with(b"HTTP/1.1 101 ") {
                self.lost(tally);
                return bytes.len();
            }
            self.phase = Phase::Greeting;
            at = head + 4;
        }
        while let Some((opcode, start, end)) = frame(&bytes[at..]) {
            let payload = &bytes[at + start..at + end];
            match opcode {
                TEXT if bytes[at] & RSV1 != 0 => self.compressed(payload, tally),
                TEXT => self.text(payload, tally),
                PING => self.send(PONG, payload),
                CLOSE => self.lost(tally),
                _ => {}
            }
            at += end;
        }
        at
    }

    fn compressed(&mut self, payload: &[u8], tally: &mut CounterVec) {
        if tally.compressed.0 != payload {
            let message = Inflater::default().inflate(payload, 1 << 20);
            let number = message.ok().and_then(|message| event::number(&message));
            tally.compressed = (payload.to_vec(), number);
        }
        match tally.compressed.1 {
            Some(number) => self.book(number, tally),
            None => self.lost(tally),
        }
    }

    fn text(&mut self, payload: &[u8], tally: &mut CounterVec) {
        if let Some(number) = event::number(payload) {
            return self.book(number, tally);
        }
        let has = |name: &str| find(payload, name.as_bytes()).is_some();
        if self.phase == Phase::Greeting {
            self.socket_id = socket_id(payload);
        }
        match (self.phase, self.channel) {
            (Phase::Greeting, None) if has("connection_established") => {
                self.phase = Phase::Ready;
                tally.ready += 1;
            }
            (Phase::Greeting, Some(channel)) if has("connection_established") => {
                let channel = event::channel(channel);
                let text = r#"{"event":"pusher:subscribe","data":{"channel":"CHANNEL"}}"#;
                self.send(TEXT, text.replace("CHANNEL", &channel).as_bytes());
                self.phase = Phase::Subscribing;
            }
            (Phase::Subscribing, Some(channel)) if has("subscription_succeeded") => {
                self.phase = Phase::Ready;
                self.next = tally.published[channel];
                tally.ready += 1;
            }
            (Phase::Ready, _) if has("pusher:pong") => tally.pongs += 1,
            _ => self.lost(tally),
        }
    }

    /// Sends a `pusher:ping`, which the server answers.
    pub fn ping(&mut self) {
        self.send(TEXT, br#"{"event":"pusher:ping","data":{}}"#);
    }

    /// Sends a message of at most 65,535 bytes.
    pub fn message(&mut self, text: &str) {
        self.send(TEXT, text.as_bytes());
    }

    fn book(&mut self, number: u64, tally: &mut CounterVec) {
        tally.received += 1;
        if number < self.next {
            tally.late += 1;
            return;
        }
        tally.missing += number - self.next;
        self.next = number + 1;
        if let Some(sent_ns) = tally.sent_ns.get(number as usize) {
            tally.latencies.push(tally.read_ns - sent_ns);
        }
    }

    fn send(&mut self, opcode: u8, payload: &[u8]) {
        let len = payload.len() as u16;
        self.outgoing.extend_from_slice(&[0x80 | opcode, 0x80 | len.min(126) as u8]);
        if len >= 126 {
            self.outgoing.extend_from_slice(&len.to_be_bytes());
        }
        self.outgoing.extend_from_slice(&[0; 4]);
        self.outgoing.extend_from_slice(payload);
        self.flush();
    }
}

/// The socket id in `pusher:connection_established`, two numbers with a dot between them; empty in
/// any other message.
fn socket_id(payload: &[u8]) -> String {
    let name = b"socket_id\\\":\\\"";
    let start = find(payload, name).map_or(payload.len(), |at| at + name.len());
    let digits = payload[start..].iter().take_while(|b| b.is_ascii_digit() || **b == b'.');
    digits.map(|byte| char::from(*byte)).collect()
}

/// The handshake request.
pub fn upgrade(offers_deflate: bool) -> Vec<u8> {
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
    let end = if offers_deflate { offer } else { "\r\n" };
    (UPGRADE.replace("KEY", APP_KEY) + end).into_bytes()
}

/// The opcode of the frame at the front, and the range of its payload, once it is complete.
fn frame(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (opcode, start, len) = header(bytes)?;
    (bytes.len() >= start + len).then_some((opcode, start, start + len))
}

/// The opcode of the frame at the front, and the offset and length of its payload.
pub fn header(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (start, len) = match *bytes {
        [_, 127, a, b, c, d, e, f, g, h, ..] => {
            (10, u64::from_be_bytes([a, b, c, d, e, f, g, h]) as usize)
        }
        [_, 126, a, b, ..] => (4, usize::from(u16::from_be_bytes([a, b]))),
        [_, len @ ..126, ..] => (2, usize::from(len)),
        _ => return None,
    };
    Some((bytes[0] & 15, start, len))
}

/// In the first byte of a frame: the message is compressed.
const RSV1: u8 = 0x40;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
pub const PING: u8 = 9;
const PONG: u8 = 10;
/// Similar to the request of a browser.
const UPGRADE: &str = "GET /app/KEY?protocol=7&client=js&version=8.4.0&flash=false HTTP/1.1\r\n\
    Host: 127.0.0.1:8080\r\nConnection: Upgrade\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/142.0.0.0\r\n\
    Upgrade: websocket\r\nOrigin: http://127.0.0.1\r\nSec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en-US,en;q=0.9\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
