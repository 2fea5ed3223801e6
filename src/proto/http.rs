//! HTTP/1 requests from bytes, responses to bytes (RFC 9112).
//!
//! A [`Head`] borrows the bytes it was parsed from and says how the body is framed; whoever holds
//! the bytes waits for the rest. [`Chunked`] decodes a chunked body as it arrives, each byte once.
//! Nothing here knows a route or a signature.

use crate::proto::websocket::Frame;

/// The first line and headers of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// As sent; compare without regard to case.
    pub method: &'a str,
    /// The path as sent, percent-encoding kept, without scheme and authority.
    pub path: &'a str,
    /// What follows the first `?`; empty when there is none.
    pub query: &'a str,
    /// The minor version of HTTP/1.
    pub minor: u8,
    /// How the body is framed.
    pub body: Body,
    /// Whether the client lets the connection be used again.
    pub keep_alive: bool,
    /// Whether the client waits for a `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Whether the client asks for a WebSocket: `Upgrade` names it and `Connection` the upgrade.
    pub websocket: bool,
    /// `Sec-WebSocket-Key`.
    pub websocket_key: Option<&'a [u8]>,
    /// `Sec-WebSocket-Version`.
    pub websocket_version: Option<&'a [u8]>,
    /// `Origin`.
    pub origin: Option<&'a str>,
}

/// How the body of a request is framed (RFC 9112 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// This many bytes follow the head.
    Length(usize),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// Why a request cannot be served, and what the client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The status.
    pub status: u16,
    /// One sentence for the body.
    pub text: String,
}

impl Reject {
    /// A refusal with this status and sentence.
    pub fn new(status: u16, text: impl Into<String>) -> Self {
        Reject { status, text: text.into() }
    }
}

/// Parses the head at the front of `bytes`; `None` when it has not arrived whole. With it comes
/// its length in bytes.
///
/// # Errors
///
/// What is wrong with it: 400, 431 when it is longer than `bytes_max` or has more than 64
/// headers, 501 for a transfer coding other than chunked, 505 for a version other than 1.
pub fn parse(bytes: &[u8], bytes_max: usize) -> Result<Option<(Head<'_>, usize)>, Reject> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let len = match request.parse(bytes) {
        Ok(httparse::Status::Complete(len)) if len <= bytes_max => len,
        Ok(httparse::Status::Partial) if bytes.len() <= bytes_max => return Ok(None),
        Ok(_) => return Err(too_long(bytes_max)),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Reject::new(431, format!("More than {HEADERS_MAX} headers.")));
        }
        Err(httparse::Error::Version) => return Err(Reject::new(505, "HTTP/1 is spoken here.")),
        Err(error) => return Err(Reject::new(400, format!("Bad request: {error}."))),
    };
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Err(Reject::new(400, "Bad request."));
    };
    let (path, query) = split_target(target);
    let mut head = Head {
        method,
        path,
        query,
        minor,
        body: Body::Length(0),
        keep_alive: minor == 1,
        expects_continue: false,
        websocket: false,
        websocket_key: None,
        websocket_version: None,
        origin: None,
    };
    Framing::default().read(request.headers, &mut head)?;
    Ok(Some((head, len)))
}

/// The origin form of a request target; a proxy may have sent the absolute form.
fn split_target(target: &str) -> (&str, &str) {
    let origin_form = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => target,
    };
    origin_form.split_once('?').unwrap_or((origin_form, ""))
}

/// What must be known of all headers before the body's framing is decided.
#[derive(Default)]
struct Framing {
    length: Option<usize>,
    chunked: bool,
    upgrade_named: bool,
    websocket_named: bool,
}

impl Framing {
    fn read<'a>(
        mut self,
        headers: &[httparse::Header<'a>],
        head: &mut Head<'a>,
    ) -> Result<(), Reject> {
        for header in headers {
            self.header(header.name, header.value, head)?;
        }
        if self.chunked && (self.length.is_some() || head.minor == 0) {
            return Err(Reject::new(400, "Bad request: the length of the body is ambiguous."));
        }
        head.body =
            if self.chunked { Body::Chunked } else { Body::Length(self.length.unwrap_or(0)) };
        head.websocket = self.upgrade_named && self.websocket_named;
        Ok(())
    }

