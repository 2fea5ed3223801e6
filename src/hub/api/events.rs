//! Publishing: `POST events` and `POST batch_events` (protocol sections 14.2 and 14.3).
//!
//! Everything is checked before anything is sent. What the publisher wrote as `name` and `data`
//! is copied as the JSON text it was. Faults are told in the words of Laravel's validator, which
//! publishers of Reverb know.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::super::Hub;
use super::super::channel::{Access, Kind};
use super::super::peer::{Now, SocketId};
use super::Answer;
use super::info::{Info, write_entry};
use crate::config::LimitKind;
use crate::proto::envelope::{self, Item, Version};
use crate::proto::http::{HttpError, Response};
use crate::proto::message::{self, KeyOrder, Object, json_string};

/// One event to be sent; `name` and `data` are JSON texts.
struct Event<'a> {
    name: &'a str,
    data: &'a str,
    channels: Vec<Cow<'a, str>>,
    except: Option<SocketId>,
    info: Option<Info>,
}

/// An event as the subscribers of one channel get it; `name` and `data` are JSON texts.
pub(in super::super) struct Sent<'a> {
    pub name: &'a str,
    pub channel: &'a str,
    pub data: &'a str,
    /// Who sent it, where a client did on a presence channel.
    pub user: Option<&'a str>,
    pub order: KeyOrder,
    /// Which of two a cache channel keeps; `None` for what it never keeps.
    pub version: Option<Version>,
}

