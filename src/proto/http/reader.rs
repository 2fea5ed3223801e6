//! Decodes HTTP/1 responses (RFC 9112) as they arrive, for the requests that this server sends
//! itself: to webhooks, and those of the commands. Responses to clients are in `response`.
//!
//! The beginning of a body is kept, the rest is skipped within a limit.

use super::{Chunked, is, is_token, tokens};

/// Decodes one response from bytes cut at any point.
pub struct ResponseReader {
    stage: Stage,
    /// The bytes of the head.
    head: Vec<u8>,
    /// The bytes of the body so far.
    body_bytes: usize,
    /// The first bytes of the body, at most `kept_max`.
    body: Vec<u8>,
    kept_max: usize,
    /// The most bytes of the body since the last [`ResponseReader::take_body`].
    body_max: usize,
    /// The status and reason once the head is complete.
    status: Option<(u16, String)>,
    /// Whether the connection can be used for another request after this response.
    keep_alive: bool,
}

enum Stage {
    Head,
    Length(usize),
    Chunked(Chunked),
    /// The body ends with the connection.
    UntilEnd,
    Done,
}

impl ResponseReader {
    /// A reader that keeps this many bytes of the body.
    pub fn new(kept_max: usize) -> Self {
        ResponseReader {
            stage: Stage::Head,
            head: Vec::new(),
            body_bytes: 0,
            body: Vec::new(),
            kept_max,
            body_max: BODY_BYTES_MAX,
            status: None,
            keep_alive: false,
        }
    }

    /// A reader for a body of any length, whose bytes the caller takes with
    /// [`ResponseReader::take_body`] after each call of [`ResponseReader::receive`].
    pub fn endless() -> Self {
        ResponseReader { body_max: ENDLESS_BYTES_MAX, ..ResponseReader::new(ENDLESS_BYTES_MAX) }
    }

