//! Encodes the frames of a server: never masked, never fragmented, each encoded once and shared by
//! all outboxes that contain it. `masked` makes them those of a client. Reading frames is in
//! `websocket`.

use std::rc::Rc;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// An encoded frame, shared by all outboxes that contain it.
pub type Frame = Rc<[u8]>;

/// A text frame.
pub fn text(payload: &str) -> Frame {
    encode(OpCode::Data(Data::Text), payload.as_bytes())
}

/// A text frame with the payload that `write` appends; its length is about `len`.
pub fn text_of(len: usize, write: impl FnOnce(&mut String)) -> Frame {
    let mut text = String::with_capacity(HEADER_MAX + len);
    // Space for the header, whose length depends on that of the payload.
    text.extend([' '; HEADER_MAX]);
    write(&mut text);
    with_header(0x81, text.into_bytes())
}

/// The compressed form of a frame that begins with this byte. `bytes` is the compressed payload, after
/// space for the header.
#[cfg(feature = "deflate")]
pub(super) fn compressed(first: Option<u8>, bytes: Vec<u8>) -> Frame {
    const RSV1: u8 = 0x40;
    with_header(first.unwrap_or(0x81) | RSV1, bytes)
}

/// Writes the header in front of a payload, before which `bytes` has space for the longest one.
fn with_header(first: u8, mut bytes: Vec<u8>) -> Frame {
    let (mut header, header_len) = header(OpCode::Data(Data::Text), bytes.len() - HEADER_MAX);
    header[0] = first;
    let start = HEADER_MAX - header_len;
    bytes[start..HEADER_MAX].copy_from_slice(&header[..header_len]);
    bytes[start..].into()
}

/// The first part of a text frame whose payload has `len` bytes: the header, and `start`, with
/// which the payload begins.
pub fn text_start(len: usize, start: &str) -> Frame {
    let (header, header_len) = header(OpCode::Data(Data::Text), len);
    [&header[..header_len], start.as_bytes()].concat().into()
}

/// A binary frame.
pub fn binary(payload: &[u8]) -> Frame {
    encode(OpCode::Data(Data::Binary), payload)
}

/// A ping with an empty payload.
pub fn ping() -> Frame {
    encode(OpCode::Control(Control::Ping), &[])
}

/// The reply to a ping with this payload.
pub fn pong(payload: &[u8]) -> Frame {
    encode(OpCode::Control(Control::Pong), payload)
}

/// A close frame. A long reason is truncated at a character boundary: a control frame has at most
/// 125 bytes of payload, two of them for the code.
pub fn close(code: u16, reason: &str) -> Frame {
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(&reason.as_bytes()[..end]);
    encode(OpCode::Control(Control::Close), &payload)
}

/// The payload of an encoded frame.
pub fn payload(frame: &Frame) -> &[u8] {
    let header_len = match frame.get(1) {
        Some(127) => 10,
        Some(126) => 4,
        _ => 2,
    };
    frame.get(header_len..).unwrap_or_default()
}

/// The same frame as a client sends it, masked with this key (RFC 6455 section 5.3).
pub fn masked(frame: &Frame, key: [u8; 4]) -> Vec<u8> {
    let payload = payload(frame);
    let mut bytes = frame[..frame.len() - payload.len()].to_vec();
    bytes[1] |= 0x80;
    bytes.extend_from_slice(&key);
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    super::unmask(&mut bytes[start..], key, 0);
    bytes
}

fn encode(opcode: OpCode, payload: &[u8]) -> Frame {
    let (header, header_len) = header(opcode, payload.len());
    [&header[..header_len], payload].concat().into()
}

/// The header of an unfragmented frame, and its length.
fn header(opcode: OpCode, payload_len: usize) -> ([u8; HEADER_MAX], usize) {
    let header =
        FrameHeader { is_final: true, rsv1: false, rsv2: false, rsv3: false, opcode, mask: None };
    let mut bytes = [0; HEADER_MAX];
    let mut rest = &mut bytes[..];
    // Dropping the error saves the code that formats all errors of a handshake.
    let written = header.format(payload_len as u64, &mut rest).map_err(drop);
    written.expect("the buffer holds the longest header");
    let len = HEADER_MAX - rest.len();
    (bytes, len)
}

/// The longest header of a frame without a mask (RFC 6455 section 5.2).
pub(super) const HEADER_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_encoded_in_the_shortest_form() {
        for (len, header) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let frame = text(&"x".repeat(len));
            assert_eq!(text_of(9, |payload| payload.push_str(&"x".repeat(len))), frame);
            assert_eq!(frame.len(), header + len);
            assert_eq!(payload(&frame).len(), len);
        }
    }

    #[test]
    fn a_long_close_reason_is_truncated_at_a_character() {
        let frame = close(4200, &"é".repeat(100));
        assert_eq!(frame.len(), 2 + 2 + 122);
    }
}
