//! Compresses frames and decompresses messages (permessage-deflate, RFC 7692 section 7.2). Each message
//! is a deflate stream of its own, so nothing is kept for a connection: one [`Deflater`] and one
//! [`Inflater`] serve all of them, and the length of a compressed event depends on no other event.
//! The negotiation is in `extensions`; which events are compressed is decided in the hub.

use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress, create_comp_flags_from_zip_params,
};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY,
    TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use super::frame::{self, Frame};
use super::violation::{BAD_DEFLATE, TOO_BIG, Violation};

/// Compresses frames. Its state takes about 320 KB from the first frame on.
pub struct Deflater {
    level: u8,
    state: Option<Box<CompressorOxide>>,
}

impl Deflater {
    /// A compressor with a level from 1 to 9.
    pub fn new(level: u8) -> Self {
        Deflater { level, state: None }
    }

    /// A whole data frame with its payload compressed, if it is shorter by more than 5 %: for less,
    /// the client would decompress for nothing.
    pub fn compress(&mut self, frame: &Frame) -> Option<Frame> {
        let payload = frame::payload(frame);
        let len_below = frame.len() - frame.len() / 20;
        // The tail is written, and not sent.
        let len_max = len_below + TAIL.len();
        let mut bytes = vec![0; frame::HEADER_MAX + len_max];
        let state = self.state();
        state.reset();
        let (status, read, written) =
            compress(state, payload, &mut bytes[frame::HEADER_MAX..], TDEFLFlush::Sync);
        let is_whole = status == TDEFLStatus::Okay && read == payload.len() && written < len_max;
        bytes.truncate(frame::HEADER_MAX + written);
        let is_flushed = is_whole && bytes.ends_with(&TAIL);
        bytes.truncate(bytes.len().saturating_sub(TAIL.len()));
        let compressed = is_flushed.then(|| frame::compressed(frame.first().copied(), bytes));
        compressed.filter(|shorter| shorter.len() < len_below)
    }

    fn state(&mut self) -> &mut CompressorOxide {
        // A negative number of window bits means a stream without a header.
        let flags = create_comp_flags_from_zip_params(self.level.into(), -15, 0);
        self.state.get_or_insert_with(|| Box::new(CompressorOxide::new(flags)))
    }
}

/// Decompresses messages. Its state takes about 11 KB from the first message on.
#[derive(Default)]
pub struct Inflater {
    state: Option<Box<DecompressorOxide>>,
    last: Option<Inflated>,
}

/// The size of a message that was decompressed, as far as it was, to count the work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Inflated {
    /// The bytes that came out.
    pub bytes: usize,
    /// The blocks of which it was compressed.
    pub blocks: usize,
}

impl Inflater {
    /// Decompresses the payload of a message. It never writes or allocates more than `bytes_max`.
    ///
    /// # Errors
    ///
    /// The data is invalid, incomplete, or longer than `bytes_max`.
    pub fn inflate(&mut self, payload: &[u8], bytes_max: usize) -> Result<Vec<u8>, Violation> {
        // JSON is seldom compressed to less than a quarter.
        let mut out = vec![0; payload.len().saturating_mul(4).max(OUTPUT_MIN).min(bytes_max)];
        let mut size = Inflated::default();
        let done = self.inflate_into(&mut out, &mut size, payload, bytes_max);
        let blocks = size.blocks.saturating_sub(APPENDED_BLOCKS);
        self.last = Some(Inflated { blocks, ..size });
        out.truncate(size.bytes);
        done.map(|()| out)
    }

    /// The size of the message of the last call. Only the first call after it returns it.
    pub fn take_last(&mut self) -> Option<Inflated> {
        self.last.take()
    }

    fn inflate_into(
        &mut self,
        out: &mut Vec<u8>,
        size: &mut Inflated,
        payload: &[u8],
        bytes_max: usize,
    ) -> Result<(), Violation> {
        let state = &mut **self.state.get_or_insert_default();
        state.init();
        let mut has_ended = false;
        for mut input in [payload, &TAIL, &END] {
            loop {
                let (status, read, written) = decompress(state, input, out, size.bytes, FLAGS);
                input = &input[read..];
                size.bytes += written;
                has_ended = status == TINFLStatus::Done;
                match status {
                    // Another stream may follow: a client may end one within a message (RFC 7692
                    // section 7.2.3.5). It may refer to what was written before.
                    TINFLStatus::Done => state.init(),
                    TINFLStatus::BlockBoundary => {}
                    TINFLStatus::HasMoreOutput if out.len() < bytes_max => {
                        let len = out.len().saturating_mul(2).min(bytes_max);
                        out.reserve_exact(len - out.len());
                        out.resize(len, 0);
                        continue;
                    }
                    TINFLStatus::HasMoreOutput if !input.is_empty() => return Err(TOO_BIG),
                    TINFLStatus::HasMoreOutput | TINFLStatus::NeedsMoreInput => {}
                    _ => return Err(BAD_DEFLATE),
                }
                size.blocks += usize::from(has_ended || status == TINFLStatus::BlockBoundary);
                if size.blocks > BLOCKS_MAX + size.bytes / BLOCK_BYTES_MIN {
                    return Err(BAD_DEFLATE);
                }
                if input.is_empty() {
                    break;
                }
            }
        }
        // The end is read as such only after a complete block.
        if has_ended { Ok(()) } else { Err(BAD_DEFLATE) }
    }
}

