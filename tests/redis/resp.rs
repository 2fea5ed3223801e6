//! The part of Redis' protocol that sends commands, reads replies, and finds commands in a stream.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::DEADLINE;

/// A reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    Text(String),
    Error(String),
    Number(i64),
    List(Vec<Reply>),
    Nil,
}

impl Reply {
    /// The text; fails for any other kind.
    #[track_caller]
    pub fn text(&self) -> &str {
        match self {
            Reply::Text(text) => text,
            other => panic!("{other:?} is no text"),
        }
    }

    /// The number; fails for any other kind.
    #[track_caller]
    pub fn number(&self) -> i64 {
        match self {
            Reply::Number(number) => *number,
            other => panic!("{other:?} is no number"),
        }
    }
}

/// Encodes a command.
pub fn command(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        bytes.extend(format!("${}\r\n", part.len()).as_bytes());
        bytes.extend(*part);
        bytes.extend(b"\r\n");
    }
    bytes
}

/// The length of the first complete command, and its name in capitals. Supports only lists of
/// strings, which is how libraries write commands.
pub fn first_command(bytes: &[u8]) -> Option<(usize, String)> {
    let (reply, length) = parse(bytes)?;
    let Reply::List(parts) = reply else { return Some((length, String::new())) };
    let name = match parts.first() {
        Some(Reply::Text(name)) => name.to_uppercase(),
        _ => String::new(),
    };
    Some((length, name))
}

/// The value at the start of the bytes, and its length.
fn parse(bytes: &[u8]) -> Option<(Reply, usize)> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    let line = String::from_utf8_lossy(&bytes[1..end]).into_owned();
    let start = end + 2;
    let number = || line.parse::<i64>().unwrap_or_else(|error| panic!("{line:?}: {error}"));
    match bytes[0] {
        b'+' => Some((Reply::Text(line), start)),
        b'-' => Some((Reply::Error(line), start)),
        b':' => Some((Reply::Number(number()), start)),
        b'_' => Some((Reply::Nil, start)),
        b'$' if number() < 0 => Some((Reply::Nil, start)),
        b'$' => {
            let length = number() as usize;
            let text = bytes.get(start..start + length + 2)?;
            let text = String::from_utf8_lossy(&text[..length]).into_owned();
            Some((Reply::Text(text), start + length + 2))
        }
        kind @ (b'*' | b'>' | b'%') => {
            let count = number() * if kind == b'%' { 2 } else { 1 };
            let (mut list, mut at) = (Vec::new(), start);
            for _ in 0..count {
                let (item, length) = parse(bytes.get(at..).filter(|rest| !rest.is_empty())?)?;
                list.push(item);
                at += length;
            }
            Some((Reply::List(list), at))
        }
        other => panic!("{:?} begins no reply", other as char),
    }
}

/// A connection to a Redis server.
pub struct Session {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Session {
    #[track_caller]
    pub fn tcp(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Session { stream, buffer: Vec::new() }
    }

    /// Sends a command and returns the reply, which may be an error.
    #[track_caller]
    pub fn send_and_receive(&mut self, parts: &[&[u8]]) -> Reply {
        self.send(parts);
        self.reply()
    }

    /// Sends a command and returns the reply, which must not be an error.
    #[track_caller]
    pub fn call(&mut self, parts: &[&str]) -> Reply {
        let bytes: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
        match self.send_and_receive(&bytes) {
            Reply::Error(error) => panic!("{parts:?}: {error}"),
            reply => reply,
        }
    }

    #[track_caller]
    pub fn send(&mut self, parts: &[&[u8]]) {
        self.stream.write_all(&command(parts)).unwrap();
    }

    #[track_caller]
    pub fn reply(&mut self) -> Reply {
        loop {
            if let Some((reply, length)) = parse(&self.buffer) {
                self.buffer.drain(..length);
                return reply;
            }
            let mut chunk = [0; 65536];
            let length = self.stream.read(&mut chunk).unwrap();
            assert!(length > 0, "Redis closed the connection");
            self.buffer.extend_from_slice(&chunk[..length]);
        }
    }
}