    fn header<'a>(
        &mut self,
        name: &str,
        value: &'a [u8],
        head: &mut Head<'a>,
    ) -> Result<(), Reject> {
        // Lengths first: most headers are none of ours, and are passed by one comparison.
        match name.len() {
            6 if is(name, "origin") => head.origin = std::str::from_utf8(value).ok(),
            6 if is(name, "expect") => {
                head.expects_continue = value.eq_ignore_ascii_case(b"100-continue");
            }
            7 if is(name, "upgrade") => {
                self.websocket_named |= tokens(value).any(|t| is_token(t, "websocket"));
            }
            10 if is(name, "connection") => {
                for token in tokens(value) {
                    self.upgrade_named |= is_token(token, "upgrade");
                    head.keep_alive |= is_token(token, "keep-alive");
                }
                // `close` wins over whatever else the list says.
                head.keep_alive &= !tokens(value).any(|t| is_token(t, "close"));
            }
            14 if is(name, "content-length") => self.content_length(value)?,
            17 if is(name, "transfer-encoding") => {
                if !value.eq_ignore_ascii_case(b"chunked") || self.chunked {
                    return Err(Reject::new(501, "The only transfer coding known is chunked."));
                }
                self.chunked = true;
            }
            17 if is(name, "sec-websocket-key") => head.websocket_key = Some(value),
            21 if is(name, "sec-websocket-version") => head.websocket_version = Some(value),
            _ => {}
        }
        Ok(())
    }

    /// Digits alone, and the same each time it is given (RFC 9112 section 6.3).
    fn content_length(&mut self, value: &[u8]) -> Result<(), Reject> {
        let bad = || Reject::new(400, "Bad request: Content-Length is not a length.");
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(bad());
        }
        let length =
            std::str::from_utf8(value).ok().and_then(|v| v.parse().ok()).ok_or_else(bad)?;
        match self.length.replace(length) {
            Some(before) if before != length => Err(bad()),
            _ => Ok(()),
        }
    }
}

fn is(name: &str, lower_case: &str) -> bool {
    name.eq_ignore_ascii_case(lower_case)
}

fn is_token(token: &[u8], lower_case: &str) -> bool {
    token.eq_ignore_ascii_case(lower_case.as_bytes())
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii)
}

fn too_long(bytes_max: usize) -> Reject {
    let limit = "limits.request_head_bytes";
    Reject::new(431, format!("Request head too large: the limit is {bytes_max} bytes ({limit})."))
}

/// The most headers of a request; browsers send about twenty.
const HEADERS_MAX: usize = 64;

