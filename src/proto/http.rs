//! Decodes HTTP/1 requests and encodes responses (RFC 9112), and decodes the responses of other
//! servers.
//!
//! A [`Head`] borrows the bytes it was parsed from and says how the body is framed; the caller
//! buffers the body. [`Chunked`] decodes a chunked body as it arrives, each byte once. Routes and
//! signatures are in the hub.

mod chunked;
mod reader;
mod response;
mod upgrade;

use std::mem::MaybeUninit;

pub use chunked::Chunked;
pub use reader::{BODY_BYTES_MAX, HEAD_BYTES_MAX, ResponseReader};
pub use response::{Response, continue_frame, date, switching_protocols};
pub use upgrade::{UPGRADE, is_accepted};

use crate::config::{Exceeded, LimitKind};
use crate::proto::websocket::offers_deflate;

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
    /// The framing of the body.
    pub body: Body,
    /// Whether the client keeps the connection open for another request.
    pub keep_alive: bool,
    /// Whether the client waits for a `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Whether the client requests a WebSocket: `Upgrade: websocket` and `Connection: Upgrade`.
    pub websocket: bool,
    /// `Sec-WebSocket-Key`.
    pub websocket_key: Option<&'a [u8]>,
    /// `Sec-WebSocket-Version`.
    pub websocket_version: Option<&'a [u8]>,
    /// `Origin`.
    pub origin: Option<&'a str>,
    /// The last `X-Forwarded-For`.
    pub forwarded_for: Option<&'a str>,
    /// `Host`.
    pub host: Option<&'a str>,
    /// The last `Cookie`.
    pub cookie: Option<&'a str>,
    /// `Sec-Fetch-Site`: whether a page of another site has caused the request.
    pub fetch_site: Option<&'a str>,
    /// `User-Agent`.
    pub user_agent: Option<&'a [u8]>,
    /// Whether the client offers permessage-deflate with parameters that the server accepts
    /// (`Sec-WebSocket-Extensions`).
    pub offers_deflate: bool,
    /// Whether the client accepts a body that is compressed with gzip (`Accept-Encoding`).
    pub accepts_gzip: bool,
}

/// How the body of a request is framed (RFC 9112 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// This many bytes follow the head.
    Length(usize),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// The error response to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpError {
    /// The status code.
    pub status: u16,
    /// One sentence for the body.
    pub text: String,
    /// The limit that the request exceeded, if that is the reason.
    pub bound: Option<Exceeded>,
}

impl HttpError {
    /// An error with this status and sentence.
    pub fn new(status: u16, text: impl Into<String>) -> Self {
        HttpError { status, text: text.into(), bound: None }
    }

    /// An error because the request exceeded a limit.
    pub fn at(bound: impl Into<Exceeded>, status: u16, text: impl Into<String>) -> Self {
        HttpError { bound: Some(bound.into()), ..HttpError::new(status, text) }
    }
}

/// Parses the head at the beginning of `bytes` and returns it with its length in bytes; `None` if the
/// head is incomplete.
///
/// # Errors
///
/// 400 for an invalid head; 431 if the head is longer than `bytes_max` or has more than `headers_max`
/// headers (at most 256); 501 for a transfer coding other than chunked.
pub fn parse(
    bytes: &[u8],
    bytes_max: usize,
    headers_max: usize,
) -> Result<Option<(Head<'_>, usize)>, HttpError> {
    // Not initialised, because clearing most of a page for each request would cost more than
    // parsing.
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let headers = &mut headers[..headers_max.min(HEADERS_MAX)];
    let mut request = httparse::Request::new(&mut []);
    let len = match request.parse_with_uninit_headers(bytes, headers) {
        Ok(httparse::Status::Complete(len)) if len <= bytes_max => len,
        Ok(httparse::Status::Partial) if bytes.len() <= bytes_max => return Ok(None),
        Ok(_) => return Err(too_long(bytes_max)),
        Err(httparse::Error::TooManyHeaders) => {
            let text = format!("More than {headers_max} headers (limits.request_headers).");
            return Err(HttpError::at(LimitKind::RequestHeaders, 431, text));
        }
        Err(error) => return Err(HttpError::new(400, format!("Bad request: {error}."))),
    };
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Err(HttpError::new(400, "Bad request."));
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
        forwarded_for: None,
        host: None,
        cookie: None,
        fetch_site: None,
        user_agent: None,
        offers_deflate: false,
        accepts_gzip: false,
    };
    Framing::default().read(request.headers, &mut head)?;
    Ok(Some((head, len)))
}

