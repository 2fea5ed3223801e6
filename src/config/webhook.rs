//! The webhooks of an app: where they are sent, which events and channels they cover, and when.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::{Url, values};
use crate::nearest::did_you_mean;

/// Headers that a webhook cannot replace: those of the request itself, and those that the
/// application trusts.
const RESERVED_HEADERS: &[&str] = &[
    "Content-Type",
    "X-Pusher-Key",
    "X-Pusher-Signature",
    "X-Reverb-Delivery",
    "User-Agent",
    "Host",
    "Connection",
    "Content-Length",
    "Content-Encoding",
    "Transfer-Encoding",
    "TE",
    "Trailer",
    "Upgrade",
    "Expect",
    "Keep-Alive",
    "Proxy-Connection",
];

/// One entry of `webhooks` of an app.
#[derive(Clone, PartialEq)]
pub struct Webhook {
    /// Where its requests are sent.
    pub url: Url,
    /// The events that it covers.
    pub events: WebhookEvents,
    /// The channels that it covers, with `*` as wildcard; empty is all. Events without a channel
    /// are covered only if it is empty.
    pub channels: Vec<String>,
    /// Headers that its requests have in addition, in this order.
    pub headers: Vec<(String, String)>,
    /// Milliseconds from the first event of a request to the request.
    pub batch_ms: u32,
    /// Milliseconds for a request.
    pub timeout_ms: u32,
    /// The settings because of which the server posts to the Laravel app, for log lines and `reverb
    /// check`. `None` for a webhook of the configuration.
    pub laravel_cause: Option<&'static str>,
}

impl Webhook {
    /// Why a build without webhooks rejects them.
    pub const MISSING: &'static str =
        "this build has no webhooks; build with the feature webhooks, or remove the setting";

    /// The keys of an entry of `webhooks`.
    pub const KEYS: [&'static str; 6] =
        ["url", "events", "channels", "headers", "batch_ms", "timeout_ms"];

    /// Reads an entry of `webhooks`.
    ///
    /// # Errors
    ///
    /// The key with the first invalid value, and the reason.
    pub fn read(entry: &Map<String, Value>) -> Result<Self, (String, String)> {
        let at = |key: &str| {
            let key = key.to_owned();
            move |reason: String| (key, reason)
        };
        let url = match entry.get("url") {
            Some(Value::String(url)) => Url::parse(url).map_err(at("url"))?,
            None | Some(Value::Null) => return Err(at("url")("is missing".into())),
            Some(_) => return Err(at("url")("must be text".into())),
        };
        let mut webhook = Webhook::new(url);
        for (key, value) in entry {
            webhook.set(key, value).map_err(|(part, reason)| (format!("{key}{part}"), reason))?;
        }
        Ok(webhook)
    }

    /// Sets the value of a key. An error has the part of the key below it.
    fn set(&mut self, key: &str, value: &Value) -> Result<(), (String, String)> {
        let here = |reason| (String::new(), reason);
        match key {
            "url" => {}
            _ if value.is_null() => {}
            "events" => {
                let names = texts(value).map_err(here)?;
                self.events =
                    WebhookEvents::parse(names.iter().map(String::as_str)).map_err(here)?;
            }
            "channels" => self.channels = texts(value).map_err(here)?,
            "headers" => self.set_headers(value)?,
            "batch_ms" => self.batch_ms = number(value, &(1..=60_000)).map_err(here)?,
            "timeout_ms" => self.timeout_ms = number(value, &(100..=120_000)).map_err(here)?,
            key => {
                return Err(here(format!("is not a known key{}", did_you_mean(key, Self::KEYS))));
            }
        }
        Ok(())
    }

    fn set_headers(&mut self, value: &Value) -> Result<(), (String, String)> {
        let headers = match value {
            Value::Object(headers) => headers,
            Value::Array(list) if list.is_empty() => return Ok(()),
            _ => return Err((String::new(), "must be an object of texts".into())),
        };
        self.headers.clear();
        for (name, value) in headers {
            let at = |reason: &str| (format!(".{}", name.escape_debug()), reason.to_owned());
            let is_token =
                |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            if name.is_empty() || !name.bytes().all(is_token) {
                return Err(at("is not the name of a header"));
            }
            if RESERVED_HEADERS.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
                return Err(at("is a header that the server sets"));
            }
            let Value::String(text) = value else { return Err(at("must be text")) };
            // A line break would begin another header.
            if !text.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)) {
                return Err(at("has a character that a header cannot have"));
            }
            self.headers.push((name.clone(), text.trim().to_owned()));
        }
        Ok(())
    }

    /// Its own headers, as lines of a request.
    pub fn header_lines(&self) -> String {
        let mut lines = String::new();
        for (name, value) in &self.headers {
            lines.push_str(&format!("{name}: {value}\r\n"));
        }
        lines
    }

    /// A webhook with the defaults.
    pub fn new(url: Url) -> Self {
        Webhook {
            url,
            events: WebhookEvents::PUSHER,
            channels: Vec::new(),
            headers: Vec::new(),
            batch_ms: 50,
            timeout_ms: 10_000,
            laravel_cause: None,
        }
    }
}

