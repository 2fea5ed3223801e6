//! Compression: a message is decompressed as by a second decompressor, whatever a client sends, and
//! what the server compresses is what it was before.

use super::inflate::inflate;
use crate::proto::websocket::{Deflater, Inflater, payload, text};

/// The first byte selects the limit for messages, and whether the rest is the payload of a client or
/// the message of a server.
pub fn deflate(data: &[u8]) {
    let Some((&mode, rest)) = data.split_first() else { return };
    let bytes_max = [100, 5_000, 70_000][usize::from(mode >> 1) % 3];
    if mode & 1 == 0 {
        return compare(rest, bytes_max);
    }
    // Short inputs do not repeat themselves as JSON does.
    let message = String::from_utf8_lossy(rest).repeat(1 + usize::from(mode >> 4));
    let frame = text(&message);
    let Some(shorter) = Deflater::new(1 + (mode >> 4) % 9).compress(&frame) else { return };
    assert!(shorter.len() < frame.len() && shorter[0] == 0xC1);
    compare(payload(&shorter), message.len());
    let inflated = Inflater::default().inflate(payload(&shorter), message.len());
    assert_eq!(inflated.as_deref(), Ok(message.as_bytes()));
}

fn compare(payload: &[u8], bytes_max: usize) {
    let mut inflater = Inflater::default();
    let ours = inflater.inflate(payload, bytes_max);
    assert!(inflater.take_last().is_some_and(|last| last.bytes <= bytes_max));
    // As the server: the tail that the sender has removed, and a block that ends the stream.
    let whole = [payload, b"\x00\x00\xff\xff\x01\x00\x00\xff\xff"].concat();
    let theirs = inflate(&whole, bytes_max);
    assert_eq!(ours.ok(), theirs, "{}", payload.escape_ascii());
    // A reader that was used before decompresses the same.
    let again = inflater.inflate(payload, bytes_max);
    assert_eq!(again.ok(), theirs, "{}", payload.escape_ascii());
}
