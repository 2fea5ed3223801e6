//! Pusher messages (protocol section 2): parses those of clients, and encodes those of the server.
//!
//! A client's message is parsed only as far as the server acts on it; `data` that is forwarded stays
//! the same JSON text. Outgoing messages are encoded by hand, in the key order of Laravel Reverb.
//! Connections and channels are in the hub.

mod json;

use std::borrow::Cow;

use serde_json::value::RawValue;

pub use json::{
    Object, array, elements, escaped_len, is_blank_string, is_object, is_string, json_string,
    object, objects, push_escaped, push_json_string, string, text_len, twice_escaped_len,
};

use crate::proto::websocket::{self, Frame};

/// A message from a client.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientMessage<'a> {
    /// `pusher:ping`.
    Ping,
    /// `pusher:pong`.
    Pong,
    /// `pusher:subscribe`.
    Subscribe(Subscribe),
    /// `pusher:unsubscribe` from this channel.
    Unsubscribe(String),
    /// `pusher:signin`.
    SignIn {
        /// `KEY:SIGNATURE`.
        auth: String,
        /// The signed JSON text.
        user_data: String,
    },
    /// An event whose name starts with `client-`.
    Event(ClientEvent<'a>),
    /// A valid event that has no effect: its name starts with neither `pusher:` nor `client-`.
    Ignored,
}

/// `pusher:subscribe`.
#[derive(Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// The channel's name.
    pub channel: String,
    /// `KEY:SIGNATURE`, if the channel needs one.
    pub auth: Option<String>,
    /// The signed JSON text with the user of a presence channel.
    pub channel_data: Option<String>,
}

/// A client event, with the JSON texts as the client sent them, to be forwarded unchanged.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientEvent<'a> {
    /// The event's name as JSON text.
    pub event: &'a str,
    /// The channel's name.
    pub channel: Cow<'a, str>,
    /// `data` as JSON text; `null` when there was none.
    pub data: &'a str,
}

/// The reason why a message is invalid, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// Parses a text message.
///
/// # Errors
///
/// The message is invalid; clients get Laravel Reverb's "Invalid message format" (protocol section
/// 4.4).
pub fn parse(text: &str) -> Result<ClientMessage<'_>, Malformed> {
    let object = object(text).ok_or(Malformed("not a JSON object"))?;
    let raw_event = object.get("event").ok_or(Malformed("no event"))?;
    let event = string(raw_event.get()).ok_or(Malformed("event is not a string"))?;
    match event.strip_prefix("pusher:") {
        Some("ping") => Ok(ClientMessage::Ping),
        Some("pong") => Ok(ClientMessage::Pong),
        Some("subscribe") => with_data(&object, subscribe),
        Some("unsubscribe") => {
            with_data(&object, |data| Ok(ClientMessage::Unsubscribe(owned(data, "channel")?)))
        }
        Some("signin") => with_data(&object, |data| {
            let (auth, user_data) = (owned(data, "auth")?, owned(data, "user_data")?);
            Ok(ClientMessage::SignIn { auth, user_data })
        }),
        Some(_) => Err(Malformed("unknown pusher event")),
        None => other(&object, raw_event, &event),
    }
}

/// Whether a text begins like a client event of the known client libraries. It lets the server
/// recognise most client events before it parses them.
pub fn is_plain_client_event(text: &str) -> bool {
    text.starts_with(r#"{"event":"client-"#)
}

/// Calls `read` with the object in `data`; some clients (Java) send it as a string that holds one.
fn with_data<F>(object: &Object<'_>, read: F) -> Result<ClientMessage<'static>, Malformed>
where
    F: FnOnce(&Object<'_>) -> Result<ClientMessage<'static>, Malformed>,
{
    let raw = object.get("data").ok_or(Malformed("no data"))?.get();
    match string(raw) {
        Some(text) => read(&self::object(&text).ok_or(Malformed("data is not an object"))?),
        None => read(&self::object(raw).ok_or(Malformed("data is not an object"))?),
    }
}

fn subscribe(data: &Object<'_>) -> Result<ClientMessage<'static>, Malformed> {
    let channel = owned(data, "channel")?;
    let auth = optional_field(data, "auth")?.map(Cow::into_owned);
    let channel_data = optional_field(data, "channel_data")?.map(Cow::into_owned);
    Ok(ClientMessage::Subscribe(Subscribe { channel, auth, channel_data }))
}

fn other<'a>(
    object: &Object<'a>,
    raw_event: &'a RawValue,
    event: &str,
) -> Result<ClientMessage<'a>, Malformed> {
    if event.is_empty() {
        return Err(Malformed("event is empty"));
    }
    let channel = field(object, "channel")?;
    if channel.is_empty() {
        return Err(Malformed("channel is empty"));
    }
    if !event.starts_with("client-") {
        return Ok(ClientMessage::Ignored);
    }
    let data = object.get("data").map_or("null", |raw| raw.get());
    Ok(ClientMessage::Event(ClientEvent { event: raw_event.get(), channel, data }))
}

fn owned(object: &Object<'_>, key: &str) -> Result<String, Malformed> {
    field(object, key).map(Cow::into_owned)
}

fn field<'a>(object: &Object<'a>, key: &str) -> Result<Cow<'a, str>, Malformed> {
    optional_field(object, key)?.ok_or(Malformed("a field is missing"))
}