/// The end of each message, an empty block: the sender removes it, and the receiver appends it (RFC
/// 7692 section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
/// An empty block that ends the stream. It is appended to find out whether the data before it is
/// complete.
const END: [u8; 5] = [1, 0, 0, 0xFF, 0xFF];
/// The output is one slice, so it is also the window.
const FLAGS: u32 = TINFL_FLAG_HAS_MORE_INPUT
    | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF
    | TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY;
/// A block costs up to 10 µs, for the tables of its codes, and an empty one has ten bits: a message of
/// 10 KB could take 80 ms and contain nothing. A message may have this many blocks, and one more for
/// each [`BLOCK_BYTES_MIN`] bytes that come out. zlib with the least memory makes a block of 127 bytes,
/// and libraries that send a message in fragments make two for each.
const BLOCKS_MAX: usize = 64;
const BLOCK_BYTES_MIN: usize = 120;
/// The blocks of [`TAIL`] and [`END`], which take no time.
const APPENDED_BLOCKS: usize = 2;
/// The first allocation, for short messages.
const OUTPUT_MIN: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::websocket::{binary, text};

    fn order(lines: usize) -> String {
        let line = |n| format!(r#"{{\"id\":{n},\"sku\":\"SKU-{}\",\"quantity\":1}},"#, n * 7919);
        let lines: String = (0..lines).map(line).collect();
        format!(r#"{{"event":"OrderShipped","data":"{{\"lines\":[{lines}]}}","channel":"orders"}}"#)
    }

    fn inflate(payload: &[u8], bytes_max: usize) -> Result<String, u16> {
        let inflated = Inflater::default().inflate(payload, bytes_max);
        inflated.map(|bytes| String::from_utf8(bytes).unwrap()).map_err(|error| error.code)
    }

    #[test]
    fn what_is_compressed_is_decompressed() {
        let mut deflater = Deflater::new(1);
        let mut inflater = Inflater::default();
        for lines in [3, 40, 2, 4_000] {
            let message = order(lines);
            let frame = text(&message);
            let compressed = deflater.compress(&frame).unwrap();
            assert!(compressed.len() < frame.len() * 3 / 4, "{lines}");
            assert_eq!(compressed[0], 0xC1);
            let payload = frame::payload(&compressed);
            assert_eq!(inflater.inflate(payload, message.len()).unwrap(), message.as_bytes());
            assert_eq!(inflater.take_last().map(|last| last.bytes), Some(message.len()));
            assert_eq!(inflater.take_last(), None);
            assert_eq!(inflate(payload, message.len() - 1), Err(1009));
        }
    }

    #[test]
    fn a_frame_that_hardly_becomes_shorter_is_not_compressed() {
        let mut state = 1_u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let noise: Vec<u8> = (0..2_000).map(|_| random()).collect();
        let mut deflater = Deflater::new(1);
        assert_eq!(deflater.compress(&text("{}")), None);
        let compressed = deflater.compress(&binary(&noise));
        assert_eq!(compressed.map(|shorter| shorter.len()), None);
        // Of these, 3 % and 9 % repeat one byte.
        let noise: Vec<u8> = (0..20_000).map(|_| random()).collect();
        for (repeated, is_compressed) in [(600, false), (2_000, true)] {
            let message = [&noise[..], &vec![b'x'; repeated]].concat();
            assert_eq!(deflater.compress(&binary(&message)).is_some(), is_compressed, "{repeated}");
        }
    }

    /// The examples of RFC 7692 section 7.2.3.
    #[test]
    fn all_forms_of_blocks_are_decompressed() {
        for payload in [
            &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00][..],
            &[0x00, 0x05, 0x00, 0xFA, 0xFF, b'H', b'e', b'l', b'l', b'o', 0x00],
            // A stream that ends, and an empty block after it.
            &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00],
            &[0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00],
        ] {
            assert_eq!(inflate(payload, 5).as_deref(), Ok("Hello"), "{payload:x?}");
        }
        assert_eq!(inflate(&[0], 0).as_deref(), Ok(""));
    }

    #[test]
    fn invalid_and_incomplete_data_is_rejected() {
        let hello = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
        for len in 0..hello.len() {
            assert_eq!(inflate(&hello[..len], 100), Err(1007), "{len}");
        }
        // A reserved kind of block; a distance beyond the beginning.
        assert_eq!(inflate(&[0x07, 0x00], 100), Err(1007));
        assert_eq!(inflate(&[0x4B, 0x04, 0x22, 0x00], 100), Err(1007));
    }

    #[test]
    fn a_message_of_empty_blocks_is_rejected_soon() {
        // Empty blocks with the fixed codes: 0, the kind 1 in two bits, and the end in seven.
        let blocks = [0b10, 0b1000, 0b10_0000, 0b1000_0000, 0].repeat(2_000);
        let mut inflater = Inflater::default();
        assert_eq!(inflater.inflate(&blocks, 10_000), Err(BAD_DEFLATE));
        assert_eq!(
            inflater.take_last(),
            Some(Inflated { bytes: 0, blocks: BLOCKS_MAX + 1 - APPENDED_BLOCKS })
        );
        assert_eq!(inflate(&[&blocks[..5], &[0]].concat(), 100).as_deref(), Ok(""));
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let bomb = Deflater::new(9).compress(&text(&"a".repeat(10_000_000))).unwrap();
        let mut inflater = Inflater::default();
        let error = inflater.inflate(frame::payload(&bomb), 10_000).unwrap_err();
        assert_eq!((error, inflater.take_last().unwrap().bytes), (TOO_BIG, 10_000));
    }
}
