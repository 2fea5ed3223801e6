//! Many sockets around one poller on one thread: WebSockets, which send given frames and count their
//! subscriptions, and HTTP connections, which ignore the answers. A deaf socket never reads.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::Range;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::client::{self, PING};
use crate::lane::find;
use crate::process::Process;
use crate::swarm::Fault;
use crate::sys;
use crate::world::frame;

pub struct Crowd {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    target: SocketAddrV4,
    sockets: Vec<Socket>,
}

struct Socket {
    /// `None` once either side has closed it.
    stream: Option<TcpStream>,
    is_attacker: bool,
    deaf: bool,
    state: State,
    /// Empty until `pusher:connection_established`.
    socket_id: String,
    subscribed: usize,
    outgoing: Vec<u8>,
    /// The front of a frame that has not arrived completely.
    held: Vec<u8>,
    /// Bytes of the current frame that are still to be skipped.
    skip: usize,
}

#[derive(PartialEq)]
enum State {
    /// An HTTP connection.
    Http,
    Upgrading,
    WebSocket,
}

impl Crowd {
    pub fn new(server: &Process) -> Self {
        Crowd {
            poll: Poll::new().unwrap(),
            events: Events::with_capacity(1_024),
            buffer: vec![0; 262_144],
            target: server.address,
            sockets: Vec::new(),
        }
    }

    /// Opens so many WebSockets.
    pub fn open(&mut self, count: usize) -> Result<Range<usize>, Fault> {
        let first = self.sockets.len();
        let all = first..first + count;
        for some in chunks(all.clone()) {
            for _ in some.clone() {
                let index = self.connect(State::Upgrading);
                self.send(index, &client::upgrade(false));
            }
            self.wait(some, "connecting", |socket| !socket.socket_id.is_empty())?;
        }
        Ok(all)
    }

    /// Opens so many HTTP connections.
    pub fn open_http(&mut self, count: usize) -> Range<usize> {
        let first = self.sockets.len();
        (0..count).for_each(|_| _ = self.connect(State::Http));
        first..first + count
    }

    fn connect(&mut self, state: State) -> usize {
        let index = self.sockets.len();
        // One address has too few ports for all of them.
        let source = Ipv4Addr::new(127, 0, 0, 2 + (index % 16) as u8);
        let mut stream = sys::connect_from(source, self.target, None).unwrap();
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(index), both).unwrap();
        self.sockets.push(Socket {
            stream: Some(stream),
            is_attacker: false,
            deaf: false,
            state,
            socket_id: String::new(),
            subscribed: 0,
            outgoing: Vec::new(),
            held: Vec::new(),
            skip: 0,
        });
        index
    }

    /// Subscribes each of these sockets by a message, and waits until all are subscribed.
    pub fn subscribe(
        &mut self,
        range: Range<usize>,
        message: impl Fn(usize, &str) -> String,
    ) -> Result<(), Fault> {
        for some in chunks(range) {
            for index in some.clone() {
                let text = message(index, self.socket_id(index));
                self.send_text(index, &text);
            }
            self.wait(some, "subscribing", |socket| socket.subscribed > 0)?;
        }
        Ok(())
    }

    /// All sockets ever opened.
    pub fn len(&self) -> usize {
        self.sockets.len()
    }

    pub fn socket_id(&self, index: usize) -> &str {
        &self.sockets[index].socket_id
    }

    /// Waits until a socket has subscribed so many times.
    pub fn wait_for_subscriptions(&mut self, index: usize, count: usize) -> Result<(), Fault> {
        self.wait(index..index + 1, "subscribing", |socket| socket.subscribed >= count)
    }

    /// Sends a message on a WebSocket.
    pub fn send_text(&mut self, index: usize, text: &str) {
        self.send(index, &frame(text));
    }

    /// Sends bytes now, or as soon as there is room.
    pub fn send(&mut self, index: usize, bytes: &[u8]) {
        self.sockets[index].outgoing.extend_from_slice(bytes);
        self.sockets[index].flush();
    }

    /// Stops these sockets from reading.
    pub fn deafen(&mut self, range: Range<usize>) {
        self.sockets[range].iter_mut().for_each(|socket| socket.deaf = true);
    }

    /// Closes these sockets; they are the attackers, and not counted as disconnected by the server.
    pub fn close(&mut self, range: Range<usize>) {
        for socket in &mut self.sockets[range] {
            socket.is_attacker = true;
            socket.stream = None;
        }
    }

    /// How many honest sockets the server has closed.
    pub fn disconnected(&self) -> usize {
        let honest = self.sockets.iter().filter(|socket| !socket.is_attacker);
        honest.filter(|socket| socket.stream.is_none()).count()
    }

    /// Reads and writes for this long.
    pub fn pass(&mut self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            self.turn(left);
            if left.is_zero() {
                return;
            }
        }
    }

    fn wait(
        &mut self,
        range: Range<usize>,
        doing: &str,
        is_done: impl Fn(&Socket) -> bool,
    ) -> Result<(), Fault> {
        let until = Instant::now() + PATIENCE;
        let mut waiting = range;
        while let Some(index) = waiting.clone().next() {
            let socket = &self.sockets[index];
            if is_done(socket) {
                waiting.next();
            } else if socket.stream.is_none() || Instant::now() > until {
                return Err(format!("{doing}: the server has refused, or is too slow"));
            } else {
                self.turn(Duration::from_millis(10));
            }
        }
        Ok(())
    }

    fn turn(&mut self, timeout: Duration) {
        let _ = self.poll.poll(&mut self.events, Some(timeout));
        for event in &self.events {
            let socket = &mut self.sockets[event.token().0];
            socket.flush();
            socket.receive(&mut self.buffer);
        }
    }
}

