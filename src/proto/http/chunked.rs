//! Chunked bodies as they arrive, each byte looked at once. Nothing here knows a header.

use super::{HttpError, body_too_large};
use crate::proto::snapshot::{Codec, DecodeError, DecodeResult};

/// Decodes a chunked body (RFC 9112 section 7.1) from bytes cut at any point.
#[derive(Debug)]
pub struct Chunked {
    state: ChunkState,
    /// Whether the last byte was a CR.
    carriage_return: bool,
    /// Bytes of extensions and trailers so far, which are read past.
    ignored: usize,
}

#[derive(Debug, Clone, Copy)]
enum ChunkState {
    /// In the digits of a size; how many there were, at most 8.
    Size {
        size: usize,
        digits: u8,
    },
    /// Behind the digits, up to the end of the line; whether an extension has begun.
    Extension {
        size: usize,
        named: bool,
    },
    Data {
        left: usize,
    },
    /// The line end after the data.
    DataEnd,
    /// In a trailer; whether its line has a character yet.
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
    /// Takes bytes from the front of `input` and appends what they carry to `body`. Says how many
    /// it took; the body is whole when [`Chunked::is_done`] says so.
    ///
    /// # Errors
    ///
    /// 400 for what is no chunk; 413 when the body would be longer than `body_max` bytes, with
    /// the text of [`body_too_large`].
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

    /// Writes down how far it is, or reads it.
    ///
    /// # Errors
    ///
    /// What is read is cut.
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

    /// Takes a byte of a line. Every line ends with CR and LF, neither alone: what another server
    /// in front might take for the end of a line must not be another one here.
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
        // Sizes of a byte each would let six bytes of framing through for one of body for ever;
        // that is bounded by `body_max`. What carries no body has a bound of its own.
        if matches!(self.state, ChunkState::Extension { .. } | ChunkState::Trailer { .. }) {
            self.ignored += 1;
            if self.ignored > IGNORED_MAX.max(body_max) {
                return Err(bad());
            }
        }
        Ok(())
    }
}

/// Bytes of chunk extensions and trailers a request may have, beyond a body's worth.
const IGNORED_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_body_is_the_same_wherever_it_is_cut() {
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
    fn a_size_that_exceeds_all_numbers_with_what_came_before_it_is_too_large() {
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
    fn chunks_that_are_none_or_too_long_are_refused() {
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
