//! What clients say: parsed, written again as another client would, and parsed again; and what is
//! passed on of it, which must be what it was.

use serde_json::value::RawValue;

use super::pieces::{cuts, pieces};
use crate::hub::SocketId;
use crate::proto::message::{self, ClientEvent, ClientMessage, KeyOrder, Object, Subscribe};
use crate::proto::query::{Query, decode_percent};
use crate::proto::websocket::payload;

/// A text message, or a query string if the first byte has its highest bit set.
pub fn message(data: &[u8]) {
    let (lengths, rest) = cuts(data);
    let Ok(text) = std::str::from_utf8(rest) else { return };
    if data.first().is_some_and(|first| first & 0x80 != 0) {
        return query(text, lengths);
    }
    if let Ok(parsed) = message::parse(text) {
        for written in written(&parsed) {
            assert_eq!(message::parse(&written).as_ref(), Ok(&parsed), "{written}");
        }
        if let ClientMessage::Event(event) = &parsed {
            forwarded(event);
        }
    }
    if let Some(object) = message::object(text) {
        object.values().into_iter().for_each(strings);
    }
    if let Some(elements) = message::array(text) {
        elements.into_iter().for_each(strings);
    }
    let written = message::json_string(text);
    assert_eq!(message::string(&written).as_deref(), Some(text));
}

/// The message in every form that clients use.
fn written(message: &ClientMessage<'_>) -> Vec<String> {
    let json = message::json_string;
    let with_data = |event: &str, data: String| {
        // Some clients send `data` as a string that holds the object.
        let text = json(&data);
        vec![
            format!(r#"{{"event":"{event}","data":{data}}}"#),
            format!(r#"{{"data":{text},"event":"{event}"}}"#),
        ]
    };
    match message {
        ClientMessage::Ping => vec![r#"{"event":"pusher:ping"}"#.into()],
        ClientMessage::Pong => vec![r#"{"event":"pusher:pong","data":{}}"#.into()],
        ClientMessage::Ignored => vec![r#"{"event":"x","channel":"c"}"#.into()],
        ClientMessage::Subscribe(Subscribe { channel, auth, channel_data }) => {
            let field = |text: &Option<String>| text.as_deref().map_or("null".to_owned(), json);
            let (auth, channel_data) = (field(auth), field(channel_data));
            let channel = json(channel);
            let data =
                format!(r#"{{"auth":{auth},"channel_data":{channel_data},"channel":{channel}}}"#);
            with_data("pusher:subscribe", data)
        }
        ClientMessage::Unsubscribe(channel) => {
            with_data("pusher:unsubscribe", format!(r#"{{"channel":{}}}"#, json(channel)))
        }
        ClientMessage::SignIn { auth, user_data } => {
            let data = format!(r#"{{"auth":{},"user_data":{}}}"#, json(auth), json(user_data));
            with_data("pusher:signin", data)
        }
        ClientMessage::Event(ClientEvent { event, channel, data }) => {
            let channel = json(channel);
            vec![format!(r#"{{"channel":{channel},"data":{data},"event":{event}}}"#)]
        }
    }
}

/// The forwarded event is JSON with the values of the sender.
fn forwarded(event: &ClientEvent<'_>) {
    for order in [KeyOrder::ChannelFirst, KeyOrder::DataFirst] {
        let (name, channel, user) = (event.event, &*event.channel, "7\"");
        let frame = message::event(name, channel, event.data, Some(user), order);
        let text = std::str::from_utf8(payload(&frame)).expect("an event is text");
        let object: Object<'_> = message::object(text).expect("an event is an object");
        let member = |key: &str| object.get(key).map(|raw| raw.get());
        assert_eq!(member("event"), Some(name));
        assert_eq!(member("data"), Some(event.data));
        assert_eq!(member("channel").and_then(message::string).as_deref(), Some(channel));
        assert_eq!(member("user_id").and_then(message::string).as_deref(), Some(user));
        assert_eq!(object.values().len(), 4);
    }
}

/// The checks without decoding agree with decoding.
fn strings(raw: &RawValue) {
    let text = message::string(raw.get());
    assert_eq!(message::is_string(raw.get()), text.is_some());
    let blank = text.is_some_and(|text| text.trim().is_empty());
    assert_eq!(message::is_blank_string(raw.get()), blank);
}

/// A query string in which nothing is escaped means the same with everything escaped.
fn query(text: &str, lengths: &[u8]) {
    assert_eq!(decode_percent(&escaped(text)), text);
    if !text.contains(['%', '+']) {
        let pairs = text.split('&').map(|pair| match pair.split_once('=') {
            Some((key, value)) => format!("{}={}", escaped(key), escaped(value)),
            None => escaped(pair),
        });
        let escaped = pairs.collect::<Vec<_>>().join("&");
        assert_eq!(Query::parse(&escaped), Query::parse(text));
    }
    let query = Query::parse(text);
    // Only arrays have a second signed form.
    if let Some(joined) = query.signed_with_joined_arrays() {
        assert!(text.contains('[') || text.contains('%'), "{joined}");
    }
    let socket_ids = pieces(lengths, text.as_bytes()).filter_map(|b| std::str::from_utf8(b).ok());
    for id in socket_ids.filter_map(SocketId::parse) {
        assert_eq!(SocketId::parse(&id.to_string()), Some(id));
    }
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
