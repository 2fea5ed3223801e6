//! Delivers events to the subscribers of a channel: from the API, from clients and from other nodes
//! (protocol sections 10 and 14.2). They are checked before: see `api/events`, `client_event` and
//! `cluster/receive`.

use std::borrow::Cow;

use super::channel::{Kind, is_encrypted};
use super::connections::Connections;
use super::feed::ApiEventReport;
use super::ids::{Now, SocketId};
use super::pubsub::PubSub;
use crate::proto::envelope::{self, Item, Version};
use crate::proto::message::{self, KeyOrder};

/// An event of a publisher; `name` and `data` are JSON texts.
pub(super) struct Event<'a> {
    pub name: &'a str,
    pub data: &'a str,
    pub channels: Vec<Cow<'a, str>>,
    /// The connection that does not receive it.
    pub except: Option<SocketId>,
}

/// An event for the subscribers of one channel; `name` and `data` are JSON texts.
pub(super) struct ChannelEvent<'a> {
    pub name: &'a str,
    pub channel: &'a str,
    pub data: &'a str,
    /// The user that sent it, if a client sent it to a presence channel.
    pub user: Option<&'a str>,
    pub order: KeyOrder,
    /// A cache channel keeps the event with the greatest version; `None` for an event that is not
    /// cached.
    pub version: Option<Version>,
}

impl PubSub {
    /// The estimated cost of publishing an event on this node, in units: one frame per subscriber.
    pub(super) fn units_to_publish(&self, app: u32, event: &Event<'_>) -> u64 {
        let app = &self.apps[app];
        let members = event.channels.iter().filter_map(|name| app.channel(name));
        members.map(|channel| channel.members.len() as u64).sum()
    }

    /// Sends an event to this node's subscribers of each of its channels, and to the other nodes.
    pub(super) fn publish<T>(
        &mut self,
        connections: &mut Connections<T>,
        app: u32,
        event: &Event<'_>,
        order: KeyOrder,
        now: Now,
    ) {
        connections.counters.apps[app as usize].api_events += event.channels.len() as u64;
        let version = self.bus.as_mut().map_or((0, 0), |bus| bus.version(now));
        let &Event { name, data, except, .. } = event;
        let mut places = log::log_enabled!(log::Level::Debug).then(String::new);
        let mut all_recipients = 0;
        for channel in &event.channels {
            let sent =
                ChannelEvent { name, channel, data, user: None, order, version: Some(version) };
            let recipients = self.deliver(connections, app, &sent, except, now);
            all_recipients += recipients;
            if let Some(places) = &mut places {
                places.push_str(&format!(", {channel:?}: {recipients} subscribers here"));
            }
        }
        let report = ApiEventReport {
            name,
            data,
            channels: &event.channels,
            except,
            recipients: all_recipients,
        };
        connections.happenings.api_event(app, &report);
        if let Some(places) = places {
            let nodes = self.bus.as_ref().map_or(0, |bus| bus.nodes.live_count());
            let app = &self.apps[app].settings.id;
            log::debug!("app {app}: event {name}{places}; other nodes: {nodes}");
        }
        let Some(bus) = &mut self.bus else { return };
        // Internal channels receive no published events on any node.
        let channels = event.channels.iter().map(|channel| Cow::Borrowed(&**channel));
        let channels = channels.filter(|name| !Kind::of(name).is_internal());
        let channels: Vec<Cow<'_, str>> = channels.collect();
        if channels.is_empty() {
            return;
        }
        bus.publish(&Item::Event(envelope::Event {
            app: self.apps[app].settings.id.as_str().into(),
            name,
            data,
            channels,
            order,
            except: except.map(|except| except.to_string().into()),
            user: None,
            clock: version.0,
        }));
    }

    /// Sends an event to this node's subscribers of one channel. Returns how many receive it.
    pub(super) fn deliver<T>(
        &mut self,
        connections: &mut Connections<T>,
        app: u32,
        event: &ChannelEvent<'_>,
        except: Option<SocketId>,
        now: Now,
    ) -> u64 {
        let index = app;
        let app = &mut self.apps[index];
        let version = event.version.filter(|_| Kind::of(event.channel).cache);
        let channel = app.channel(event.channel);
        let channel = channel.filter(|c| !c.kind.is_internal() && !c.members.is_empty());
        if channel.is_none() && version.is_none() {
            return 0;
        }
        let ChannelEvent { name, channel: to, data, user, order, .. } = *event;
        let frame = message::event(name, to, data, user, order);
        let recipients = channel.map_or(0, |channel| match is_encrypted(to) {
            // What looks random does not compress.
            true => connections.broadcast_forms(index, &channel.members, &frame, None, except),
            false => connections.broadcast(index, &channel.members, &frame, except),
        });
        if let Some(version) = version {
            app.cache.store(to, frame, version, now.ms);
        }
        recipients
    }
}
