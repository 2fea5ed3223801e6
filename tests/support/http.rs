//! A minimal HTTP client: sends raw bytes, and parses responses.

use super::{DEADLINE, Server, assert_same};
use serde_json::Value;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

/// A connection; responses are read in order.
pub struct Http {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Http {
    pub fn connect(server: &Server) -> Self {
        Http::connect_to(server.address())
    }

    /// Connects to another of the server's addresses.
    pub fn connect_to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Http { stream, buffer: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends bytes that the server may stop reading.
    pub fn try_send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends as much as the socket accepts now; false if it did not accept everything.
    pub fn send_some(&mut self, bytes: &[u8]) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let sent = self.stream.write_all(bytes).is_ok();
        self.stream.set_nonblocking(false).unwrap();
        sent
    }

    /// Whether a byte or the end of the connection has arrived.
    pub fn has_answer(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let answer = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        !answer.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Shuts down the sending half: no more requests follow.
    pub fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// The next response.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        let mut response = self.head();
        let length = match response.header("Content-Length") {
            _ if matches!(response.status, 100..=199 | 204 | 304) => Some(0),
            Some(length) => Some(length.parse().unwrap()),
            None => None,
        };
        match length {
            Some(length) => {
                while self.buffer.len() < length {
                    assert!(self.fill(), "the body of {response:?} is truncated");
                }
                response.body = self.buffer.drain(..length).collect();
            }
            None if response.header("Transfer-Encoding") == Some("chunked") => {
                response.body = self.chunks();
            }
            None => {
                while self.fill() {}
                response.body = std::mem::take(&mut self.buffer);
            }
        }
        response
    }

    /// Reads a chunked body up to its end.
    #[track_caller]
    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk() {
            body.extend(chunk);
        }
        body
    }

    /// The next chunk of a chunked body; `None` at its end.
    #[track_caller]
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.until(b"\r\n");
        let len = usize::from_str_radix(line.trim_end(), 16).unwrap();
        while self.buffer.len() < len + 2 {
            assert!(self.fill(), "a chunk is truncated");
        }
        let chunk: Vec<u8> = self.buffer.drain(..len).collect();
        assert_eq!(self.until(b"\r\n"), "\r\n");
        (len > 0).then_some(chunk)
    }

    /// Reads up to and including `end`.
    #[track_caller]
    fn until(&mut self, end: &[u8]) -> String {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                let line = self.buffer.drain(..at + end.len()).collect();
                return String::from_utf8(line).unwrap();
            }
            assert!(self.fill(), "the connection ended");
        }
    }

    /// The head of the next response: the whole response to HEAD.
    #[track_caller]
    pub fn head(&mut self) -> Response {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            let so_far = String::from_utf8_lossy(&self.buffer).into_owned();
            assert!(self.fill(), "the connection ended before a response: {so_far:?}");
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        let mut status_line = lines.next().unwrap().splitn(3, ' ');
        let version = status_line.next().unwrap().to_owned();
        let status = status_line.next().unwrap().parse().unwrap();
        let headers = lines
            .take_while(|line| !line.is_empty())
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        Response { version, status, headers, body: Vec::new() }
    }

    /// Fails unless the server ends the connection without another byte.
    #[track_caller]
    pub fn ended(&mut self) {
        assert!(!self.fill(), "received more: {:?}", String::from_utf8_lossy(&self.buffer));
    }

    /// Fails unless the server ends the connection, with an error of this status or without.
    #[track_caller]
    pub fn end_or_status(&mut self, status: u16) {
        if self.fill() {
            assert_eq!(self.response().status, status);
            self.ended();
        }
    }

    /// Fails unless the server ends the connection, with a reset or without.
    #[track_caller]
    pub fn end_or_reset(&mut self) {
        while self.fill() {}
    }

    /// The socket, and the bytes that were read but belong to no response: for WebSocket.
    pub fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.buffer)
    }

    /// Reads once; false at the end of the connection.
    #[track_caller]
    fn fill(&mut self) -> bool {
        let mut chunk = [0; 16384];
        match read(&mut self.stream, &mut chunk) {
            Ok(length) => {
                self.buffer.extend_from_slice(&chunk[..length]);
                length > 0
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => {
                panic!("no response: {error}; so far: {:?}", String::from_utf8_lossy(&self.buffer))
            }
        }
    }
}

/// Reads once. A signal to the test process may interrupt a read that has a deadline.
pub fn read(stream: &mut TcpStream, chunk: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(chunk) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// One response.
#[derive(Debug, Clone)]
pub struct Response {
    pub version: String,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header, in any case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        all.next().map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in the body of {self:?}: {:?}", self.text()))
    }

    /// Fails unless it has this status and this JSON body.
    #[track_caller]
    pub fn is(&self, status: u16, body: Value) {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        assert_same(&self.json(), &body);
        assert_eq!(self.header("Content-Type"), Some("application/json"));
    }

    /// Fails unless it is an error with this status and a sentence for a body, which is returned.
    #[track_caller]
    pub fn is_error(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        assert!(self.text().len() > 3, "the response has no reason: {self:?}");
        self.text()
    }
}