/// Omits the headers, which may contain a secret.
impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Webhook");
        shown.field("url", &self.url).field("events", &self.events);
        shown.field("channels", &self.channels).finish_non_exhaustive()
    }
}

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// An event that a webhook may cover.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum WebhookEvent {
            $($(#[$doc])* $name,)*
        }

        impl WebhookEvent {
            /// All events, in the order of the manual.
            pub const ALL: [WebhookEvent; [$($text),*].len()] = [$(WebhookEvent::$name),*];

            /// Its `name` in a request and in the configuration.
            pub fn name(self) -> &'static str {
                match self {
                    $(WebhookEvent::$name => $text,)*
                }
            }
        }
    };
}

events! {
    /// A channel has its first subscriber.
    ChannelOccupied = "channel_occupied";
    /// A channel has lost its last subscriber.
    ChannelVacated = "channel_vacated";
    /// A user has joined a presence channel.
    MemberAdded = "member_added";
    /// A user has left a presence channel.
    MemberRemoved = "member_removed";
    /// A client has sent an event to a channel.
    ClientEvent = "client_event";
    /// A client has subscribed to a cache channel without a cached event.
    CacheMiss = "cache_miss";
    /// The number of subscribers of a channel has changed.
    SubscriptionCount = "subscription_count";
    /// A connection was closed because its client answered no ping.
    ConnectionPruned = "connection_pruned";
    /// A message of a client was handled.
    MessageReceived = "message_received";
    /// A message was queued for a client.
    MessageSent = "message_sent";
    /// How many messages were sent and received since the last of these events.
    MessageCounts = "message_counts";
}

/// A set of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WebhookEvents(u16);

impl WebhookEvents {
    /// The events of Pusher, which a webhook covers unless it names others.
    pub const PUSHER: WebhookEvents = WebhookEvents(0x7F);

    /// Parses the names of events.
    ///
    /// # Errors
    ///
    /// A name is unknown, or there is none.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut events = WebhookEvents::default();
        for name in names {
            let event = WebhookEvent::ALL.into_iter().find(|event| event.name() == name);
            let known = || WebhookEvent::ALL.map(WebhookEvent::name).join(", ");
            let event = event
                .ok_or_else(|| format!("{} is not one of {}", values::shown(name), known()))?;
            events = events.with(event);
        }
        if events == WebhookEvents::default() { Err("is an empty list".into()) } else { Ok(events) }
    }

    /// Whether it has this event.
    pub fn has(self, event: WebhookEvent) -> bool {
        self.0 & (1 << event as u16) != 0
    }

    /// The set with this event in addition.
    #[must_use]
    pub fn with(self, event: WebhookEvent) -> Self {
        WebhookEvents(self.0 | 1 << event as u16)
    }

    /// The events of both sets.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        WebhookEvents(self.0 | other.0)
    }

    /// Its events, in the order of the manual.
    pub fn iter(self) -> impl Iterator<Item = WebhookEvent> {
        WebhookEvent::ALL.into_iter().filter(move |event| self.has(*event))
    }
}

