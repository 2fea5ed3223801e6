//! WebSocket frames: the items are the same wherever the bytes are split, and those of a client the
//! same as those of tungstenite's `WebSocketContext`.

use std::io::{self, Read, Write};

use tungstenite::Message;
use tungstenite::error::Error;
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};

use super::pieces::{cuts, pieces};
use crate::proto::websocket::{Bounds, Inflater, Item, Reader};

/// An item that owns its payload, to compare the items of two readers.
#[derive(Debug, PartialEq)]
enum Owned {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<(u16, String)>),
}

/// The result of reading: the items, and the close code of the violation, if any.
#[derive(Debug, PartialEq)]
struct Outcome {
    items: Vec<Owned>,
    violation: Option<u16>,
}

/// The byte after the lengths of pieces selects the limit for messages, and whether the rest contains
/// raw frames or a script for frames. What compressed messages contain is compared in `deflate`.
pub fn frames(data: &[u8]) {
    let (lengths, rest) = cuts(data);
    let Some((&mode, rest)) = rest.split_first() else { return };
    let message_bytes = [125, 1_000, 70_000][usize::from(mode >> 1) % 3];
    let bounds =
        Bounds { message_bytes, fragments: u32::MAX, binary: true, masked: true, deflate: false };
    let bytes = if mode & 1 == 0 { rest.to_vec() } else { generated(rest) };

    let whole = read(&[], &bytes, bounds);
    assert_eq!(read(lengths, &bytes, bounds), whole, "cut into pieces of {lengths:?}");
    assert_eq!(read(&[0], &bytes, bounds), whole, "cut into single bytes");
    compare(&whole, &bytes, message_bytes);
    let compressed = Bounds { deflate: true, ..bounds };
    let whole = read(&[], &bytes, compressed);
    assert_eq!(read(lengths, &bytes, compressed), whole, "compressed, cut into {lengths:?}");
    assert_eq!(read(&[0], &bytes, compressed), whole, "compressed, cut into single bytes");
    let of_server = Bounds { masked: false, ..bounds };
    assert_eq!(read(lengths, &bytes, of_server), read(&[], &bytes, of_server), "as a client");
}

/// Generates frames with mostly valid headers, which random bytes hardly ever have. Three bytes
/// describe a frame: its first byte, the length of the payload, and the mask.
fn generated(script: &[u8]) -> Vec<u8> {
    let (mut bytes, mut script) = (Vec::new(), script);
    while let [first, len, mask, rest @ ..] = script {
        let (payload, others) = rest.split_at(usize::from(*len).min(rest.len()));
        script = others;
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
    let (mut reader, mut inflater) = (Reader::default(), Inflater::default());
    let mut items = Vec::new();
    for piece in pieces(lengths, bytes) {
        let (mut input, mut at) = (piece.to_vec(), 0);
        loop {
            match reader.next(&mut input, &mut at, bounds, &mut inflater) {
                Ok(Some(item)) => items.push(owned(item)),
                Ok(None) => break,
                Err(violation) => return Outcome { items, violation: Some(violation.code) },
            }
            // Nothing is read after a close frame.
            if let Some(Owned::Close(_)) = items.last() {
                return Outcome { items, violation: None };
            }
        }
        assert_eq!(at, input.len(), "bytes were left although the reader needs more");
    }
    Outcome { items, violation: None }
}

fn owned(item: Item<'_>) -> Owned {
    match item {
        Item::Text(text) => Owned::Text(text.to_owned()),
        Item::Binary(bytes) => Owned::Binary(bytes.to_vec()),
        Item::Ping(payload) => Owned::Ping(payload.to_vec()),
        Item::Pong => Owned::Pong,
        Item::Close(close) => Owned::Close(close.map(|(code, reason)| (code, reason.to_owned()))),
    }
}

/// Compares with tungstenite, which detects most violations only in a complete frame: if our reader
/// has found one, tungstenite gets padding until the frame is complete.
fn compare(ours: &Outcome, bytes: &[u8], message_bytes: usize) {
    let padding = if ours.violation.is_some() { message_bytes + 14 } else { 0 };
    let mut theirs = read_with_tungstenite(bytes, padding, message_bytes);
    // For an invalid close frame, tungstenite returns its own reply as the item. A client may have
    // sent the same frame.
    if ours.violation == Some(1002) && theirs.items.last() == Some(&not_accepted()) {
        theirs.items.pop();
        theirs.violation = Some(1002);
    }
    // tungstenite does not know code 1014, which was registered later.
    if let Some(Owned::Close(Some((1014, _)))) = ours.items.last() {
        assert_eq!(ours.items[..ours.items.len() - 1], theirs.items[..theirs.items.len() - 1]);
        return assert_eq!(theirs.items.last(), Some(&not_accepted()));
    }
    assert_eq!(ours.items, theirs.items);
    match (ours.violation, theirs.violation) {
        // If a frame has two violations, the two readers check the length in a different order.
        (Some(1009), Some(_)) | (Some(_), Some(1009)) => {}
        // The same for the code and the reason of a close frame.
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
        // The padding after an invalid frame is not part of the input.
        let item = match context.read(&mut wire) {
            Ok(Message::Text(text)) => Owned::Text(text.as_str().to_owned()),
            Ok(Message::Binary(bytes)) => Owned::Binary(bytes.to_vec()),
            Ok(Message::Ping(payload)) => Owned::Ping(payload.to_vec()),
            Ok(Message::Pong(_)) => Owned::Pong,
            Ok(Message::Close(None)) => Owned::Close(None),
            Ok(Message::Close(Some(close))) => {
                Owned::Close(Some((close.code.into(), close.reason.as_str().to_owned())))
            }
            Ok(Message::Frame(_)) => unreachable!("reading returns messages, not frames"),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return Outcome { items, violation: None };
            }
            Err(Error::Capacity(_)) => return Outcome { items, violation: Some(1009) },
            Err(Error::Utf8(_)) => return Outcome { items, violation: Some(1007) },
            Err(Error::Protocol(_)) => return Outcome { items, violation: Some(1002) },
            Err(error) => panic!("unexpected error of tungstenite: {error}"),
        };
        items.push(item);
        if let Some(Owned::Close(_)) = items.last() {
            return Outcome { items, violation: None };
        }
    }
}

/// A socket that contains these bytes, then zeroes, and accepts all writes.
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