impl Socket {
    fn flush(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        let mut written = 0;
        while written < self.outgoing.len() {
            match stream.write(&self.outgoing[written..]) {
                Ok(len) => written += len,
                Err(_) => break,
            }
        }
        self.outgoing.drain(..written);
    }

    fn receive(&mut self, buffer: &mut [u8]) {
        while let Some(stream) = &mut self.stream
            && !self.deaf
        {
            match stream.read(buffer) {
                Ok(len @ 1..) => self.take(&buffer[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => self.stream = None,
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        let bytes = &bytes[skipped..];
        if bytes.is_empty() || self.state == State::Http {
            return;
        }
        let mut held = std::mem::take(&mut self.held);
        if held.is_empty() {
            return self.parse(bytes);
        }
        held.extend_from_slice(bytes);
        self.parse(&held);
    }

    /// Reads the front of every frame and skips the rest, so that a large list costs no copy.
    fn parse(&mut self, bytes: &[u8]) {
        let mut at = 0;
        if self.state == State::Upgrading
            && let Some(head) = find(bytes, b"\r\n\r\n")
        {
            self.state = State::WebSocket;
            at = head + 4;
        }
        while self.state == State::WebSocket
            && let Some((opcode, start, len)) = client::header(&bytes[at..])
            && let Some(front) = bytes.get(at + start..at + start + len.min(FRONT))
        {
            self.handle_frame(opcode, front);
            at += start + len;
            if at >= bytes.len() {
                return self.skip = at - bytes.len();
            }
        }
        self.held = bytes[at..].to_vec();
    }

    fn handle_frame(&mut self, opcode: u8, front: &[u8]) {
        if opcode == PING {
            self.outgoing.extend_from_slice(&[0x8a, 0x80, 0, 0, 0, 0]);
            self.flush();
        } else if front.starts_with(SUBSCRIBED) {
            self.subscribed += 1;
        } else if front.starts_with(PINGED) {
            self.outgoing.extend(frame(r#"{"event":"pusher:pong","data":{}}"#));
            self.flush();
        } else if let Some(at) = find(front, SOCKET_ID).filter(|_| self.socket_id.is_empty()) {
            let id = front[at + SOCKET_ID.len()..].iter().take_while(|byte| **byte != b'\\');
            self.socket_id = id.map(|&byte| char::from(byte)).collect();
        }
    }
}

/// The sockets that connect or subscribe at the same time.
fn chunks(range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(PARALLEL).map(move |first| first..(first + PARALLEL).min(end))
}

const PARALLEL: usize = 250;
/// Bytes at the front of a message that show its kind.
const FRONT: usize = 96;
const SUBSCRIBED: &[u8] = br#"{"event":"pusher_internal:subscription_succeeded""#;
const PINGED: &[u8] = br#"{"event":"pusher:ping""#;
const SOCKET_ID: &[u8] = br#"\"socket_id\":\""#;
/// How long any one step of the preparation may take.
const PATIENCE: Duration = Duration::from_secs(60);
