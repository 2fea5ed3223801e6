//! A client for WebSocket and HTTP over TLS with rustls, as far as the tests need.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, SupportedProtocolVersion};
use serde_json::{Value, json};

use super::certificates::Folder;
use crate::support::{DEADLINE, HANDSHAKE, Server, frame};

pub const BOTH: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];

/// The configuration of a client that trusts the authority `ca` of a folder.
pub fn config(folder: &Folder, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(folder.roots("ca"))
        .with_no_client_auth()
}

/// The socket, and the bytes received from it.
pub struct Wire {
    pub stream: TcpStream,
    pub seen: Vec<u8>,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let len = self.stream.read(buffer)?;
        self.seen.extend_from_slice(&buffer[..len]);
        Ok(len)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

pub struct Client {
    pub tls: ClientConnection,
    pub wire: Wire,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects, and finishes the handshake.
    #[track_caller]
    pub fn connect(server: &Server, folder: &Folder) -> Self {
        Client::with(server, config(folder, BOTH), "localhost").unwrap()
    }

    /// The same with another configuration and for this host name.
    pub fn with(server: &Server, config: ClientConfig, name: &str) -> Result<Self, String> {
        Client::with_shared(server, &Arc::new(config), name)
    }

    /// The same with a configuration that holds the sessions of earlier connections.
    pub fn with_shared(
        server: &Server,
        config: &Arc<ClientConfig>,
        name: &str,
    ) -> Result<Self, String> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut tls = ClientConnection::new(Arc::clone(config), name).unwrap();
        tls.set_buffer_limit(None);
        let stream = TcpStream::connect(server.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        let mut wire = Wire { stream, seen: Vec::new() };
        while tls.is_handshaking() {
            if let Err(error) = tls.complete_io(&mut wire) {
                // The server receives the alert.
                while tls.wants_write() && tls.write_tls(&mut wire).is_ok() {}
                return Err(error.to_string());
            }
        }
        Ok(Client { tls, wire, buffer: Vec::new() })
    }

    /// A WebSocket that has received `connection_established`.
    #[track_caller]
    pub fn open(server: &Server, folder: &Folder) -> Self {
        let mut client = Client::connect(server, folder);
        client.upgrade();
        client
    }

    #[track_caller]
    pub fn upgrade(&mut self) {
        let target = "/app/app-key?protocol=7&client=js&version=8.4.0&flash=false";
        self.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{HANDSHAKE}\r\n"));
        assert_eq!(self.head().0, 101);
        assert_eq!(self.event()["event"], "pusher:connection_established");
    }

    pub fn kind(&self) -> HandshakeKind {
        self.tls.handshake_kind().unwrap()
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.tls.writer().write_all(bytes.as_ref()).unwrap();
        self.push();
    }

    /// Writes the encrypted bytes.
    pub fn push(&mut self) {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.wire).unwrap();
        }
    }

    pub fn send_event(&mut self, event: &str, data: Value) {
        self.send(frame(0x81, json!({"event": event, "data": data}).to_string().as_bytes()));
    }

    #[track_caller]
    pub fn subscribe(&mut self, channel: &str) {
        self.send_event("pusher:subscribe", json!({"channel": channel}));
        assert_eq!(self.event()["event"], "pusher_internal:subscription_succeeded");
    }

    #[track_caller]
    pub fn ping(&mut self) {
        self.send_event("pusher:ping", json!({}));
        assert_eq!(self.event()["event"], "pusher:pong");
    }

    /// Reads once. Returns how the connection ended, if it did: `Ok` stands for a `close_notify`.
    pub fn fill(&mut self) -> Option<Result<(), String>> {
        let mut chunk = [0; 16_384];
        loop {
            match self.tls.reader().read(&mut chunk) {
                Ok(0) => return Some(Ok(())),
                Ok(len) => {
                    self.buffer.extend_from_slice(&chunk[..len]);
                    return None;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Some(Err(error.to_string())),
            }
            if let Err(error) = self.tls.read_tls(&mut self.wire) {
                return Some(Err(error.to_string()));
            }
            if let Err(error) = self.tls.process_new_packets() {
                return Some(Err(error.to_string()));
            }
        }
    }

    /// Reads up to the end of the connection, and returns how it ended.
    pub fn end(&mut self) -> Result<(), String> {
        loop {
            if let Some(end) = self.fill() {
                return end;
            }
        }
    }

    #[track_caller]
    fn need(&mut self, len: usize) {
        while self.buffer.len() < len {
            assert_eq!(self.fill(), None, "after {:?}", String::from_utf8_lossy(&self.buffer));
        }
    }

    /// The status and head of the next response.
    #[track_caller]
    pub fn head(&mut self) -> (u16, String) {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.need(self.buffer.len() + 1);
        };
        let head = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
        (head[9..12].parse().unwrap(), head)
    }

    /// The status of the next response, or how the connection ended before one.
    pub fn answer(&mut self) -> Result<u16, String> {
        match self.fill() {
            None => Ok(self.head().0),
            Some(end) => Err(end.err().unwrap_or_default()),
        }
    }

    /// Sends a request, and returns the status and body of the response.
    #[track_caller]
    pub fn request(&mut self, raw: &str) -> (u16, String) {
        self.send(raw);
        let (status, head) = self.head();
        let (_, rest) = head.split_once("Content-Length: ").unwrap();
        let len = rest.split("\r\n").next().unwrap().parse().unwrap();
        self.need(len);
        (status, String::from_utf8(self.buffer.drain(..len).collect()).unwrap())
    }

    /// The payload of the next frame.
    #[track_caller]
    pub fn payload(&mut self) -> Vec<u8> {
        self.need(2);
        let (at, len) = match self.buffer[1] {
            126 => {
                self.need(4);
                (4, usize::from(u16::from_be_bytes([self.buffer[2], self.buffer[3]])))
            }
            127 => {
                self.need(10);
                (10, u64::from_be_bytes(self.buffer[2..10].try_into().unwrap()) as usize)
            }
            len => (2, usize::from(len)),
        };
        self.need(at + len);
        self.buffer.drain(..at + len).skip(at).collect()
    }

    #[track_caller]
    pub fn event(&mut self) -> Value {
        serde_json::from_slice(&self.payload()).unwrap()
    }
}

pub const UP: &str = "GET /up HTTP/1.1\r\nHost: localhost\r\n\r\n";