impl<T> Hub<T> {
    /// `POST events`.
    pub(super) fn events(&mut self, app: u32, body: &[u8], now: Now) -> Result<Answer, HttpError> {
        let object = parse_body(body)?;
        let mut faults = Faults::default();
        let event = self.check_event(&object, Prefix(None), true, &mut faults);
        if let Some(response) = faults.response() {
            return Ok(response.into());
        }
        if self.is_put_off(|hub| hub.units_to_publish(app, &event)) {
            return Ok(Answer::Deferred);
        }
        self.publish(app, &event, KeyOrder::DataFirst, now);
        let Some(info) = event.info else { return Ok(Response::json(200, "{}").into()) };
        let app = &self.apps[app as usize];
        let mut answer = String::from(r#"{"channels":{"#);
        for (n, channel) in event.channels.iter().enumerate() {
            if event.channels[..n].contains(channel) {
                continue;
            }
            if n > 0 {
                answer.push(',');
            }
            write_entry(&mut answer, info, app, channel, now);
        }
        answer.push_str("}}");
        Ok(Response::json(200, answer).into())
    }

    /// `POST batch_events`.
    pub(super) fn batch_events(
        &mut self,
        app: u32,
        body: &[u8],
        now: Now,
    ) -> Result<Answer, HttpError> {
        let object = parse_body(body)?;
        let mut faults = Faults::default();
        let objects = self.check_batch(&object, &mut faults);
        let mut events = Vec::with_capacity(objects.len());
        for (n, object) in objects.iter().enumerate() {
            events.push(self.check_event(object, Prefix(Some(n)), false, &mut faults));
        }
        if let Some(response) = faults.response() {
            return Ok(response.into());
        }
        let units = |hub: &Self| events.iter().map(|event| hub.units_to_publish(app, event)).sum();
        if self.is_put_off(units) {
            return Ok(Answer::Deferred);
        }
        events.iter().for_each(|event| self.publish(app, event, KeyOrder::ChannelFirst, now));
        if events.iter().all(|event| event.info.is_none()) {
            return Ok(Response::json(200, "{}").into());
        }
        let app = &self.apps[app as usize];
        let mut answer = String::from(r#"{"batch":["#);
        for (n, event) in events.iter().enumerate() {
            if n > 0 {
                answer.push(',');
            }
            match (event.info, event.channels.first()) {
                (Some(info), Some(channel)) => info.write(&mut answer, app, channel, now),
                _ => answer.push_str("{}"),
            }
        }
        answer.push_str("]}");
        Ok(Response::json(200, answer).into())
    }

    /// The estimated cost of publishing an event on this node, in units: one frame per subscriber.
    fn units_to_publish(&self, app: u32, event: &Event<'_>) -> u64 {
        let app = &self.apps[app as usize];
        let members = event.channels.iter().filter_map(|name| app.channel(name));
        members.map(|channel| channel.members.len() as u64).sum()
    }

    /// Sends an event to the subscribers of each of its channels: those here first.
    fn publish(&mut self, app: u32, event: &Event<'_>, order: KeyOrder, now: Now) {
        self.peers.counters.apps[app as usize].api_events += event.channels.len() as u64;
        let version = self.bus.as_mut().map_or((0, 0), |bus| bus.version(now));
        let &Event { name, data, except, .. } = event;
        for channel in &event.channels {
            let sent = Sent { name, channel, data, user: None, order, version: Some(version) };
            self.deliver(app, &sent, except, now);
        }
        let Some(bus) = &mut self.bus else { return };
        // Internal channels receive no published events on any node.
        let channels = event.channels.iter().map(|channel| Cow::Borrowed(&**channel));
        let channels = channels.filter(|name| Kind::of(name).access != Access::Internal);
        let channels: Vec<Cow<'_, str>> = channels.collect();
        if channels.is_empty() {
            return;
        }
        bus.publish(&Item::Event(envelope::Event {
            app: self.apps[app as usize].settings.id.as_str().into(),
            name,
            data,
            channels,
            order,
            except: except.map(|except| except.to_string().into()),
            user: None,
            clock: version.0,
        }));
    }

    /// Sends an event to the subscribers of one channel who are here.
    pub(in super::super) fn deliver(
        &mut self,
        app: u32,
        event: &Sent<'_>,
        except: Option<SocketId>,
        now: Now,
    ) {
        let index = app;
        let app = &mut self.apps[index as usize];
        let kept = event.version.filter(|_| Kind::of(event.channel).cache);
        let channel = app.channel(event.channel);
        let channel =
            channel.filter(|c| c.kind.access != Access::Internal && !c.members.is_empty());
        if channel.is_none() && kept.is_none() {
            return;
        }
        let Sent { name, channel: to, data, user, order, .. } = *event;
        let frame = message::event(name, to, data, user, order);
        if let Some(channel) = channel {
            self.peers.broadcast(index, &channel.members, &frame, except);
        }
        if let Some(version) = kept {
            app.cache.keep(to, frame, version, now.ms);
        }
    }

    fn check_batch<'a>(&self, object: &Object<'a>, faults: &mut Faults) -> Vec<Object<'a>> {
        let raw = field(object, "batch");
        let items = raw.and_then(message::elements);
        let limit = self.limits.events_per_batch as usize;
        match items {
            _ if is_missing(raw) => faults.add("batch", "The batch field is required."),
            None => faults.add("batch", "The batch field must be an array."),
            Some(items) if items.len() > limit => {
                let text = format!(
                    "The batch has {} events, the limit is {limit} (limits.events_per_batch).",
                    items.len()
                );
                faults.over(LimitKind::EventsPerBatch, "batch", &text);
            }
            Some(items) => {
                return items
                    .iter()
                    .map(|item| message::object(item.get()).unwrap_or_default())
                    .collect();
            }
        }
        Vec::new()
    }

