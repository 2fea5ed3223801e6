//! A WebSocket of the Pusher protocol, as a client. What is done with its messages is in `subscribe`.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use super::api::encoded;
use super::endpoint::{Endpoint, TIMEOUT};
use super::screen::escaped;
use crate::net::{BlockingStream, sys};
use crate::proto::http::{ResponseReader, UPGRADE, is_accepted};
use crate::proto::message::{self, Object};
use crate::proto::websocket::{self, Bounds, Frame, Inflater, Item, Reader};

/// An established connection.
pub(super) struct Socket {
    stream: BlockingStream,
    reader: Reader,
    inflater: Inflater,
    /// Bytes of the server; those before `at` are read.
    input: Vec<u8>,
    at: usize,
    pub socket_id: String,
    /// How long the server may be silent before it is asked for a sign of life.
    activity_timeout: Duration,
}

/// Why a connection has ended.
pub(super) enum End {
    /// The server rejects the client; another attempt would fail as well.
    Refused(String),
    /// Another attempt may succeed.
    Lost(String),
}

/// What a server sends that a caller of [`Socket::receive`] handles.
enum Received {
    Text(String),
    /// The code and the reason of the close frame.
    Close(u16, String),
}

impl Socket {
    /// Connects, and waits until the connection is established.
    pub(super) fn open(endpoint: &Endpoint) -> Result<Self, End> {
        let mut stream =
            endpoint.open().map_err(|error| End::Lost(endpoint.unreachable(&error)))?;
        let input = shake_hands(endpoint, &mut stream)?;
        let mut socket = Socket {
            stream,
            reader: Reader::default(),
            inflater: Inflater::default(),
            input,
            at: 0,
            socket_id: String::new(),
            activity_timeout: TIMEOUT,
        };
        let text = socket.next_text(endpoint)?;
        let established = message::object(&text).unwrap_or_default();
        let event = established.text("event");
        if event.as_deref() == Some("pusher:error") {
            let Error { code, reason } = Error::of(&established);
            return Err(closed(endpoint, code, &reason));
        }
        if event.as_deref() != Some("pusher:connection_established") {
            return Err(End::Refused(format!(
                "{endpoint}: it opens a WebSocket, but not one of the Pusher protocol"
            )));
        }
        let data = data_of(&established);
        let data = message::object(&data).unwrap_or_default();
        socket.socket_id = data.text("socket_id").unwrap_or_default().into_owned();
        let timeout_s = data.number("activity_timeout").unwrap_or(ACTIVITY_TIMEOUT_S).max(1);
        socket.activity_timeout = Duration::from_secs(timeout_s);
        Ok(socket)
    }

    /// Sends a message.
    pub(super) fn send(&mut self, endpoint: &Endpoint, message: &str) -> Result<(), End> {
        let frame = websocket::text(message);
        self.send_frame(&frame).map_err(|error| lost(endpoint, &error))
    }

    fn send_frame(&mut self, frame: &Frame) -> io::Result<()> {
        // The key of a mask must not be predictable (RFC 6455 section 10.3).
        let [a, b, c, d, ..] = sys::random_seed()?;
        self.stream.write_all(&websocket::masked(frame, [a, b, c, d]))
    }

