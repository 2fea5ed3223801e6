//! Publishing: `POST events` and `POST batch_events` (protocol sections 14.2 and 14.3). Delivery is
//! in `publish`.
//!
//! A body is checked completely before any of its events is published. `name` and `data` are copied
//! as JSON text and not parsed and encoded again. Validation errors have the texts of Laravel's
//! validator, as in Laravel Reverb.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::super::app_limits::Bound;
use super::super::channel_info::{Info, write_entry};
use super::super::ids::{Now, SocketId};
use super::super::publish::Event;
use super::rate::Rate;
use super::{Answer, Api};
use crate::config::{Exceeded, LimitKind};
use crate::proto::http::{HttpError, Response};
use crate::proto::message::{self, KeyOrder, Object, json_string};

/// A checked event, and the channel attributes that the response must contain (`info`).
struct Checked<'a> {
    event: Event<'a>,
    info: Option<Info>,
}

impl<T> Api<'_, T> {
    /// `POST events`.
    pub(in crate::hub) fn events(
        &mut self,
        app: u32,
        body: &[u8],
        now: Now,
    ) -> Result<Answer, Response> {
        self.check_rate(app, Rate::Events, now)?;
        let object = parse_body(body)?;
        let mut faults = Faults::default();
        let Checked { event, info } = self.check_event(app, &object, Prefix(None), &mut faults);
        if let Some(response) = faults.response() {
            return Ok(response.into());
        }
        self.check_payload(app, &event, "data")?;
        if self.connections.must_defer(|| self.pubsub.units_to_publish(app, &event)) {
            return Ok(Answer::Deferred);
        }
        self.charge(app, Rate::Events, event.channels.len(), now);
        self.pubsub.publish(self.connections, app, &event, KeyOrder::DataFirst, now);
        let Some(info) = info else { return Ok(Response::json(200, "{}").into()) };
        let app = &self.pubsub.apps[app];
        let mut text = String::from(r#"{"channels":{"#);
        for (n, channel) in event.channels.iter().enumerate() {
            if event.channels[..n].contains(channel) {
                continue;
            }
            if n > 0 {
                text.push(',');
            }
            write_entry(&mut text, info, app, channel, now);
        }
        text.push_str("}}");
        Ok(Response::json(200, text).into())
    }

    /// `POST batch_events`.
    pub(super) fn batch_events(
        &mut self,
        app: u32,
        body: &[u8],
        now: Now,
    ) -> Result<Answer, Response> {
        self.check_rate(app, Rate::Events, now)?;
        let object = parse_body(body)?;
        let mut faults = Faults::default();
        let objects = self.check_batch(app, &object, &mut faults);
        let mut events = Vec::with_capacity(objects.len());
        for (n, object) in objects.iter().enumerate() {
            events.push(self.check_event(app, object, Prefix(Some(n)), &mut faults));
        }
        if let Some(response) = faults.response() {
            return Ok(response.into());
        }
        for (n, Checked { event, .. }) in events.iter().enumerate() {
            self.check_payload(app, event, format_args!("{}data", Prefix(Some(n))))?;
        }
        let units = |checked: &Checked<'_>| self.pubsub.units_to_publish(app, &checked.event);
        if self.connections.must_defer(|| events.iter().map(units).sum()) {
            return Ok(Answer::Deferred);
        }
        let count = events.iter().map(|one| one.event.channels.len()).sum();
        self.charge(app, Rate::Events, count, now);
        for Checked { event, .. } in &events {
            self.pubsub.publish(self.connections, app, event, KeyOrder::ChannelFirst, now);
        }
        if events.iter().all(|checked| checked.info.is_none()) {
            return Ok(Response::json(200, "{}").into());
        }
        let app = &self.pubsub.apps[app];
        let mut text = String::from(r#"{"batch":["#);
        for (n, Checked { event, info }) in events.iter().enumerate() {
            if n > 0 {
                text.push(',');
            }
            match (info, event.channels.first()) {
                (Some(info), Some(channel)) => info.write(&mut text, app, channel, now),
                _ => text.push_str("{}"),
            }
        }
        text.push_str("]}");
        Ok(Response::json(200, text).into())
    }

    fn check_batch<'a>(
        &self,
        app: u32,
        object: &Object<'a>,
        faults: &mut Faults,
    ) -> Vec<Object<'a>> {
        let raw = field(object, "batch");
        let items = raw.and_then(message::objects);
        let server = (LimitKind::EventsPerBatch, self.connections.limits.events_per_batch);
        let bound = self.pubsub.bound(app, server, LimitKind::AppEventBatch);
        let (limit, setting) = (bound.max as usize, bound.setting());
        match items {
            _ if is_missing(raw) => faults.add("batch", "The batch field is required."),
            None => faults.add("batch", "The batch field must be an array."),
            Some(items) if items.len() > limit => {
                let text = format!(
                    "The batch has {} events, the limit is {limit} ({setting}).",
                    items.len()
                );
                faults.add_exceeded(bound, "batch", &text);
            }
            Some(items) => return items,
        }
        Vec::new()
    }

    fn check_event<'a>(
        &self,
        app: u32,
        object: &Object<'a>,
        prefix: Prefix,
        faults: &mut Faults,
    ) -> Checked<'a> {
        let name = required_string(object, prefix, "name", faults);
        let bound = self.pubsub.event_name_length(app);
        let (limit, setting) = (bound.max as usize, bound.setting());
        // Fast path: a string has at most as many characters as its JSON text has bytes.
        if name.len() > limit && message::string(name).is_some_and(|n| n.chars().count() > limit) {
            let text =
                format!("The {prefix}name field is longer than {limit} characters ({setting}).");
            faults.add_exceeded(bound, &format!("{prefix}name"), &text);
        }
        let data = required_string(object, prefix, "data", faults);
        let channels = match prefix.is_batch() {
            true => vec![batch_channel(object, prefix, faults)],
            false => self.check_channels(app, object, faults),
        };
        self.check_names(app, &channels, prefix, faults);
        let socket_id = optional_string(object, prefix, "socket_id", faults);
        let info = optional_string(object, prefix, "info", faults);
        let except = socket_id.as_deref().and_then(SocketId::parse);
        Checked {
            event: Event { name, data, channels, except },
            info: info.as_deref().map(Info::parse),
        }
    }

    /// The channels of an event outside a batch: those in `channels`, or else the one in `channel`.
    fn check_channels<'a>(
        &self,
        app: u32,
        object: &Object<'a>,
        faults: &mut Faults,
    ) -> Vec<Cow<'a, str>> {
        let (raw, single) = (field(object, "channels"), field(object, "channel"));
        let both_missing = is_missing(raw) && is_missing(single);
        if both_missing {
            let text = "The channels field is required when channel is not present.";
            faults.add("channels", text);
            let text = "The channel field is required when channels is not present.";
            faults.add("channel", text);
            return Vec::new();
        }
        let listed = match raw {
            Some(raw) if !is_missing(Some(raw)) => match channel_names(raw) {
                Ok(names) => Some(names),
                Err(text) => {
                    faults.add("channels", text);
                    None
                }
            },
            _ => None,
        };
        let single = match single {
            Some(raw) if !is_missing(Some(raw)) => match message::string(raw) {
                Some(name) => Some(vec![name]),
                None => {
                    faults.add("channel", "The channel field must be a string.");
                    None
                }
            },
            _ => None,
        };
        let channels = listed.or(single).unwrap_or_default();
        let server = (LimitKind::ChannelsPerEvent, self.connections.limits.channels_per_event);
        let bound = self.pubsub.bound(app, server, LimitKind::AppEventChannels);
        let (limit, setting) = (bound.max as usize, bound.setting());
        if channels.len() > limit {
            let text = format!(
                "The channels field has {} channels, the limit is {limit} ({setting}).",
                channels.len()
            );
            faults.add_exceeded(bound, "channels", &text);
        }
        channels
    }

    fn check_names(
        &self,
        app: u32,
        channels: &[Cow<'_, str>],
        prefix: Prefix,
        faults: &mut Faults,
    ) {
        let bound = self.pubsub.channel_name_length(app);
        let (limit, setting) = (bound.max as usize, bound.setting());
        let key = if channels.len() > 1 { "channels" } else { "channel" };
        if channels.iter().any(|name| name.len() > limit && name.chars().count() > limit) {
            let text = format!("A channel name is longer than {limit} characters ({setting}).");
            faults.add_exceeded(bound, &format!("{prefix}{key}"), &text);
        }
    }
}