/// Decodes a chunked body (RFC 9112 section 7.1) from bytes cut at any point.
#[derive(Debug)]
pub struct Chunked {
    state: ChunkState,
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
    /// Behind the digits, up to the end of the line.
    Extension {
        size: usize,
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
        Chunked { state: ChunkState::Size { size: 0, digits: 0 }, ignored: 0 }
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
    ) -> Result<usize, Reject> {
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

    fn line_byte(&mut self, byte: u8, body_len: usize, body_max: usize) -> Result<(), Reject> {
        let bad = || Reject::new(400, "Bad request: not a chunked body.");
        self.state = match (self.state, byte) {
            (ChunkState::Size { size, digits }, _) if byte.is_ascii_hexdigit() && digits < 8 => {
                let digit = (byte as char).to_digit(16).ok_or_else(bad)? as usize;
                ChunkState::Size { size: size << 4 | digit, digits: digits + 1 }
            }
            (ChunkState::Size { digits: 0, .. }, _) => return Err(bad()),
            (ChunkState::Size { size, .. } | ChunkState::Extension { size }, b'\n') => {
                if body_len + size > body_max {
                    return Err(body_too_large(body_len + size, body_max));
                }
                match size {
                    0 => ChunkState::Trailer { blank: true },
                    left => ChunkState::Data { left },
                }
            }
            (ChunkState::Size { size, .. }, b'\r' | b';' | b' ' | b'\t') => {
                ChunkState::Extension { size }
            }
            (ChunkState::Size { .. }, _) => return Err(bad()),
            (ChunkState::Extension { size }, _) => ChunkState::Extension { size },
            (ChunkState::DataEnd, b'\r') => ChunkState::DataEnd,
            (ChunkState::DataEnd, b'\n') => ChunkState::Size { size: 0, digits: 0 },
            (ChunkState::DataEnd, _) => return Err(bad()),
            (ChunkState::Trailer { blank: true }, b'\n') => ChunkState::Done,
            (ChunkState::Trailer { .. }, b'\n') => ChunkState::Trailer { blank: true },
            (ChunkState::Trailer { blank }, b'\r') => ChunkState::Trailer { blank },
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

/// The refusal of a request that is too long as a whole.
pub fn body_too_large(bytes: usize, bytes_max: usize) -> Reject {
    let text = format!(
        "Payload too large: {bytes} bytes, the limit is {bytes_max} (max_request_size; \
         REVERB_MAX_REQUEST_SIZE)."
    );
    Reject::new(413, text)
}

/// A response, before it is bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The body's media type.
    pub content_type: &'static str,
    /// A header of this status alone, as `("Allow", "GET")`.
    pub header: Option<(&'static str, &'static str)>,
    /// The body.
    pub body: String,
}

impl Response {
    /// A JSON answer.
    pub fn json(status: u16, body: impl Into<String>) -> Self {
        let content_type = "application/json";
        Response { status, content_type, header: None, body: body.into() }
    }

    /// A sentence for a person.
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        let content_type = "text/plain; charset=utf-8";
        Response { status, content_type, header: None, body: body.into() }
    }

    /// The same with a header.
    pub fn with_header(mut self, name: &'static str, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }

    /// The bytes. A `HEAD` request is answered `without_body`; `connection` is the value of that
    /// header, where one is due; `date` is the time as [`date`] writes it.
    pub fn encode(&self, without_body: bool, connection: Option<&str>, date: &str) -> Frame {
        let (status, reason) = (self.status, reason(self.status));
        let mut text = String::with_capacity(192 + self.body.len());
        text.push_str("HTTP/1.1 ");
        push_number(&mut text, status.into());
        for part in [" ", reason, "\r\nDate: ", date, "\r\nContent-Type: ", self.content_type] {
            text.push_str(part);
        }
        text.push_str("\r\nCache-Control: no-cache, private\r\nContent-Length: ");
        push_number(&mut text, self.body.len());
        let connection = connection.map(|value| ("Connection", value));
        for (name, value) in self.header.into_iter().chain(connection) {
            for part in ["\r\n", name, ": ", value] {
                text.push_str(part);
            }
        }
        text.push_str("\r\n\r\n");
        if !without_body {
            text.push_str(&self.body);
        }
        text.into_bytes().into()
    }
}

impl From<Reject> for Response {
    fn from(reject: Reject) -> Self {
        Response::text(reject.status, reject.text)
    }
}

fn push_number(text: &mut String, number: usize) {
    use std::fmt::Write;
    write!(text, "{number}").expect("writing to a String cannot fail");
}

/// What answers a client that waits before it sends its body.
pub fn continue_frame() -> Frame {
    Frame::from(&b"HTTP/1.1 100 Continue\r\n\r\n"[..])
}

/// The answer that makes a connection a WebSocket (RFC 6455 section 4.2.2), in Reverb's order.
pub fn switching_protocols(key: &[u8]) -> Frame {
    let accept = tungstenite::handshake::derive_accept_key(key);
    let text = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nX-Powered-By: Laravel Reverb\r\n\r\n"
    );
    text.into_bytes().into()
}

/// Whether this is the base64 of 16 bytes: 22 digits and two signs of padding.
pub fn is_websocket_key(key: &[u8]) -> bool {
    let digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    key.len() == 24 && key[..22].iter().all(digit) && &key[22..] == b"=="
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}

/// A time as HTTP writes it (RFC 9110 section 5.6.7): `Mon, 23 Nov 2026 16:15:33 GMT`.
pub fn date(unix_s: u64) -> String {
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    // Days since 1 March 0000, so that the leap day is the last day of its year; an era is the
    // 146,097 days of 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = (month + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][(days % 7) as usize];
    let month =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
            [month as usize];
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Head<'_>, u16> {
        match parse(text.as_bytes(), 16_384) {
            Ok(Some((head, len))) => {
                assert_eq!(len, text.len());
                Ok(head)
            }
            Ok(None) => panic!("incomplete"),
            Err(reject) => Err(reject.status),
        }
    }

    #[test]
    fn a_head_is_incomplete_until_its_last_byte() {
        let text = "POST /apps/1/events?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n";
        for len in 0..text.len() {
            assert_eq!(parse(&text.as_bytes()[..len], 16_384), Ok(None));
        }
        let head = head(text).unwrap();
        assert_eq!((head.method, head.path, head.query), ("POST", "/apps/1/events", "a=b"));
        assert_eq!(head.body, Body::Length(12));
        assert!(head.keep_alive && !head.websocket);
    }

    #[test]
    fn an_absolute_target_is_read_as_its_path() {
        assert_eq!(head("GET http://h:1/up?x HTTP/1.1\r\n\r\n").unwrap().path, "/up");
        assert_eq!(head("GET /a?u=http://h/ HTTP/1.1\r\n\r\n").unwrap().path, "/a");
        assert_eq!(head("GET http://h HTTP/1.1\r\n\r\n").unwrap().path, "/");
    }

    #[test]
    fn keep_alive_follows_the_version_and_the_header() {
        let keeps = |text| head(text).unwrap().keep_alive;
        assert!(keeps("GET / HTTP/1.1\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.0\r\n\r\n"));
        assert!(keeps("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.1\r\nConnection: keep-alive, Close\r\n\r\n"));
        assert!(keeps("GET / HTTP/1.1\r\nConnection: Upgrade\r\n\r\n"));
    }

    #[test]
    fn a_websocket_needs_both_headers_with_their_tokens() {
        let asks = |headers: &str| {
            let text = format!("GET / HTTP/1.1\r\n{headers}\r\n");
            head(&text).unwrap().websocket
        };
        assert!(asks("Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"));
        assert!(asks("Connection: upgrade\r\nUpgrade: h2c, websocket\r\n"));
        assert!(!asks("Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n"));
        assert!(!asks("Connection: Upgrade\r\n"));
        assert!(!asks("Upgrade: websocket\r\n"));
    }

    #[test]
    fn an_ambiguous_length_is_refused() {
        for headers in [
            "Content-Length: 1\r\nContent-Length: 2\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: \r\n",
            "Content-Length: 99999999999999999999999\r\n",
        ] {
            assert_eq!(head(&format!("POST / HTTP/1.1\r\n{headers}\r\n")), Err(400), "{headers}");
        }
        assert_eq!(head("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n"), Err(501));
        assert_eq!(head("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), Err(400));
        assert_eq!(
            head("POST / HTTP/1.1\r\nContent-Length: 7\r\nContent-Length: 7\r\n\r\n").unwrap().body,
            Body::Length(7)
        );
    }

    #[test]
    fn a_head_has_a_length_and_a_number_of_headers() {
        let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1_000));
        assert_eq!(parse(long.as_bytes(), 1_000).unwrap_err().status, 431);
        assert_eq!(parse(&long.as_bytes()[..1_001], 1_000).unwrap_err().status, 431);
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(65));
        assert_eq!(head(&many), Err(431));
        assert_eq!(head("GET / HTTP/2.0\r\n\r\n"), Err(505));
        assert_eq!(head("\u{16}\u{3}\u{1}\r\n\r\n"), Err(400));
    }

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
    fn chunks_that_are_none_or_too_long_are_refused() {
        let status = |bytes: &[u8]| {
            Chunked::default().decode(bytes, &mut Vec::new(), 10).map_err(|reject| reject.status)
        };
        assert_eq!(status(b"x\r\n"), Err(400));
        assert_eq!(status(b"\r\n"), Err(400));
        assert_eq!(status(b"123456789\r\n"), Err(400));
        assert_eq!(status(b"1\r\nab"), Err(400));
        assert_eq!(status(b"b\r\n"), Err(413));
        assert_eq!(status(&[b"1;".as_slice(), &[b'x'; 20_000]].concat()), Err(400));
    }

    #[test]
    fn a_response_has_its_length_and_its_date() {
        let response = Response::json(200, "{}");
        let bytes = response.encode(false, Some("close"), &date(1_795_450_533));
        assert_eq!(
            std::str::from_utf8(&bytes).unwrap(),
            "HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 16:15:33 GMT\r\n\
             Content-Type: application/json\r\nCache-Control: no-cache, private\r\n\
             Content-Length: 2\r\nConnection: close\r\n\r\n{}"
        );
        assert!(response.encode(true, None, "").ends_with(b"Content-Length: 2\r\n\r\n"));
    }

    #[test]
    fn dates_of_leap_years_are_right() {
        assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(date(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(date(1_709_251_199), "Thu, 29 Feb 2024 23:59:59 GMT");
        assert_eq!(date(1_735_689_599), "Tue, 31 Dec 2024 23:59:59 GMT");
    }

    #[test]
    fn a_key_is_the_base64_of_sixteen_bytes() {
        assert!(is_websocket_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        assert!(!is_websocket_key(b"dGhlIHNhbXBsZSBub25jZQ="));
        assert!(!is_websocket_key(b"dGhlIHNhbXBsZSBub25jZ!=="));
        assert!(!is_websocket_key(b""));
    }
}
