//! One kept HTTP connection: it sends requests, one or many at a time, and counts the responses.
//! Any status but 200 is a failure.

use std::io::{ErrorKind, Read, Write};

use mio::net::TcpStream;

/// An HTTP connection, or the connection to a raw writer, which never responds.
pub struct Lane {
    pub stream: TcpStream,
    used: bool,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    pub answered: u64,
    pub refused: u64,
}

impl Lane {
    pub fn new(stream: TcpStream) -> Self {
        Lane {
            stream,
            used: false,
            outgoing: Vec::new(),
            incoming: Vec::new(),
            answered: 0,
            refused: 0,
        }
    }

    /// Sends now, or as soon as there is room.
    pub fn send(&mut self, bytes: &[u8]) {
        self.used = true;
        self.outgoing.extend_from_slice(bytes);
        self.flush();
    }

    pub fn flush(&mut self) {
        while !self.outgoing.is_empty() {
            match self.stream.write(&self.outgoing) {
                Ok(written) => drop(self.outgoing.drain(..written)),
                Err(_) => return,
            }
        }
    }

    /// Reads available bytes, and counts the responses in them.
    pub fn receive(&mut self, buffer: &mut [u8]) {
        loop {
            match self.stream.read(buffer) {
                // The server may close a connection that has sent no request.
                Ok(0) => return self.refused += u64::from(self.used),
                Ok(len) => {
                    self.incoming.extend_from_slice(&buffer[..len]);
                    self.count();
                    if len < buffer.len() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.refused += 1,
            }
        }
    }

    fn count(&mut self) {
        let mut at = 0;
        while let Some(len) = whole(&self.incoming[at..]) {
            match self.incoming[at..].starts_with(b"HTTP/1.1 200 ") {
                true => self.answered += 1,
                false => self.refused += 1,
            }
            at += len;
        }
        self.incoming.drain(..at);
    }
}

/// The length of the request or response at the front of these bytes, once it is complete.
pub fn whole(bytes: &[u8]) -> Option<usize> {
    let head = find(bytes, b"\r\n\r\n")? + 4;
    let body = match find(&bytes[..head], LENGTH) {
        Some(at) => bytes[at + LENGTH.len()..head]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .fold(0, |length, byte| length * 10 + usize::from(byte - b'0')),
        None => 0,
    };
    (bytes.len() >= head + body).then_some(head + body)
}

/// Where `wanted` begins.
pub fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

const LENGTH: &[u8] = b"Content-Length: ";
