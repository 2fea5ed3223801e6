//! A WebSocket of the Pusher protocol, as a client. What is done with its messages is in `subscribe`.

use std::io::{self, ErrorKind};
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::HandshakeError;
use tungstenite::http::{HeaderValue, header};
use tungstenite::{Error, Message, WebSocket};

use super::api::encoded;
use super::endpoint::{Endpoint, TIMEOUT};
use super::screen::escaped;
use crate::net::BlockingStream;

/// An established connection.
pub(super) struct Socket {
    stream: WebSocket<BlockingStream>,
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

impl Socket {
    /// Connects, and waits until the connection is established.
    pub(super) fn open(endpoint: &Endpoint) -> Result<Self, End> {
        let stream = endpoint.open().map_err(|error| End::Lost(endpoint.unreachable(&error)))?;
        let key = encoded(&endpoint.app.key);
        let target = format!(
            "ws://{}{}/app/{key}?protocol=7&client=reverb-subscribe&version={}&flash=false",
            endpoint.authority(),
            endpoint.prefix,
            env!("CARGO_PKG_VERSION")
        );
        let refused = |why: String| End::Refused(format!("{endpoint}: {why}"));
        let mut request =
            target.into_client_request().map_err(|error| refused(error.to_string()))?;
        if let Some(origin) = origin(&endpoint.app.allowed_origins)
            && let Ok(origin) = HeaderValue::from_str(&origin)
        {
            request.headers_mut().insert(header::ORIGIN, origin);
        }
        let (stream, _) =
            tungstenite::client::client(request, stream).map_err(|error| match error {
                HandshakeError::Interrupted(_) => lost(endpoint, &timed_out()),
                HandshakeError::Failure(Error::Http(response)) => {
                    let text = format!("{endpoint} answers {} to a WebSocket", response.status());
                    match response.status().is_server_error() {
                        true => End::Lost(text),
                        false => End::Refused(text),
                    }
                }
                HandshakeError::Failure(error) => lost(endpoint, &error),
            })?;
        let mut socket = Socket { stream, socket_id: String::new(), activity_timeout: TIMEOUT };
        let established = socket.next(endpoint)?;
        if established["event"] != "pusher:connection_established" {
            return Err(refused("it opens a WebSocket, but not one of the Pusher protocol".into()));
        }
        let data = data_of(&established);
        socket.socket_id = data["socket_id"].as_str().unwrap_or_default().to_owned();
        let timeout_s = data["activity_timeout"].as_u64().unwrap_or(ACTIVITY_TIMEOUT_S).max(1);
        socket.activity_timeout = Duration::from_secs(timeout_s);
        Ok(socket)
    }

    /// Sends a message.
    pub(super) fn send(&mut self, endpoint: &Endpoint, message: &Value) -> Result<(), End> {
        self.stream.send(Message::text(message.to_string())).map_err(|error| lost(endpoint, &error))
    }

    /// Waits for the next message that is not part of the liveness protocol. Returns its text and its
    /// meaning.
    pub(super) fn next_text(&mut self, endpoint: &Endpoint) -> Result<(String, Value), End> {
        let mut is_pinged = false;
        let mut timeout = self.activity_timeout;
        loop {
            self.stream.get_mut().set_timeout(timeout).map_err(|error| lost(endpoint, &error))?;
            let text = match self.stream.read() {
                Ok(Message::Text(text)) => text.to_string(),
                Ok(Message::Close(frame)) => {
                    let (code, reason) = frame
                        .map_or((1005, String::new()), |f| (f.code.into(), f.reason.to_string()));
                    return Err(closed(endpoint, code, &reason));
                }
                // The library answers pings.
                Ok(_) => continue,
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock && !is_pinged => {
                    (is_pinged, timeout) = (true, PONG_TIMEOUT);
                    self.send(endpoint, &json!({"event": "pusher:ping", "data": {}}))?;
                    continue;
                }
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                    return Err(lost(endpoint, &timed_out()));
                }
                Err(error) => return Err(lost(endpoint, &error)),
            };
            let message = serde_json::from_str::<Value>(&text).unwrap_or_default();
            match message["event"].as_str() {
                Some("pusher:ping") => {
                    self.send(endpoint, &json!({"event": "pusher:pong", "data": {}}))?;
                }
                Some("pusher:pong") => {}
                _ => return Ok((text, message)),
            }
            (is_pinged, timeout) = (false, self.activity_timeout);
        }
    }

    /// As [`Socket::next_text`]; an error of the connection itself is the end.
    fn next(&mut self, endpoint: &Endpoint) -> Result<Value, End> {
        let (_, message) = self.next_text(endpoint)?;
        match message["event"].as_str() {
            Some("pusher:error") => {
                let data = data_of(&message);
                let code = data["code"].as_u64().and_then(|code| u16::try_from(code).ok());
                let reason = data["message"].as_str().unwrap_or_default();
                Err(closed(endpoint, code.unwrap_or_default(), reason))
            }
            _ => Ok(message),
        }
    }
}

/// The data of a message, which is JSON or a text with JSON.
pub(super) fn data_of(message: &Value) -> Value {
    let parsed = message["data"].as_str().and_then(|text| serde_json::from_str(text).ok());
    parsed.unwrap_or_else(|| message["data"].clone())
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

fn lost(endpoint: &Endpoint, error: &dyn std::fmt::Display) -> End {
    End::Lost(format!("{endpoint}: the connection has ended: {error}"))
}

fn timed_out() -> io::Error {
    io::Error::other("the server does not answer any more")
}

/// How long the server may take to answer a ping.
const PONG_TIMEOUT: Duration = Duration::from_secs(30);
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
