//! Decodes chunked bodies as they arrive. Headers are parsed in `http`.
//!
//! Written by hand because `httparse` parses a complete line with a chunk size only: it keeps no state
//! for bytes that are split at any point, and has no limit for extensions and trailers.

use super::{HttpError, body_too_large};
use crate::proto::snapshot::{Codec, DecodeError, DecodeResult};

/// Decodes a chunked body (RFC 9112 section 7.1) from bytes cut at any point.
#[derive(Debug)]
pub struct Chunked {
    state: ChunkState,
    /// Whether the last byte was a CR.
    carriage_return: bool,
    /// The bytes of extensions and trailers, which are skipped.
    ignored: usize,
}

#[derive(Debug, Clone, Copy)]
enum ChunkState {
    /// In the digits of a size, of which there are at most 8.
    Size {
        size: usize,
        digits: u8,
    },
    /// After the digits, up to the end of the line; `named` says whether an extension has begun.
    Extension {
        size: usize,
        named: bool,
    },
    Data {
        left: usize,
    },
    /// The line end after the data.
    DataEnd,
    /// In a trailer; `blank` says whether its line is empty so far.
    Trailer {
        blank: bool,
    },
    Done,
}

impl Default for Chunked {
    fn default() -> Self {
        Chunked {
            state: ChunkState::Size { size: 0, digits: 0 },
            carriage_return: false,
            ignored: 0,
        }
    }
}

impl Chunked {
    /// Decodes bytes of `input`, appends the content to `body`, and returns how many bytes it read.
    /// The body is complete once [`Chunked::is_done`] returns true.
    ///
    /// # Errors
    ///
    /// 400 for invalid framing; 413 with the text of [`body_too_large`] if the body would be longer
    /// than `body_max` bytes.
    pub fn decode(
        &mut self,
        input: &[u8],
        body: &mut Vec<u8>,
        body_max: usize,
    ) -> Result<usize, HttpError> {
        let mut at = 0;
        while at < input.len() && !self.is_done() {
            if let ChunkState::Data { left } = self.state {
                let len = left.min(input.len() - at);
                body.extend_from_slice(&input[at..at + len]);
                at += len;
                self.state = match left - len {
                    0 => ChunkState::DataEnd,
                    left => ChunkState::Data { left },
                };
            } else {
                self.line_byte(input[at], body.len(), body_max)?;
                at += 1;
            }
        }
        Ok(at)
    }

    /// Whether the last chunk and the trailers have ended.
    pub fn is_done(&self) -> bool {
        matches!(self.state, ChunkState::Done)
    }

