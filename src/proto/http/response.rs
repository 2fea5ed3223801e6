//! Encodes responses. The hub decides which response a request gets.

use std::borrow::Cow;

use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use super::HttpError;
use crate::config::Exceeded;
use crate::proto::websocket::Frame;

/// A response.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The body's media type.
    pub content_type: &'static str,
    /// Headers that only this response has, such as `("Allow", "GET")`.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The body; text, unless a header names an encoding.
    pub body: Cow<'static, [u8]>,
    /// The limit that the request exceeded, if any.
    pub bound: Option<Exceeded>,
}

impl Response {
    /// A response with a JSON body.
    pub fn json(status: u16, body: impl Into<Cow<'static, str>>) -> Self {
        let response = Response::text(status, body);
        Response { content_type: "application/json", ..response }
    }

    /// A response with a plain text body.
    pub fn text(status: u16, body: impl Into<Cow<'static, str>>) -> Self {
        let content_type = "text/plain; charset=utf-8";
        let body = match body.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Response { status, content_type, headers: Vec::new(), body, bound: None }
    }

    /// The body as text; empty if it is none.
    pub fn body_text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_default()
    }

    /// Adds a header.
    pub fn with_header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Encodes the response. `without_body` is for `HEAD` requests, `connection` is the value of that
    /// header, if it is needed, and `date` is formatted by [`date`].
    pub fn encode(&self, without_body: bool, connection: Option<&str>, date: &str) -> Frame {
        let mut text = self.start(192 + self.body.len(), date);
        text.push_str("\r\nContent-Length: ");
        push_number(&mut text, self.body.len());
        self.push_headers(&mut text, connection);
        let mut bytes = text.into_bytes();
        if !without_body {
            bytes.extend_from_slice(&self.body);
        }
        bytes.into()
    }

    /// The head of a response whose body has no known length. The body follows in chunks (RFC 9112
    /// section 7.1) or, for HTTP/1.0 clients, until the connection is closed.
    pub fn encode_chunked_head(
        &self,
        is_chunked: bool,
        connection: Option<&str>,
        date: &str,
    ) -> Frame {
        let mut text = self.start(192, date);
        if is_chunked {
            text.push_str("\r\nTransfer-Encoding: chunked");
        }
        self.push_headers(&mut text, connection);
        text.into_bytes().into()
    }

    /// The status line and the headers that every response has.
    fn start(&self, capacity: usize, date: &str) -> String {
        let mut text = String::with_capacity(capacity);
        text.push_str("HTTP/1.1 ");
        push_number(&mut text, self.status.into());
        let (reason, content_type) = (reason(self.status), self.content_type);
        for part in [" ", reason, "\r\nDate: ", date, "\r\nContent-Type: ", content_type] {
            text.push_str(part);
        }
        if self.headers.iter().all(|(name, _)| *name != "Cache-Control") {
            text.push_str("\r\nCache-Control: no-cache, private");
        }
        text
    }

    /// Appends the headers that only this response has, and the end of the head.
    fn push_headers(&self, text: &mut String, connection: Option<&str>) {
        let connection = connection.map(|value| ("Connection", value));
        let headers = self.headers.iter().map(|(name, value)| (*name, &**value));
        for (name, value) in headers.chain(connection) {
            for part in ["\r\n", name, ": ", value] {
                text.push_str(part);
            }
        }
        text.push_str("\r\n\r\n");
    }
}

impl From<HttpError> for Response {
    fn from(reject: HttpError) -> Self {
        Response { bound: reject.bound, ..Response::text(reject.status, reject.text) }
    }
}

fn push_number(text: &mut String, number: usize) {
    if number >= 10 {
        push_number(text, number / 10);
    }
    text.push(char::from(b'0' + (number % 10) as u8));
}

/// The response to a client that waits before it sends the body.
pub fn continue_frame() -> Frame {
    Frame::from(&b"HTTP/1.1 100 Continue\r\n\r\n"[..])
}

/// The response that completes a WebSocket handshake (RFC 6455 section 4.2.2), with the headers in
/// the order of Laravel Reverb. `extensions` is the answer to the offers of the client, if one was
/// accepted.
pub fn switching_protocols(key: &[u8], extensions: Option<&str>) -> Frame {
    let accept = tungstenite::handshake::derive_accept_key(key);
    let mut text = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nX-Powered-By: Laravel Reverb\r\n"
    );
    if let Some(extensions) = extensions {
        text.push_str(&format!("Sec-WebSocket-Extensions: {extensions}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes().into()
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        413 => "Content Too Large",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}

/// Formats a time for HTTP (RFC 9110 section 5.6.7): `Mon, 23 Nov 2026 16:15:33 GMT`. A time after
/// the year 9999, which a broken clock may show, becomes the last second of that year.
pub fn date(unix_s: u64) -> String {
    let time = i64::try_from(unix_s).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
    let time = time.unwrap_or(PrimitiveDateTime::MAX.assume_utc());
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    time.format(format).expect("a time in UTC has each of these parts")
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for len in [0, 9, 10, 105, 1_048_576] {
            let bytes = Response::json(200, "x".repeat(len)).encode(true, None, "");
            assert!(bytes.ends_with(format!("Content-Length: {len}\r\n\r\n").as_bytes()));
        }
    }

    #[test]
    fn dates_of_leap_years_are_right() {
        assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(date(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(date(1_709_251_199), "Thu, 29 Feb 2024 23:59:59 GMT");
        assert_eq!(date(1_735_689_599), "Tue, 31 Dec 2024 23:59:59 GMT");
    }
}