/// The prefix of a field's name in error texts: none, or `batch.` and the index of the event.
#[derive(Clone, Copy)]
struct Prefix(Option<usize>);

impl Prefix {
    fn is_batch(self) -> bool {
        self.0.is_some()
    }
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |n| write!(f, "batch.{n}."))
    }
}

/// The body as an object. A list counts as an object without members, as in PHP.
fn parse_body(body: &[u8]) -> Result<Object<'_>, HttpError> {
    let bad = || HttpError::new(400, "Bad request: the body is not a JSON object.");
    let text = std::str::from_utf8(body).map_err(|_| bad())?;
    match message::object(text) {
        Some(object) => Ok(object),
        None => message::array(text).map(|_| Object::default()).ok_or_else(bad),
    }
}

fn field<'a>(object: &Object<'a>, key: &str) -> Option<&'a str> {
    object.get(key).map(RawValue::get)
}

/// Whether Laravel's validator treats a value as absent: null, a blank string, an empty list.
fn is_missing(raw: Option<&str>) -> bool {
    match raw {
        None | Some("null") => true,
        Some(raw) if raw.starts_with('"') => message::is_blank_string(raw),
        Some(raw) if raw.starts_with(['[', '{']) => raw[1..raw.len() - 1].trim().is_empty(),
        Some(_) => false,
    }
}

