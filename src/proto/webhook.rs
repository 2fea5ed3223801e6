//! The requests of webhooks (protocol section 15): headers, events, and the body that contains them.
//! When they are sent is decided in the hub.

use std::fmt::Display;

use super::message::push_json_string;
use super::spool::DeliveryId;
use crate::config::VERSION;

/// The header lines of a request, each with a line break at its end, except `Host` and
/// `Content-Length`. The names have the spelling of Pusher's, because the library for PHP looks them
/// up by it. `further` are the lines of the webhook's own headers.
pub fn head(key: &str, signature: &str, delivery: DeliveryId, further: &str) -> String {
    format!(
        "Content-Type: application/json\r\nX-Pusher-Key: {key}\r\n\
         X-Pusher-Signature: {signature}\r\nX-Reverb-Delivery: {delivery}\r\n\
         User-Agent: reverb/{VERSION}\r\n{further}"
    )
}

/// Appends an event about a channel: `channel_occupied`, `channel_vacated`, `cache_miss`.
pub fn channel_event(out: &mut String, name: &str, channel: &str) {
    begin(out, name);
    text(out, "channel", channel);
    out.push('}');
}

/// Appends an event about a user of a channel: `member_added`, `member_removed`.
pub fn member_event(out: &mut String, name: &str, channel: &str, user: &str) {
    begin(out, name);
    text(out, "channel", channel);
    text(out, "user_id", user);
    out.push('}');
}

/// Appends a `subscription_count`.
pub fn subscription_count(out: &mut String, channel: &str, count: u64) {
    begin(out, "subscription_count");
    text(out, "channel", channel);
    number(out, "subscription_count", count);
    out.push('}');
}

/// A client's event; `event` and `data` are JSON texts.
#[derive(Debug, Clone, Copy)]
pub struct ClientEvent<'a> {
    /// The channel to which it was sent.
    pub channel: &'a str,
    /// Its name.
    pub event: &'a str,
    /// Its payload.
    pub data: &'a str,
    /// The user of the client, on a presence channel.
    pub user: Option<&'a str>,
}

/// Appends a `client_event`. `data` is always a string: an object becomes its JSON text.
pub fn client_event(out: &mut String, sent: &ClientEvent<'_>, socket_id: &dyn Display) {
    begin(out, "client_event");
    text(out, "channel", sent.channel);
    raw(out, "event", sent.event);
    match sent.data.starts_with('"') {
        true => raw(out, "data", sent.data),
        false => text(out, "data", sent.data),
    }
    text(out, "socket_id", &socket_id.to_string());
    if let Some(user) = sent.user {
        text(out, "user_id", user);
    }
    out.push('}');
}

/// Appends an event about a connection: `connection_pruned`, or with its text a message. `origin` is
/// that of the page of the client.
pub fn connection_event(
    out: &mut String,
    name: &str,
    socket_id: &dyn Display,
    origin: Option<&str>,
    message: Option<&str>,
) {
    begin(out, name);
    text(out, "socket_id", &socket_id.to_string());
    if let Some(origin) = origin {
        text(out, "origin", origin);
    }
    if let Some(message) = message {
        text(out, "message", message);
    }
    out.push('}');
}

/// Appends a `message_counts`: how many messages were sent and received until this time.
pub fn message_counts(out: &mut String, time_ms: u64, sent: u64, received: u64) {
    begin(out, "message_counts");
    number(out, "time_ms", time_ms);
    number(out, "sent", sent);
    number(out, "received", received);
    out.push('}');
}

/// The body of a request. `events` are separated by commas. `left_out` are names of events with how
/// many of them the body should have and has not.
pub fn body(time_ms: u64, events: &str, left_out: &[(&str, u64)]) -> String {
    let mut counts = String::new();
    for (name, count) in left_out.iter().filter(|(_, count)| *count > 0) {
        number(&mut counts, name, *count);
    }
    let mut out = format!(r#"{{"time_ms":{time_ms},"events":[{events}]"#);
    if let Some(counts) = counts.strip_prefix(',') {
        out.push_str(r#","left_out":{"#);
        out.push_str(counts);
        out.push('}');
    }
    out.push('}');
    out
}

fn begin(out: &mut String, name: &str) {
    if !out.is_empty() {
        out.push(',');
    }
    out.push_str(r#"{"name":""#);
    out.push_str(name);
    out.push('"');
}

fn text(out: &mut String, name: &str, value: &str) {
    raw(out, name, "");
    push_json_string(out, value);
}

fn number(out: &mut String, name: &str, number: u64) {
    raw(out, name, &number.to_string());
}

fn raw(out: &mut String, name: &str, json: &str) {
    out.push_str(r#",""#);
    out.push_str(name);
    out.push_str(r#"":"#);
    out.push_str(json);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::auth::Signer;

    #[test]
    fn a_body_and_its_signature_match_known_ones() {
        let mut events = String::new();
        channel_event(&mut events, "channel_occupied", "my-channel");
        let body = body(1_327_078_148_132, &events, &[("message_sent", 0)]);
        let known = r#"{"time_ms":1327078148132,"events":[{"name":"channel_occupied","channel":"my-channel"}]}"#;
        assert_eq!(body, known);
        let signature = "c19001ae3963ccb13bf618e5b16ba9848e7e74df0993aa0689168e341c6833cf";
        assert_eq!(Signer::new("7ad3773142a6692b25b8").sign(&[&body]), signature);
    }

    #[test]
    fn each_event_has_its_members_and_texts_are_strings() {
        let mut out = String::new();
        member_event(&mut out, "member_added", "presence-\"c", "7");
        subscription_count(&mut out, "c", 3);
        let sent = ClientEvent {
            channel: "private-c",
            event: r#""client-x""#,
            data: r#"{"a":1}"#,
            user: None,
        };
        client_event(&mut out, &sent, &"1.2");
        let sent = ClientEvent { data: r#""a\n""#, user: Some("u"), ..sent };
        client_event(&mut out, &sent, &"1.2");
        connection_event(&mut out, "connection_pruned", &"1.2", None, None);
        let origin = Some("https://a.test");
        connection_event(&mut out, "message_sent", &"1.2", origin, Some("{\"event\":\"a\"}"));
        let expected = concat!(
            r#"{"name":"member_added","channel":"presence-\"c","user_id":"7"},"#,
            r#"{"name":"subscription_count","channel":"c","subscription_count":3},"#,
            r#"{"name":"client_event","channel":"private-c","event":"client-x","#,
            r#""data":"{\"a\":1}","socket_id":"1.2"},"#,
            r#"{"name":"client_event","channel":"private-c","event":"client-x","#,
            r#""data":"a\n","socket_id":"1.2","user_id":"u"},"#,
            r#"{"name":"connection_pruned","socket_id":"1.2"},"#,
            r#"{"name":"message_sent","socket_id":"1.2","origin":"https://a.test","message":"{\"event\":\"a\"}"}"#,
        );
        assert_eq!(out, expected);
    }

    #[test]
    fn a_body_says_how_many_events_were_left_out() {
        let left_out = [("message_received", 2), ("message_sent", 30)];
        let expected =
            r#"{"time_ms":1,"events":[],"left_out":{"message_received":2,"message_sent":30}}"#;
        assert_eq!(body(1, "", &left_out), expected);
    }
}