/// The origin form of a request target; a proxy may have sent the absolute form.
fn split_target(target: &str) -> (&str, &str) {
    let authority = match target.starts_with('/') {
        true => None,
        false => target.split_once("://").map(|(_, rest)| rest),
    };
    let origin_form = match authority {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    };
    origin_form.split_once('?').unwrap_or((origin_form, ""))
}

/// What the headers say about framing and upgrade, collected before the decision.
#[derive(Default)]
struct Framing {
    length: Option<u64>,
    chunked: bool,
    close_named: bool,
    upgrade_named: bool,
    websocket_named: bool,
}

impl Framing {
    fn read<'a>(
        mut self,
        headers: &[httparse::Header<'a>],
        head: &mut Head<'a>,
    ) -> Result<(), HttpError> {
        for header in headers {
            self.header(header.name, header.value, head)?;
        }
        if self.chunked && (self.length.is_some() || head.minor == 0) {
            return Err(HttpError::new(400, "Bad request: the length of the body is ambiguous."));
        }
        let length = usize::try_from(self.length.unwrap_or(0)).unwrap_or(usize::MAX);
        head.body = if self.chunked { Body::Chunked } else { Body::Length(length) };
        // `close` overrides all other values in the headers of this name.
        head.keep_alive &= !self.close_named;
        head.websocket = self.upgrade_named && self.websocket_named;
        Ok(())
    }

    fn header<'a>(
        &mut self,
        name: &str,
        value: &'a [u8],
        head: &mut Head<'a>,
    ) -> Result<(), HttpError> {
        // By length first: one comparison rules out most of the other headers.
        match name.len() {
            4 if is(name, "host") => head.host = std::str::from_utf8(value).ok(),
            6 if is(name, "cookie") => head.cookie = std::str::from_utf8(value).ok(),
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
                    self.close_named |= is_token(token, "close");
                    head.keep_alive |= is_token(token, "keep-alive");
                }
            }
            10 if is(name, "user-agent") => head.user_agent = Some(value),
            14 if is(name, "content-length") => self.content_length(value)?,
            14 if is(name, "sec-fetch-site") => {
                head.fetch_site = std::str::from_utf8(value).ok();
            }
            15 if is(name, "x-forwarded-for") => {
                head.forwarded_for = std::str::from_utf8(value).ok();
            }
            15 if is(name, "accept-encoding") => head.accepts_gzip |= accepts_gzip(value),
            17 if is(name, "transfer-encoding") => {
                if !value.eq_ignore_ascii_case(b"chunked") || self.chunked {
                    return Err(HttpError::new(
                        501,
                        "The only supported transfer coding is chunked.",
                    ));
                }
                self.chunked = true;
            }
            17 if is(name, "sec-websocket-key") => head.websocket_key = Some(value),
            21 if is(name, "sec-websocket-version") => head.websocket_version = Some(value),
            24 if is(name, "sec-websocket-extensions") => {
                // Several headers are one list (RFC 6455 section 9.1).
                head.offers_deflate |= offers_deflate(value);
            }
            _ => {}
        }
        Ok(())
    }

    /// Only digits are valid, and repeated headers must be equal (RFC 9112 section 6.3).
    fn content_length(&mut self, value: &[u8]) -> Result<(), HttpError> {
        let bad = || HttpError::new(400, "Bad request: Content-Length is not a length.");
        let length = length(value).ok_or_else(bad)?;
        match self.length.replace(length) {
            Some(before) if before != length => Err(bad()),
            _ => Ok(()),
        }
    }
}

