//! WebSocket frames: the same items wherever the bytes are cut, and the same as tungstenite's
//! `WebSocketContext` makes of them.

use std::io::{self, Read, Write};

use tungstenite::Message;
use tungstenite::error::Error;
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};

use super::pieces::{cuts, pieces};
use crate::proto::websocket::{Bounds, Item, Reader};

/// An item that owns its bytes, so that those of two readers can be compared.
#[derive(Debug, PartialEq)]
enum Owned {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<(u16, String)>),
}

/// What became of all bytes: the items, and the close code of the rule that was broken.
#[derive(Debug, PartialEq)]
struct Outcome {
    items: Vec<Owned>,
    broken: Option<u16>,
}

/// The byte behind the cuts says how long a message may be, and whether the rest is frames as
/// they come or frames to be made.
pub fn frames(data: &[u8]) {
    let (lengths, rest) = cuts(data);
    let Some((&mode, rest)) = rest.split_first() else { return };
    let message_bytes = [125, 1_000, 70_000][usize::from(mode >> 1) % 3];
    let bounds = Bounds { message_bytes, fragments: u32::MAX, binary: true };
    let bytes = if mode & 1 == 0 { rest.to_vec() } else { made(rest) };

    let whole = read(&[], &bytes, bounds);
    assert_eq!(read(lengths, &bytes, bounds), whole, "cut into pieces of {lengths:?}");
    assert_eq!(read(&[0], &bytes, bounds), whole, "cut into single bytes");
    compare(&whole, &bytes, message_bytes);
}

/// Frames whose headers are right, most of them: mutated bytes hardly ever are by themselves. Of
/// three bytes each the first is the frame's, the others are the payload's length and its mask.
fn made(script: &[u8]) -> Vec<u8> {
    let (mut bytes, mut script) = (Vec::new(), script);
    while let [first, len, mask, rest @ ..] = script {
        let (payload, behind) = rest.split_at(usize::from(*len).min(rest.len()));
        script = behind;
        bytes.push(*first);
        match payload.len() {
            len @ 0..126 => bytes.push(0x80 | len as u8),
            len => bytes.extend([0x80 | 126, 0, len as u8]),
        }
        bytes.extend([*mask; 4]);
        bytes.extend(payload.iter().map(|byte| byte ^ mask));
    }
    bytes
}

fn read(lengths: &[u8], bytes: &[u8], bounds: Bounds) -> Outcome {
    let mut reader = Reader::default();
    let mut items = Vec::new();
    for piece in pieces(lengths, bytes) {
        let (mut input, mut at) = (piece.to_vec(), 0);
        loop {
            match reader.next(&mut input, &mut at, bounds) {
                Ok(Some(item)) => items.push(owned(item)),
                Ok(None) => break,
                Err(violation) => return Outcome { items, broken: Some(violation.code) },
            }
            // Nothing is read behind a close frame.
            if let Some(Owned::Close(_)) = items.last() {
                return Outcome { items, broken: None };
            }
        }
        assert_eq!(at, input.len(), "bytes were left over without a reason");
    }
    Outcome { items, broken: None }
}

fn owned(item: Item<'_>) -> Owned {
    match item {
        Item::Text(text) => Owned::Text(text.to_owned()),
        Item::Binary(bytes) => Owned::Binary(bytes.to_vec()),
        Item::Ping(payload) => Owned::Ping(payload.to_vec()),
        Item::Pong => Owned::Pong,
        Item::Close(said) => Owned::Close(said.map(|(code, reason)| (code, reason.to_owned()))),
    }
}

/// Compares with tungstenite, which tells most broken rules only when the frame is whole: where
/// ours was refused before that, it is given bytes until it is.
fn compare(ours: &Outcome, bytes: &[u8], message_bytes: usize) {
    let padding = if ours.broken.is_some() { message_bytes + 14 } else { 0 };
    let mut theirs = read_with_tungstenite(bytes, padding, message_bytes);
    // In place of a close frame that it does not accept it hands out its answer, which a client
    // may have said itself.
    if ours.broken == Some(1002) && theirs.items.last() == Some(&not_accepted()) {
        theirs.items.pop();
        theirs.broken = Some(1002);
    }
    // 1014 was registered after the codes it knows.
    if let Some(Owned::Close(Some((1014, _)))) = ours.items.last() {
        assert_eq!(ours.items[..ours.items.len() - 1], theirs.items[..theirs.items.len() - 1]);
        return assert_eq!(theirs.items.last(), Some(&not_accepted()));
    }
    assert_eq!(ours.items, theirs.items);
    match (ours.broken, theirs.broken) {
        // Of two rules that one frame breaks, the two look at the length in another order.
        (Some(1009), Some(_)) | (Some(_), Some(1009)) => {}
        // And at a close frame's code and its reason.
        (Some(1002), Some(1007)) => {}
        (ours, theirs) => assert_eq!(ours, theirs),
    }
}

fn not_accepted() -> Owned {
    Owned::Close(Some((1002, "Protocol violation".to_owned())))
}

fn read_with_tungstenite(bytes: &[u8], padding: usize, message_bytes: usize) -> Outcome {
    let config = WebSocketConfig::default()
        .read_buffer_size(4_096)
        .max_message_size(Some(message_bytes))
        .max_frame_size(Some(message_bytes));
    let mut context = WebSocketContext::new(Role::Server, Some(config));
    let mut wire = Wire { bytes, padding };
    let mut items = Vec::new();
    loop {
        // Zeroes behind the frame that was refused are a frame of their own, and none of ours.
        let item = match context.read(&mut wire) {
            Ok(Message::Text(text)) => Owned::Text(text.as_str().to_owned()),
            Ok(Message::Binary(bytes)) => Owned::Binary(bytes.to_vec()),
            Ok(Message::Ping(payload)) => Owned::Ping(payload.to_vec()),
            Ok(Message::Pong(_)) => Owned::Pong,
            Ok(Message::Close(None)) => Owned::Close(None),
            Ok(Message::Close(Some(close))) => {
                Owned::Close(Some((close.code.into(), close.reason.as_str().to_owned())))
            }
            Ok(Message::Frame(_)) => unreachable!("frames are not handed out when reading"),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return Outcome { items, broken: None };
            }
            Err(Error::Capacity(_)) => return Outcome { items, broken: Some(1009) },
            Err(Error::Utf8(_)) => return Outcome { items, broken: Some(1007) },
            Err(Error::Protocol(_)) => return Outcome { items, broken: Some(1002) },
            Err(error) => panic!("tungstenite fails in a way of its own: {error}"),
        };
        items.push(item);
        if let Some(Owned::Close(_)) = items.last() {
            return Outcome { items, broken: None };
        }
    }
}

/// A socket with these bytes and then zeroes to read, which takes whatever is written.
struct Wire<'a> {
    bytes: &'a [u8],
    padding: usize,
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.bytes.is_empty() {
            return self.bytes.read(buffer);
        }
        let len = self.padding.min(buffer.len());
        if len == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        buffer[..len].fill(0);
        self.padding -= len;
        Ok(len)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