    fn check_event<'a>(
        &self,
        object: &Object<'a>,
        prefix: Prefix,
        several: bool,
        faults: &mut Faults,
    ) -> Event<'a> {
        let name = required_string(object, prefix, "name", faults);
        let limit = self.limits.event_name_length as usize;
        // What is short as JSON text is no longer as text.
        if name.len() > limit && message::string(name).is_some_and(|n| n.chars().count() > limit) {
            let text = format!(
                "The {prefix}name field is longer than {limit} characters \
                 (limits.event_name_length)."
            );
            faults.over(LimitKind::EventNameLength, &format!("{prefix}name"), &text);
        }
        let data = required_string(object, prefix, "data", faults);
        let channels = match several {
            true => self.check_channels(object, faults),
            false => vec![batch_channel(object, prefix, faults)],
        };
        self.check_names(&channels, prefix, several, faults);
        let socket_id = optional_string(object, prefix, "socket_id", faults);
        let info = optional_string(object, prefix, "info", faults);
        let except = socket_id.as_deref().and_then(SocketId::parse);
        Event { name, data, channels, except, info: info.as_deref().map(Info::parse) }
    }

    /// `channels`, or else `channel`.
    fn check_channels<'a>(&self, object: &Object<'a>, faults: &mut Faults) -> Vec<Cow<'a, str>> {
        let (raw, single) = (field(object, "channels"), field(object, "channel"));
        let both_missing = is_missing(raw) && is_missing(single);
        let named = match raw {
            _ if both_missing => None,
            Some(raw) if !is_missing(Some(raw)) => match names(raw) {
                Ok(names) => Some(names),
                Err(text) => {
                    faults.add("channels", text);
                    None
                }
            },
            _ => None,
        };
        if both_missing {
            let text = "The channels field is required when channel is not present.";
            faults.add("channels", text);
            let text = "The channel field is required when channels is not present.";
            faults.add("channel", text);
            return Vec::new();
        }
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
        let channels = named.or(single).unwrap_or_default();
        let limit = self.limits.channels_per_event as usize;
        if channels.len() > limit {
            let text = format!(
                "The channels field has {} channels, the limit is {limit} \
                 (limits.channels_per_event).",
                channels.len()
            );
            faults.over(LimitKind::ChannelsPerEvent, "channels", &text);
        }
        channels
    }

    fn check_names(
        &self,
        channels: &[Cow<'_, str>],
        prefix: Prefix,
        several: bool,
        faults: &mut Faults,
    ) {
        let limit = self.limits.channel_name_length as usize;
        let key = if several && channels.len() > 1 { "channels" } else { "channel" };
        if channels.iter().any(|name| name.len() > limit && name.chars().count() > limit) {
            let text = format!(
                "A channel name is longer than {limit} characters (limits.channel_name_length)."
            );
            faults.over(LimitKind::ChannelNameLength, &format!("{prefix}{key}"), &text);
        }
    }
}

/// What stands before a field in the paths of its faults: nothing, or its place in a batch.
#[derive(Clone, Copy)]
struct Prefix(Option<usize>);

impl std::fmt::Display for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |n| write!(f, "batch.{n}."))
    }
}

/// The body as an object. A list passes as one without members, as in PHP.
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

/// Whether Laravel's validator takes it for absent: null, a blank string, an empty list.
fn is_missing(raw: Option<&str>) -> bool {
    match raw {
        None | Some("null") => true,
        Some(raw) if raw.starts_with('"') => message::is_blank_string(raw),
        Some(raw) if raw.starts_with(['[', '{']) => raw[1..raw.len() - 1].trim().is_empty(),
        Some(_) => false,
    }
}

/// A string that must be there, as JSON text.
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

/// The channel of an event in a batch, which Laravel asks for in other words.
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
        // Laravel speaks of its own fields without underscores, but not of those in a list.
        let spoken = if prefix.0.is_none() { key.replace('_', " ") } else { path.clone() };
        faults.add(&path, &format!("The {spoken} field must be a string."));
    }
    text
}

/// The names in `channels`; numbers as text.
fn names(raw: &str) -> Result<Vec<Cow<'_, str>>, &'static str> {
    let elements = message::elements(raw).ok_or("The channels field must be an array.")?;
    let names: Option<_> = elements.into_iter().map(|raw| name(raw.get())).collect();
    names.ok_or("Each of the channels must be a string.")
}

fn name(raw: &str) -> Option<Cow<'_, str>> {
    match raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        true => Some(raw.into()),
        false => message::string(raw),
    }
}

/// What is wrong with a body, by field, in the order in which it was found.
#[derive(Default)]
struct Faults {
    found: Vec<(String, Vec<String>)>,
    /// A bound that is among them.
    bound: Option<LimitKind>,
}

impl Faults {
    fn add(&mut self, field: &str, text: &str) {
        match self.found.iter_mut().find(|(found, _)| found == field) {
            Some((_, texts)) => texts.push(json_string(text)),
            None => self.found.push((field.to_owned(), vec![json_string(text)])),
        }
    }

    fn over(&mut self, bound: LimitKind, field: &str, text: &str) {
        self.bound = Some(bound);
        self.add(field, text);
    }

    /// 422 with Laravel's form of a body, if there is anything wrong.
    fn response(&self) -> Option<Response> {
        if self.found.is_empty() {
            return None;
        }
        let faults = self.found.iter();
        let faults: Vec<String> = faults
            .map(|(field, texts)| format!("{}:[{}]", json_string(field), texts.join(",")))
            .collect();
        let body = format!("{{{}}}", faults.join(","));
        Some(Response { bound: self.bound, ..Response::json(422, body) })
    }
}