/// A list of texts, or texts separated by commas.
fn texts(value: &Value) -> Result<Vec<String>, String> {
    let trimmed = |text: &str| text.trim().to_owned();
    match value {
        Value::String(text) => {
            Ok(text.split(',').map(trimmed).filter(|text| !text.is_empty()).collect())
        }
        Value::Array(list) => {
            let texts = list.iter().map(|item| item.as_str().map(trimmed)).collect();
            let texts: Option<Vec<String>> = texts;
            texts.ok_or_else(|| "must be a list of texts".into())
        }
        _ => Err("must be a list of texts".into()),
    }
}

fn number(value: &Value, range: &RangeInclusive<u64>) -> Result<u32, String> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return Err("must be a whole number".into()),
    };
    values::whole(&text, range).map(|number| number as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Webhook, String> {
        let entry: Map<String, Value> = serde_json::from_str(json).unwrap();
        Webhook::read(&entry).map_err(|(key, reason)| format!("{key}: {reason}"))
    }

    #[test]
    fn an_entry_sets_what_it_names() {
        let webhook = read(
            r#"{"url":"https://a/b","events":"channel_occupied, client_event","channels":["p-*"],
                "headers":{"X-A":" b ","Authorization":"Bearer x"},"batch_ms":"7","timeout_ms":500}"#,
        );
        let webhook = webhook.unwrap();
        let headers = [("Authorization", "Bearer x"), ("X-A", "b")];
        assert_eq!(webhook.headers, headers.map(|(n, v)| (n.to_owned(), v.to_owned())));
        assert_eq!(webhook.events.iter().count(), 2);
        assert_eq!((webhook.batch_ms, webhook.timeout_ms), (7, 500));
        assert_eq!(webhook.channels, ["p-*"]);
        let defaults = Webhook::new(Url::parse("http://a").unwrap());
        assert_eq!(read(r#"{"url":"http://a","events":null,"headers":[]}"#), Ok(defaults));
    }

    #[test]
    fn an_invalid_entry_is_rejected_with_its_key() {
        for (json, error) in [
            ("{}", "url: is missing"),
            (r#"{"url":"a"}"#, "url: must begin with http:// or https://"),
            (r#"{"url":"http://a","events":[]}"#, "events: is an empty list"),
            (r#"{"url":"http://a","event":[]}"#, "event: is not a known key; did you mean events?"),
            (r#"{"url":"http://a","batch_ms":0}"#, "batch_ms: 0 is not between 1 and 60000"),
            (r#"{"url":"http://a","channels":7}"#, "channels: must be a list of texts"),
            (
                r#"{"url":"http://a","headers":{"x-pusher-key":"k"}}"#,
                "headers.x-pusher-key: is a header that the server sets",
            ),
            (
                r#"{"url":"http://a","headers":{"A":"b\r\nC: d"}}"#,
                "headers.A: has a character that a header cannot have",
            ),
            (
                r#"{"url":"http://a","headers":{"A:":"b"}}"#,
                "headers.A:: is not the name of a header",
            ),
        ] {
            assert_eq!(read(json), Err(error.into()), "{json}");
        }
    }

    #[test]
    fn a_set_has_the_events_that_were_named() {
        let events = WebhookEvents::parse(["message_sent", "channel_occupied"]).unwrap();
        let names: Vec<_> = events.iter().map(WebhookEvent::name).collect();
        assert_eq!(names, ["channel_occupied", "message_sent"]);
        assert_eq!(WebhookEvents::PUSHER.iter().count(), 7);
        assert!(!WebhookEvents::PUSHER.has(WebhookEvent::ConnectionPruned));
        assert_eq!(WebhookEvents::parse([]).unwrap_err(), "is an empty list");
        let unknown = WebhookEvents::parse(["channel_ocupied"]).unwrap_err();
        assert!(unknown.starts_with("\"channel_ocupied\" is not one of channel_occupied, "));
    }
}