/// The value of a `Content-Length`, which has only digits. It is not a `usize`: on a 32-bit system, a
/// body of 5 GB has a valid length and is too large.
fn length(digits: &[u8]) -> Option<u64> {
    let digits = Some(digits).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
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

/// Whether a value of `Accept-Encoding` names gzip, and not with a weight of zero, which excludes it.
fn accepts_gzip(value: &[u8]) -> bool {
    tokens(value).any(|coding| {
        let mut parts = coding.split(|&b| b == b';').map(<[u8]>::trim_ascii);
        parts.next().is_some_and(|name| is_token(name, "gzip")) && parts.next() != Some(b"q=0")
    })
}

fn too_long(bytes_max: usize) -> HttpError {
    let limit = "limits.request_head_bytes";
    let text = format!("Request head too large: the limit is {bytes_max} bytes ({limit}).");
    HttpError::at(LimitKind::RequestHeadBytes, 431, text)
}

/// The upper bound of `limits.request_headers`.
const HEADERS_MAX: usize = 256;

/// The error for a request over `max_request_size`.
pub fn body_too_large(bytes: usize, bytes_max: usize) -> HttpError {
    let text = format!(
        "Payload too large: {bytes} bytes, the limit is {bytes_max} (max_request_size; \
         REVERB_MAX_REQUEST_SIZE)."
    );
    HttpError::at(LimitKind::RequestSize, 413, text)
}

/// Whether `key` is the base64 of 16 bytes: 22 digits and two padding characters.
pub fn is_websocket_key(key: &[u8]) -> bool {
    let digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    key.len() == 24 && key[..22].iter().all(digit) && &key[22..] == b"=="
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Head<'_>, u16> {
        match parse(text.as_bytes(), 16_384, 64) {
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
            assert_eq!(parse(&text.as_bytes()[..len], 16_384, 64), Ok(None));
        }
        let head = head(text).unwrap();
        assert_eq!((head.method, head.path, head.query), ("POST", "/apps/1/events", "a=b"));
        assert_eq!(head.body, Body::Length(12));
        assert!(head.keep_alive && !head.websocket);
    }

    #[test]
    fn an_absolute_target_is_reduced_to_its_path() {
        assert_eq!(head("GET http://h:1/up?x HTTP/1.1\r\n\r\n").unwrap().path, "/up");
        assert_eq!(head("GET /a?u=http://h/ HTTP/1.1\r\n\r\n").unwrap().path, "/a");
        assert_eq!(head("GET http://h HTTP/1.1\r\n\r\n").unwrap().path, "/");
    }

    #[test]
    fn keep_alive_follows_the_version_and_the_header() {
        let keeps = |text: &str| head(text).unwrap().keep_alive;
        assert!(keeps("GET / HTTP/1.1\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.0\r\n\r\n"));
        assert!(keeps("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.1\r\nConnection: keep-alive, Close\r\n\r\n"));
        assert!(keeps("GET / HTTP/1.1\r\nConnection: Upgrade\r\n\r\n"));
        let twice = "HTTP/1.1\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n";
        assert!(!keeps(&format!("GET / {twice}")));
    }

    #[test]
    fn an_upgrade_needs_both_headers_with_their_tokens() {
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
    fn gzip_is_accepted_where_it_is_named_without_a_zero() {
        let accepts = |value| {
            let text = format!("GET / HTTP/1.1\r\nAccept-Encoding: {value}\r\n\r\n");
            parse(text.as_bytes(), 1_000, 10).unwrap().unwrap().0.accepts_gzip
        };
        assert!(accepts("gzip") && accepts("br, GZIP ; q=0.1") && !accepts("br"));
        assert!(!accepts("gzip;q=0") && !accepts("gzip-x") && !accepts(""));
    }

    #[test]
    fn an_ambiguous_length_is_rejected() {
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
    fn a_length_beyond_32_bits_is_valid_on_every_system() {
        let long = head("POST / HTTP/1.1\r\nContent-Length: 5000000000\r\n\r\n").unwrap();
        let Body::Length(length) = long.body else { panic!("{:?}", long.body) };
        assert!(length > 0xFFFF_FFF0);
    }

    #[test]
    fn the_head_has_limits_for_bytes_and_headers() {
        let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1_000));
        assert_eq!(parse(long.as_bytes(), 1_000, 64).unwrap_err().status, 431);
        assert_eq!(parse(&long.as_bytes()[..1_001], 1_000, 64).unwrap_err().status, 431);
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(65));
        assert_eq!(head(&many), Err(431));
        assert_eq!(head("GET / HTTP/2.0\r\n\r\n"), Err(400));
        assert_eq!(head("\u{16}\u{3}\u{1}\r\n\r\n"), Err(400));
    }

    #[test]
    fn a_key_is_the_base64_of_sixteen_bytes() {
        assert!(is_websocket_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        assert!(!is_websocket_key(b"dGhlIHNhbXBsZSBub25jZQ="));
        assert!(!is_websocket_key(b"dGhlIHNhbXBsZSBub25jZ!=="));
        assert!(!is_websocket_key(b""));
    }
}