/// A required string, as JSON text; `null` if it is missing or not a string.
fn required_string<'a>(
    object: &Object<'a>,
    prefix: Prefix,
    key: &str,
    faults: &mut Faults,
) -> &'a str {
    let raw = field(object, key);
    match raw {
        _ if is_missing(raw) => {
            let path = format!("{prefix}{key}");
            faults.add(&path, &format!("The {path} field is required."));
        }
        Some(raw) if message::is_string(raw) => return raw,
        _ => {
            let path = format!("{prefix}{key}");
            faults.add(&path, &format!("The {path} field must be a string."));
        }
    }
    "null"
}

/// The one channel of an event in a batch. If it is missing, the error has another text than for
/// other fields.
fn batch_channel<'a>(object: &Object<'a>, prefix: Prefix, faults: &mut Faults) -> Cow<'a, str> {
    if is_missing(field(object, "channel")) {
        let path = format!("{prefix}channel");
        let text = format!("The {path} field is required when channels is not present.");
        faults.add(&path, &text);
        return "".into();
    }
    message::string(required_string(object, prefix, "channel", faults)).unwrap_or_default()
}

fn optional_string<'a>(
    object: &Object<'a>,
    prefix: Prefix,
    key: &str,
    faults: &mut Faults,
) -> Option<Cow<'a, str>> {
    let text = message::string(field(object, key)?);
    if text.is_none() {
        let path = format!("{prefix}{key}");
        // Laravel replaces underscores in the names of top-level fields, but not in those of list
        // elements.
        let label = if prefix.is_batch() { path.clone() } else { key.replace('_', " ") };
        faults.add(&path, &format!("The {label} field must be a string."));
    }
    text
}

/// The channel names in `channels`. As in Laravel Reverb, numbers are accepted and become text.
fn channel_names(raw: &str) -> Result<Vec<Cow<'_, str>>, &'static str> {
    let elements = message::elements(raw).ok_or("The channels field must be an array.")?;
    let names: Option<_> = elements.into_iter().map(|raw| channel_name(raw.get())).collect();
    names.ok_or("Each of the channels must be a string.")
}

fn channel_name(raw: &str) -> Option<Cow<'_, str>> {
    match raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        true => Some(raw.into()),
        false => message::string(raw),
    }
}

/// The validation errors of a body, by field, in the order in which they were found.
#[derive(Default)]
struct Faults {
    found: Vec<(String, Vec<String>)>,
    /// A limit that was exceeded, if any.
    limit: Option<Exceeded>,
}

impl Faults {
    fn add(&mut self, field: &str, text: &str) {
        match self.found.iter_mut().find(|(found, _)| found == field) {
            Some((_, texts)) => texts.push(json_string(text)),
            None => self.found.push((field.to_owned(), vec![json_string(text)])),
        }
    }

    fn add_exceeded(&mut self, bound: Bound, field: &str, text: &str) {
        self.limit = Some(bound.exceeded);
        self.add(field, text);
    }

    /// Status 422 with a body as in Laravel, if there are errors.
    fn response(&self) -> Option<Response> {
        if self.found.is_empty() {
            return None;
        }
        let faults = self.found.iter();
        let faults: Vec<String> = faults
            .map(|(field, texts)| format!("{}:[{}]", json_string(field), texts.join(",")))
            .collect();
        let body = format!("{{{}}}", faults.join(","));
        Some(Response { bound: self.limit, ..Response::json(422, body) })
    }
}