    /// Saves or restores the state.
    ///
    /// # Errors
    ///
    /// The saved state is incomplete or invalid.
    pub fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        let (mut kind, mut size, mut more) = match self.state {
            ChunkState::Size { size, digits } => (0, size, digits),
            ChunkState::Extension { size, named } => (1, size, named.into()),
            ChunkState::Data { left } => (2, left, 0),
            ChunkState::DataEnd => (3, 0, 0),
            ChunkState::Trailer { blank } => (4, 0, blank.into()),
            ChunkState::Done => (5, 0, 0),
        };
        c.number(&mut kind)?;
        c.int(&mut size)?;
        c.int(&mut more)?;
        self.state = match kind {
            0 => ChunkState::Size { size, digits: more },
            1 => ChunkState::Extension { size, named: more == 1 },
            2 => ChunkState::Data { left: size },
            3 => ChunkState::DataEnd,
            4 => ChunkState::Trailer { blank: more == 1 },
            5 => ChunkState::Done,
            _ => return Err(DecodeError),
        };
        c.flag(&mut self.carriage_return)?;
        c.int(&mut self.ignored)
    }

    /// Handles a byte of a line. Every line ends with CR and LF: a proxy that treats one of them
    /// alone differently would see another request (request smuggling).
    fn line_byte(&mut self, byte: u8, body_len: usize, body_max: usize) -> Result<(), HttpError> {
        let bad = || HttpError::new(400, "Bad request: not a chunked body.");
        let ends = std::mem::replace(&mut self.carriage_return, byte == b'\r');
        if ends != (byte == b'\n') {
            return Err(bad());
        }
        self.state = match (self.state, byte) {
            (ChunkState::Size { digits: 0, .. }, b'\r') => return Err(bad()),
            (state, b'\r') => state,
            (ChunkState::Size { size, .. } | ChunkState::Extension { size, .. }, b'\n') => {
                // A chunk size of eight digits fills a `usize` of 32 bits, where a plain sum may
                // overflow.
                let bytes = body_len.saturating_add(size);
                if bytes > body_max {
                    return Err(body_too_large(bytes, body_max));
                }
                match size {
                    0 => ChunkState::Trailer { blank: true },
                    left => ChunkState::Data { left },
                }
            }
            (ChunkState::DataEnd, b'\n') => ChunkState::Size { size: 0, digits: 0 },
            (ChunkState::Trailer { blank: true }, b'\n') => ChunkState::Done,
            (ChunkState::Trailer { .. }, b'\n') => ChunkState::Trailer { blank: true },
            (ChunkState::Size { size, digits }, _) if byte.is_ascii_hexdigit() && digits < 8 => {
                let digit = (byte as char).to_digit(16).ok_or_else(bad)? as usize;
                ChunkState::Size { size: size << 4 | digit, digits: digits + 1 }
            }
            (ChunkState::Size { digits: 0, .. } | ChunkState::DataEnd, _) => return Err(bad()),
            (
                ChunkState::Size { size, .. } | ChunkState::Extension { size, named: false },
                b';' | b' ' | b'\t',
            ) => ChunkState::Extension { size, named: byte == b';' },
            (ChunkState::Extension { named: true, .. }, _) => self.state,
            (ChunkState::Size { .. } | ChunkState::Extension { .. }, _) => return Err(bad()),
            (ChunkState::Trailer { .. }, _) => ChunkState::Trailer { blank: false },
            (state @ (ChunkState::Data { .. } | ChunkState::Done), _) => state,
        };
        // `body_max` also bounds the framing of chunks, at most six bytes for each byte of the body.
        // Extensions and trailers contribute nothing to the body, so they need their own limit.
        if matches!(self.state, ChunkState::Extension { .. } | ChunkState::Trailer { .. }) {
            self.ignored = self.ignored.saturating_add(1);
            if self.ignored > IGNORED_MAX.max(body_max) {
                return Err(bad());
            }
        }
        Ok(())
    }
}

/// The limit for bytes of extensions and trailers, if `body_max` is less.
const IGNORED_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_body_is_the_same_wherever_it_is_split() {
        let bytes = b"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: x\r\n\r\nGET";
        for piece in 1..bytes.len() {
            let (mut chunked, mut body, mut taken) = (Chunked::default(), Vec::new(), 0);
            for piece in bytes.chunks(piece) {
                taken += chunked.decode(piece, &mut body, 100).unwrap();
            }
            assert!(chunked.is_done());
            assert_eq!((body.as_slice(), taken), (&b"hello world"[..], bytes.len() - 3));
        }
    }

    #[test]
    fn a_size_that_would_overflow_is_too_large() {
        // The decoder is after the digits of a chunk of the greatest size.
        let mut state = Codec::writer();
        for mut number in [1, usize::MAX as u64, 0, 0, 0] {
            state.number(&mut number).unwrap();
        }
        let mut chunked = Chunked::default();
        chunked.snapshot(&mut Codec::reader(state.into_bytes())).unwrap();
        let mut body = b"what came before".to_vec();
        let refused = chunked.decode(b"\r\n", &mut body, 1_000).unwrap_err();
        assert_eq!(refused.status, 413);
    }

    #[test]
    fn invalid_and_too_long_chunks_are_rejected() {
        let status = |bytes: &[u8]| {
            Chunked::default().decode(bytes, &mut Vec::new(), 10).map_err(|reject| reject.status)
        };
        assert_eq!(status(b"x\r\n"), Err(400));
        assert_eq!(status(b"\r\n"), Err(400));
        assert_eq!(status(b"123456789\r\n"), Err(400));
        assert_eq!(status(b"1\r\nab"), Err(400));
        assert_eq!(status(b"1 2\r\n"), Err(400));
        assert_eq!(status(b"1\nx"), Err(400));
        assert_eq!(status(b"1;\rx\r\n"), Err(400));
        assert_eq!(status(b"1\r\nx\r\r\n"), Err(400));
        assert_eq!(status(b"1 \r\na"), Ok(5));
        assert_eq!(status(b"b\r\n"), Err(413));
        assert_eq!(status(&[b"1;".as_slice(), &[b'x'; 20_000]].concat()), Err(400));
    }
}