    /// Waits for the next message that is not part of the liveness protocol.
    pub(super) fn next_text(&mut self, endpoint: &Endpoint) -> Result<String, End> {
        let mut is_pinged = false;
        let mut timeout = self.activity_timeout;
        loop {
            self.stream.set_timeout(timeout).map_err(|error| lost(endpoint, &error))?;
            let text = match self.receive() {
                Ok(Received::Text(text)) => text,
                Ok(Received::Close(code, reason)) => return Err(closed(endpoint, code, &reason)),
                Err(error) if error.kind() == ErrorKind::WouldBlock && !is_pinged => {
                    (is_pinged, timeout) = (true, PONG_TIMEOUT);
                    self.send(endpoint, r#"{"event":"pusher:ping","data":{}}"#)?;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Err(lost(endpoint, &"the server does not answer any more"));
                }
                Err(error) => return Err(lost(endpoint, &error)),
            };
            let event = message::object(&text).and_then(|message| message.text("event"));
            match event.as_deref() {
                Some("pusher:ping") => {
                    self.send(endpoint, r#"{"event":"pusher:pong","data":{}}"#)?;
                }
                Some("pusher:pong") => {}
                _ => return Ok(text),
            }
            (is_pinged, timeout) = (false, self.activity_timeout);
        }
    }

    /// Waits for the next text or close frame, and answers pings.
    fn receive(&mut self) -> io::Result<Received> {
        loop {
            let item = self.reader.next(&mut self.input, &mut self.at, BOUNDS, &mut self.inflater);
            let pong = match item.map_err(|violation| io::Error::other(violation.reason))? {
                Some(Item::Text(text)) => return Ok(Received::Text(text.to_owned())),
                Some(Item::Close(frame)) => {
                    let (code, reason) = frame.unwrap_or((1005, ""));
                    return Ok(Received::Close(code, reason.to_owned()));
                }
                Some(Item::Ping(payload)) => websocket::pong(payload),
                Some(Item::Binary(_) | Item::Pong) => continue,
                None => {
                    self.fill()?;
                    continue;
                }
            };
            self.send_frame(&pong)?;
        }
    }

    /// Waits for more input, after all of it was read.
    fn fill(&mut self) -> io::Result<()> {
        self.at = 0;
        self.input.resize(INPUT_BYTES, 0);
        let read = self.stream.read(&mut self.input);
        self.input.truncate(*read.as_ref().unwrap_or(&0));
        match read? {
            0 => Err(io::Error::other("the server has closed it without a reason")),
            _ => Ok(()),
        }
    }
}

/// Requests a WebSocket. Returns the bytes that follow the response.
fn shake_hands(endpoint: &Endpoint, stream: &mut BlockingStream) -> Result<Vec<u8>, End> {
    let mut request = format!(
        "GET {}/app/{}?protocol=7&client=reverb-subscribe&version={}&flash=false HTTP/1.1\r\n\
         Host: {}\r\n{UPGRADE}",
        endpoint.prefix,
        encoded(&endpoint.app.key),
        env!("CARGO_PKG_VERSION"),
        endpoint.authority(),
    );
    if let Some(origin) = origin(&endpoint.app.allowed_origins) {
        request.push_str(&format!("Origin: {origin}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).map_err(|error| lost(endpoint, &error))?;
    let (mut response, mut buffer) = (ResponseReader::endless(), vec![0; INPUT_BYTES]);
    while response.status().is_none() {
        match stream.read(&mut buffer).map_err(|error| lost(endpoint, &error))? {
            0 => response.end(),
            len => response.receive(&buffer[..len]),
        }
        .map_err(|why| End::Lost(format!("{endpoint}: {why}")))?;
    }
    if is_accepted(&response) {
        return Ok(response.take_body());
    }
    let status = response.status().unwrap_or_default();
    let text = format!("{endpoint} answers {status} {} to a WebSocket", escaped(response.reason()));
    Err(if status >= 500 { End::Lost(text) } else { End::Refused(text) })
}

/// The data of a message: the text, or what is JSON without quotes. Empty without data.
pub(super) fn data_of<'a>(message: &Object<'a>) -> Cow<'a, str> {
    match message.get("data").map(|data| data.get()) {
        None | Some("null") => "".into(),
        Some(json) => message::string(json).unwrap_or(json.into()),
    }
}

/// What the server reports by `pusher:error`.
pub(super) struct Error {
    pub code: u16,
    pub reason: String,
}

impl Error {
    pub(super) fn of(message: &Object<'_>) -> Self {
        let data = data_of(message);
        let data = message::object(&data).unwrap_or_default();
        let code = data.number("code").and_then(|code| u16::try_from(code).ok());
        let reason = data.text("message").unwrap_or_default().into_owned();
        Error { code: code.unwrap_or_default(), reason }
    }
}

/// The end of a connection by the close code of the Pusher protocol.
fn closed(endpoint: &Endpoint, code: u16, reason: &str) -> End {
    let text = format!("{endpoint} closes the connection: {code} {}", escaped(reason));
    match code {
        4001 => End::Refused(format!("{text}; the server has no app with the key of this one")),
        4000..4100 => End::Refused(text),
        _ => End::Lost(text),
    }
}

/// An origin that one of these patterns allows; `None` if every client is allowed.
fn origin(patterns: &[String]) -> Option<String> {
    if patterns.iter().any(|pattern| pattern == "*") {
        return None;
    }
    // A number can stand for a part of a name as well as for a port.
    let origin = patterns.first()?.replace('*', "80");
    Some(if origin.contains("://") { origin } else { format!("https://{origin}") })
}

fn lost(endpoint: &Endpoint, error: &dyn Display) -> End {
    End::Lost(format!("{endpoint}: the connection has ended: {error}"))
}

/// How long the server may take to answer a ping.
const PONG_TIMEOUT: Duration = Duration::from_secs(30);
/// The bytes of one read.
const INPUT_BYTES: usize = 16_384;
/// The largest message that is read: far above the limits of any server of the protocol.
const BOUNDS: Bounds = Bounds {
    message_bytes: 64 << 20,
    fragments: u32::MAX,
    binary: true,
    masked: false,
    deflate: false,
};
/// The timeout of servers that name none, as in the official libraries.
const ACTIVITY_TIMEOUT_S: u64 = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_matches_the_first_pattern_unless_all_are_allowed() {
        let of = |patterns: &[&str]| {
            origin(&patterns.iter().map(|&it| it.to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(of(&["a.test", "*"]), None);
        assert_eq!(of(&["*.a.test"]).as_deref(), Some("https://80.a.test"));
        assert_eq!(of(&["http://a.test:*"]).as_deref(), Some("http://a.test:80"));
        assert_eq!(of(&[]), None);
    }
}