    /// Decodes bytes. The response is complete once [`ResponseReader::is_done`] returns true; bytes
    /// after its end are discarded, and the connection cannot be used for another request.
    ///
    /// # Errors
    ///
    /// The bytes are not a response, or more than is accepted: [`HEAD_BYTES_MAX`],
    /// [`BODY_BYTES_MAX`], or more for an endless reader. The text continues a sentence about the
    /// server.
    pub fn receive(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            let read = match &mut self.stage {
                Stage::Done => {
                    self.keep_alive = false;
                    return Ok(());
                }
                Stage::Head => self.read_head(bytes)?,
                Stage::Length(left) => {
                    let len = bytes.len().min(*left);
                    *left -= len;
                    if *left == 0 {
                        self.stage = Stage::Done;
                    }
                    self.keep(&bytes[..len]);
                    len
                }
                Stage::Chunked(chunked) => {
                    let mut content = Vec::new();
                    let left = self.body_max.saturating_sub(self.body_bytes);
                    let read = chunked.decode(bytes, &mut content, left);
                    let read = read.map_err(|error| match error.status {
                        413 => too_long(),
                        _ => "its response has an invalid chunk".to_owned(),
                    })?;
                    if chunked.is_done() {
                        self.stage = Stage::Done;
                    }
                    self.keep(&content);
                    read
                }
                Stage::UntilEnd => {
                    self.keep(bytes);
                    bytes.len()
                }
            };
            if self.body_bytes > self.body_max {
                return Err(too_long());
            }
            bytes = &bytes[read..];
        }
        Ok(())
    }

    /// Ends the response, because the server has closed the connection.
    ///
    /// # Errors
    ///
    /// The response is incomplete.
    pub fn end(&mut self) -> Result<(), String> {
        self.keep_alive = false;
        match self.stage {
            Stage::UntilEnd | Stage::Done => {
                self.stage = Stage::Done;
                Ok(())
            }
            Stage::Head if self.head.is_empty() => {
                Err("it closed the connection without a response".to_owned())
            }
            _ => Err("it closed the connection in the middle of its response".to_owned()),
        }
    }

    /// Whether the response is complete.
    pub fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    /// Whether nothing of a response has arrived.
    pub fn is_empty(&self) -> bool {
        matches!(self.stage, Stage::Head) && self.head.is_empty()
    }

    /// The status code, once the head is complete.
    pub fn status(&self) -> Option<u16> {
        self.status.as_ref().map(|(status, _)| *status)
    }

    /// The text after the status code; empty before the head is complete.
    pub fn reason(&self) -> &str {
        self.status.as_ref().map_or("", |(_, reason)| reason)
    }

    /// The bytes of the head.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// The bytes of the body that were kept.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Takes the bytes of the body that were kept since the last call. The limits then apply to the
    /// bytes that follow.
    pub fn take_body(&mut self) -> Vec<u8> {
        self.body_bytes = 0;
        std::mem::take(&mut self.body)
    }

    /// Whether the connection can be used for another request, once the response is complete.
    pub fn keeps_alive(&self) -> bool {
        self.keep_alive && self.is_done()
    }

    /// Reads bytes of the head. Returns how many of `bytes` belong to it.
    fn read_head(&mut self, bytes: &[u8]) -> Result<usize, String> {
        let before = self.head.len();
        let room = HEAD_BYTES_MAX - before;
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.check_beginning()?;
        // A head can only become complete with a line end. Without this check, a head that arrives
        // byte by byte would be parsed once for each byte.
        if !self.head[before..].contains(&b'\n') {
            return match self.head.len() < HEAD_BYTES_MAX {
                true => Ok(bytes.len()),
                false => Err(head_too_long()),
            };
        }
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let len = match response.parse(&self.head) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) if self.head.len() < HEAD_BYTES_MAX => {
                return Ok(bytes.len());
            }
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                return Err(head_too_long());
            }
            Err(_) => return Err(NOT_HTTP.to_owned()),
        };
        let status = response.code.filter(|status| *status >= 100);
        let (Some(status), Some(minor)) = (status, response.version) else {
            return Err(NOT_HTTP.to_owned());
        };
        let framing = Framing::of(response.headers, minor)?;
        let reason = response.reason.unwrap_or_default().to_owned();
        // Interim responses, such as 100 and 103, precede the final one. 101 is final.
        if matches!(status, 100 | 102..=199) {
            self.head = Vec::new();
            return Ok(len - before);
        }
        self.head.truncate(len);
        self.keep_alive = framing.keep_alive;
        self.stage = framing.stage(status, self.body_max)?;
        self.status = Some((status, reason));
        Ok(len - before)
    }

    /// Fails as soon as the bytes cannot be a response, so that a server of another protocol is
    /// detected without waiting for a line end.
    fn check_beginning(&self) -> Result<(), String> {
        let len = self.head.len().min(BEGINNING.len());
        match self.head[..len] == BEGINNING[..len] {
            true => Ok(()),
            false => Err(NOT_HTTP.to_owned()),
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.body_bytes += bytes.len();
        let room = self.kept_max - self.body.len();
        self.body.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// What the headers say about the end of the response.
struct Framing {
    length: Option<u64>,
    is_chunked: bool,
    keep_alive: bool,
}

impl Framing {
    fn of(headers: &[httparse::Header<'_>], minor: u8) -> Result<Self, String> {
        let mut framing = Framing { length: None, is_chunked: false, keep_alive: minor == 1 };
        let mut closes = false;
        for header in headers {
            if is(header.name, "content-length") {
                framing.content_length(header.value)?;
            } else if is(header.name, "transfer-encoding") {
                // Another coding was not requested. Its end is unknown, unless chunked is the last.
                let last = tokens(header.value).last().unwrap_or_default();
                framing.is_chunked = is_token(last, "chunked");
                closes |= !framing.is_chunked;
            } else if is(header.name, "connection") {
                for token in tokens(header.value) {
                    closes |= is_token(token, "close");
                    framing.keep_alive |= is_token(token, "keep-alive");
                }
            }
        }
        // A length besides chunks, or chunks in HTTP/1.0, is an error of the server or an attack on a
        // proxy.
        closes |= framing.is_chunked && (framing.length.is_some() || minor == 0);
        framing.keep_alive &= !closes;
        Ok(framing)
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), String> {
        let bad = || "the Content-Length of its response is not a length".to_owned();
        let length = super::length(value).ok_or_else(bad)?;
        match self.length.replace(length) {
            Some(before) if before != length => Err(bad()),
            _ => Ok(()),
        }
    }

    /// The stage after the head.
    fn stage(&self, status: u16, body_max: usize) -> Result<Stage, String> {
        Ok(match (self.is_chunked, self.length) {
            _ if matches!(status, 204 | 304) => Stage::Done,
            _ if status == 101 => Stage::UntilEnd,
            (true, _) => Stage::Chunked(Chunked::default()),
            (false, Some(0)) => Stage::Done,
            (false, Some(length)) => match usize::try_from(length) {
                Ok(length) if length <= body_max => Stage::Length(length),
                _ => return Err(too_long()),
            },
            (false, None) => Stage::UntilEnd,
        })
    }
}

fn head_too_long() -> String {
    format!("the head of its response is over {HEAD_BYTES_MAX} bytes or {HEADERS_MAX} headers")
}

fn too_long() -> String {
    format!("the body of its response is over {BODY_BYTES_MAX} bytes")
}

const NOT_HTTP: &str = "its response is not HTTP/1";
/// How every response begins.
const BEGINNING: &[u8] = b"HTTP/1.";
/// The most bytes of a head. Those of frameworks with cookies and security headers have up to 4 KiB.
pub const HEAD_BYTES_MAX: usize = 16_384;
/// The most headers of a response.
const HEADERS_MAX: usize = 100;
/// The most bytes of a body. An error page of a framework in debug mode may have several hundred
/// KiB.
pub const BODY_BYTES_MAX: usize = 1_048_576;
/// The most bytes of one chunk of an endless body, or of one with a `Content-Length`: as many as fit in
/// an `int`. The reader does not store a chunk as a whole.
const ENDLESS_BYTES_MAX: usize = 0x7FFF_FFFF;

#[cfg(test)]
mod tests {
    use super::*;

    /// The reader after this response, in pieces of this length, and the error.
    fn read_in(text: &str, piece: usize) -> (ResponseReader, Result<(), String>) {
        let mut reader = ResponseReader::new(16);
        let result = text.as_bytes().chunks(piece).try_for_each(|piece| reader.receive(piece));
        (reader, result)
    }

    #[track_caller]
    fn read(text: &str) -> ResponseReader {
        let (reader, result) = read_in(text, usize::MAX);
        result.unwrap();
        reader
    }

    #[track_caller]
    fn refused(text: &str) -> String {
        read_in(text, usize::MAX).1.unwrap_err()
    }

    #[test]
    fn a_response_is_the_same_wherever_it_is_split() {
        let head = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 All right\r\n";
        for body in [
            "Content-Length: 5\r\n\r\nhello",
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ] {
            let text = format!("{head}{body}");
            for piece in 1..text.len() {
                let (reader, result) = read_in(&text, piece);
                assert_eq!(result, Ok(()));
                assert!(reader.is_done() && reader.keeps_alive(), "{text:?} in pieces of {piece}");
                assert_eq!((reader.status(), reader.reason()), (Some(200), "All right"));
                assert_eq!(reader.body(), b"hello");
            }
            let mut reader = read(&text[..text.len() - 1]);
            assert!(!reader.is_done());
            assert!(reader.end().unwrap_err().contains("in the middle"));
        }
    }

    #[test]
    fn a_response_without_a_length_ends_with_the_connection() {
        let mut reader = read("HTTP/1.0 500 Oops\r\n\r\n0123456789abcdefghij");
        assert_eq!((reader.status(), reader.is_done()), (Some(500), false));
        assert_eq!(reader.end(), Ok(()));
        assert!(reader.is_done() && !reader.keeps_alive());
        assert_eq!(reader.body(), b"0123456789abcdef", "only the first bytes are kept");
    }

    #[test]
    fn responses_without_a_body_are_complete_after_the_head() {
        for head in ["HTTP/1.1 204 No Content\r\n", "HTTP/1.1 304 X\r\nContent-Length: 9\r\n"] {
            assert!(read(&format!("{head}\r\n")).keeps_alive(), "{head}");
        }
        assert!(read("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n").keeps_alive());
    }

    #[test]
    fn the_connection_is_kept_only_if_both_sides_agree_where_the_response_ends() {
        let keeps = |head: &str| read(&format!("{head}Content-Length: 0\r\n\r\n")).keeps_alive();
        assert!(keeps("HTTP/1.1 200 OK\r\n"));
        assert!(!keeps("HTTP/1.0 200 OK\r\n"));
        assert!(keeps("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n"));
        assert!(!keeps("HTTP/1.1 200 OK\r\nConnection: Close\r\n"));
        assert!(!read("HTTP/1.1 204 X\r\n\r\nHTTP/1.1 200 OK\r\n\r\n").keeps_alive());
        let both =
            "HTTP/1.1 200 X\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        assert!(read(both).is_done() && !read(both).keeps_alive());
    }

    #[test]
    fn the_reason_why_a_response_is_refused_is_given() {
        assert!(refused("SSH-2.0-OpenSSH_9.6\r\n").contains("not HTTP"));
        assert!(refused("\u{16}\u{3}\u{1}").contains("not HTTP"), "without a line end");
        assert!(refused("HTTP/2 200\r\n\r\n").contains("not HTTP"));
        assert!(refused("HTTP/1.1 200 X\r\nContent-Length: +1\r\n\r\n").contains("not a length"));
        let two = "HTTP/1.1 200 X\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
        assert!(refused(two).contains("not a length"));
        let chunk = "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n";
        assert!(refused(chunk).contains("invalid chunk"));
    }

    #[test]
    fn an_endless_response_is_taken_in_pieces() {
        let head = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk = format!("200000\r\n{}\r\n", "x".repeat(0x20_0000));
        let (mut reader, mut bytes) = (ResponseReader::endless(), 0);
        reader.receive(head).unwrap();
        for piece in [chunk.as_bytes(), chunk.as_bytes()].concat().chunks(10_000) {
            reader.receive(piece).unwrap();
            let body = reader.take_body();
            assert!(body.len() <= piece.len());
            bytes += body.len();
        }
        assert_eq!((bytes, reader.is_done()), (0x40_0000, false));
        reader.receive(b"0\r\n\r\n").unwrap();
        assert!(reader.is_done());
    }

    #[test]
    fn what_is_too_long_is_refused() {
        assert!(
            refused(&format!("HTTP/1.1 200 {}", "x".repeat(20_000))).contains("over 16384 bytes")
        );
        let headers = "X: y\r\n".repeat(101);
        assert!(refused(&format!("HTTP/1.1 200 X\r\n{headers}\r\n")).contains("100 headers"));
        // The second does not fit into 32 bits.
        for length in ["1048577", "4294967297"] {
            let long = format!("HTTP/1.1 200 X\r\nContent-Length: {length}\r\n\r\n");
            assert!(refused(&long).contains("over 1048576 bytes"), "{length}");
        }
        let chunk = "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n";
        assert!(refused(chunk).contains("over 1048576 bytes"));
        let rest = "x".repeat(1_048_577);
        assert!(refused(&format!("HTTP/1.1 200 X\r\n\r\n{rest}")).contains("over 1048576 bytes"));
    }
}
