//! Headers of frames (RFC 6455 section 5.2): parses them, checks them against the limits, and unmasks
//! payloads. How frames become messages is in `websocket`.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use super::violation::{
    BAD_CONTROL, BAD_LENGTH, BAD_OPCODE, BINARY, MASKED, NOTHING_TO_CONTINUE, RESERVED_BITS,
    TOO_BIG, UNMASKED, Violation,
};

/// The limits of messages.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The most bytes of a message, over all its frames.
    pub message_bytes: usize,
    /// The most frames of a message.
    pub fragments: u32,
    /// Whether binary messages are accepted.
    pub binary: bool,
    /// Whether the peer is a client, which masks its frames; a server must not (RFC 6455 section 5.1).
    pub masked: bool,
    /// Whether permessage-deflate was negotiated: the first frame of a message has RSV1 set if the
    /// message is compressed.
    pub deflate: bool,
}

impl Bounds {
    /// The most bytes of the payload of a message. A compressor may make a message longer that does
    /// not compress: with the fixed codes of deflate, a byte takes up to nine bits.
    pub(super) fn payload_bytes(&self, is_compressed: bool) -> usize {
        let excess = if is_compressed { self.message_bytes / 8 + 64 } else { 0 };
        self.message_bytes.saturating_add(excess)
    }
}

/// A valid header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub opcode: OpCode,
    pub is_final: bool,
    /// Whether the message that it starts is compressed.
    pub is_compressed: bool,
    pub mask: [u8; 4],
    pub payload_len: usize,
}

/// The header at the beginning of `bytes`, and its length; `None` if it is incomplete.
pub(super) fn parse_header(
    bytes: &[u8],
    bounds: Bounds,
) -> Result<Option<(Header, usize)>, Violation> {
    let mut cursor = Cursor::new(bytes);
    let (header, payload_len) = match FrameHeader::parse(&mut cursor) {
        Ok(Some(parsed)) => parsed,
        Ok(None) => return Ok(None),
        Err(_) => return Err(BAD_OPCODE),
    };
    let starts = matches!(header.opcode, OpCode::Data(Data::Text | Data::Binary));
    if header.rsv1 && !(bounds.deflate && starts) || header.rsv2 || header.rsv3 {
        return Err(RESERVED_BITS);
    }
    let mask = match (header.mask, bounds.masked) {
        (Some(mask), true) => mask,
        (None, true) => return Err(UNMASKED),
        // This mask changes nothing.
        (None, false) => [0; 4],
        (Some(_), false) => return Err(MASKED),
    };
    let control = matches!(header.opcode, OpCode::Control(_));
    if control && (!header.is_final || payload_len > 125) {
        return Err(BAD_CONTROL);
    }
    if payload_len >> 63 != 0 {
        return Err(BAD_LENGTH);
    }
    let payload_len = usize::try_from(payload_len).map_err(|_| TOO_BIG)?;
    let (opcode, is_final, is_compressed) = (header.opcode, header.is_final, header.rsv1);
    let header_len = usize::try_from(cursor.position()).map_err(|_| TOO_BIG)?;
    Ok(Some((Header { opcode, is_final, is_compressed, mask, payload_len }, header_len)))
}

/// Checks the first frame of a message.
pub(super) fn check_start(data: Data, header: Header, bounds: Bounds) -> Result<(), Violation> {
    match data {
        Data::Continue => return Err(NOTHING_TO_CONTINUE),
        Data::Reserved(_) => return Err(BAD_OPCODE),
        Data::Binary if !bounds.binary => return Err(BINARY),
        Data::Text | Data::Binary => {}
    }
    if header.payload_len > bounds.payload_bytes(header.is_compressed) {
        return Err(TOO_BIG);
    }
    Ok(())
}

/// Unmasks the piece of a payload that begins at `offset` (RFC 6455 section 5.3).
pub(super) fn unmask(piece: &mut [u8], mut mask: [u8; 4], offset: usize) {
    mask.rotate_left(offset % 4);
    let word = u32::from_ne_bytes(mask);
    let mut words = piece.chunks_exact_mut(4);
    for bytes in &mut words {
        let plain = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) ^ word;
        bytes.copy_from_slice(&plain.to_ne_bytes());
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(mask) {
        *byte ^= key;
    }
}