fn optional_field<'a>(object: &Object<'a>, key: &str) -> Result<Option<Cow<'a, str>>, Malformed> {
    match object.get(key).map(|raw| raw.get()) {
        None | Some("null") => Ok(None),
        Some(raw) => string(raw).map(Some).ok_or(Malformed("a field is not a string")),
    }
}

/// The first message of a connection. `activity_timeout_s` is never 0: clients take that for a
/// failed handshake and do not reconnect.
pub fn established(socket_id: &str, activity_timeout_s: u32) -> Frame {
    let timeout = activity_timeout_s.max(1);
    let data = format!(r#"{{"socket_id":"{socket_id}","activity_timeout":{timeout}}}"#);
    internal("pusher:connection_established", None, &data)
}

/// `pusher:error`, in Pusher's form: `data` is an object. Laravel Reverb sends a string that holds
/// an object, which the Python and Swift clients cannot read: they reconnect forever with a wrong
/// key.
pub fn error(code: u16, message: &str) -> Frame {
    let data = format!(r#"{{"code":{code},"message":{}}}"#, json_string(message));
    websocket::text(&format!(r#"{{"event":"pusher:error","data":{data}}}"#))
}

/// `pusher:subscription_error`, which Echo's `.error()` listens to (protocol section 13).
pub fn subscription_error(channel: &str, kind: &str, error: &str, status: u16) -> Frame {
    let data = format!(
        r#"{{"type":{},"error":{},"status":{status}}}"#,
        json_string(kind),
        json_string(error)
    );
    let (event, channel) = (r#""pusher:subscription_error""#, json_string(channel));
    websocket::text(&format!(r#"{{"event":{event},"channel":{channel},"data":{data}}}"#))
}

/// The confirmation of a subscription; `data` is `{}` or the member list of a presence channel.
pub fn subscription_succeeded(channel: &str, data: &str) -> Frame {
    internal("pusher_internal:subscription_succeeded", Some(channel), data)
}

/// A message of the protocol itself: `data` is JSON, sent as a string.
pub fn internal(event: &str, channel: Option<&str>, data: &str) -> Frame {
    websocket::text_of(96 + data.len() + data.len() / 4, |text| {
        text.push_str(r#"{"event":""#);
        text.push_str(event);
        text.push_str(r#"","data":"#);
        push_json_string(text, data);
        if let Some(channel) = channel {
            text.push_str(r#","channel":"#);
            push_json_string(text, channel);
        }
        text.push('}');
    })
}

/// `pusher:cache_miss` of a channel.
pub fn cache_miss(channel: &str) -> Frame {
    let channel = json_string(channel);
    websocket::text(&format!(r#"{{"event":"pusher:cache_miss","channel":{channel}}}"#))
}

/// The reply to `pusher:ping`.
pub fn pong() -> Frame {
    websocket::text(r#"{"event":"pusher:pong"}"#)
}

/// The server's own `pusher:ping`.
pub fn ping() -> Frame {
    websocket::text(r#"{"event":"pusher:ping"}"#)
}

/// The confirmation of a sign-in; `user_data` is sent as a string.
pub fn signin_success(user_data: &str) -> Frame {
    let user_data = json_string(user_data);
    let data = format!(r#"{{"user_data":{user_data}}}"#);
    websocket::text(&format!(r#"{{"event":"pusher:signin_success","data":{data}}}"#))
}

/// The key order of an event, which in Laravel Reverb is different for batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOrder {
    /// `event`, `data`, `channel`: a single event.
    DataFirst,
    /// `event`, `channel`, `data`: an event of a batch, and a client event.
    ChannelFirst,
}

/// An event for the subscribers of a channel. `event` and `data` are JSON texts, copied as they
/// are; `user_id` is the user of the client that sent the event on a presence channel.
pub fn event(
    event: &str,
    channel: &str,
    data: &str,
    user_id: Option<&str>,
    order: KeyOrder,
) -> Frame {
    websocket::text_of(64 + event.len() + channel.len() + data.len(), |text| {
        text.push_str(r#"{"event":"#);
        text.push_str(event);
        if order == KeyOrder::DataFirst {
            text.push_str(r#","data":"#);
            text.push_str(data);
        }
        text.push_str(r#","channel":"#);
        push_json_string(text, channel);
        if order == KeyOrder::ChannelFirst {
            text.push_str(r#","data":"#);
            text.push_str(data);
        }
        if let Some(user_id) = user_id {
            text.push_str(r#","user_id":"#);
            push_json_string(text, user_id);
        }
        text.push('}');
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(frame: Frame) -> String {
        String::from_utf8(websocket::payload(&frame).to_vec()).unwrap()
    }

    #[test]
    fn data_may_be_an_object_or_a_string() {
        let expected = ClientMessage::Subscribe(Subscribe {
            channel: "private-a".into(),
            auth: Some("k:s".into()),
            channel_data: None,
        });
        let object = r#"{"event":"pusher:subscribe","data":{"channel":"private-a","auth":"k:s"}}"#;
        assert_eq!(parse(object).as_ref(), Ok(&expected));
        let text = r#"{"event":"pusher:subscribe",
            "data":"{\"channel\":\"private-a\",\"auth\":\"k:s\",\"channel_data\":null}"}"#;
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn the_data_of_a_client_event_is_unchanged() {
        let text =
            r#"{"event":"client-é\u00e9","channel":"c","data":{"n":1.0,"e":{}},"user_id":7}"#;
        let Ok(ClientMessage::Event(event)) = parse(text) else { panic!() };
        assert_eq!(event.event, r#""client-é\u00e9""#);
        assert_eq!(event.data, r#"{"n":1.0,"e":{}}"#);
    }

    #[test]
    fn each_invalid_message_has_its_reason() {
        for (text, why) in [
            ("", "not a JSON object"),
            ("[]", "not a JSON object"),
            ("{}", "no event"),
            (r#"{"event":5}"#, "event is not a string"),
            (r#"{"event":"pusher:nope"}"#, "unknown pusher event"),
            (r#"{"event":"pusher:subscribe"}"#, "no data"),
            (r#"{"event":"pusher:subscribe","data":[]}"#, "data is not an object"),
            (r#"{"event":"pusher:subscribe","data":{}}"#, "a field is missing"),
            (r#"{"event":"pusher:subscribe","data":{"channel":5}}"#, "a field is not a string"),
            (r#"{"event":"","channel":"c"}"#, "event is empty"),
            (r#"{"event":"x"}"#, "a field is missing"),
        ] {
            assert_eq!(parse(text), Err(Malformed(why)), "{text}");
        }
        assert_eq!(parse(r#"{"event":"x","channel":"c"}"#), Ok(ClientMessage::Ignored));
        let deep = format!(r#"{{"event":"client-x","channel":"c","data":{}}}"#, "[".repeat(9_000));
        assert_eq!(parse(&deep), Err(Malformed("not a JSON object")));
    }

    #[test]
    fn messages_are_encoded_like_those_of_laravel_reverb() {
        assert_eq!(
            sent(established("1.2", 30)),
            r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.2\",\"activity_timeout\":30}"}"#
        );
        assert_eq!(
            sent(error(4001, "Application does not exist")),
            r#"{"event":"pusher:error","data":{"code":4001,"message":"Application does not exist"}}"#
        );
        assert_eq!(
            sent(subscription_succeeded("a", "{}")),
            r#"{"event":"pusher_internal:subscription_succeeded","data":"{}","channel":"a"}"#
        );
        assert_eq!(
            sent(event(r#""e""#, "c", r#""d""#, None, KeyOrder::DataFirst)),
            r#"{"event":"e","data":"d","channel":"c"}"#
        );
        assert_eq!(
            sent(event(r#""e""#, "c", "1.0", Some("7"), KeyOrder::ChannelFirst)),
            r#"{"event":"e","channel":"c","data":1.0,"user_id":"7"}"#
        );
    }
}
