//! Passes what happens in the hub to the listener of an embedding program and to webhooks, with one
//! method for each kind. Without a listener and webhooks, a report costs a branch.

use std::rc::Rc;

use super::channel::Kind;
use super::ids::{Now, SocketId};
use super::listener::Listener;
use super::peer::Source;
use super::webhooks::{HAS_WEBHOOKS, Webhooks};
use crate::config::{App, WebhookEvent};
use crate::proto::webhook::ClientEvent;

/// Receives the reports.
pub(crate) struct Happenings {
    pub listener: Option<Box<dyn Listener>>,
    webhooks: Option<Box<Webhooks>>,
    /// The ids of the apps.
    app_ids: Vec<Rc<str>>,
}

impl Happenings {
    pub(super) fn new(apps: &[App]) -> Self {
        let app_ids = apps.iter().map(|app| Rc::from(app.id.as_str())).collect();
        Happenings { listener: None, webhooks: None, app_ids }
    }

    /// Sets the webhooks.
    pub(super) fn set_webhooks(&mut self, webhooks: Option<Box<Webhooks>>) {
        self.webhooks = webhooks;
    }

    /// The webhooks, if there are any.
    #[inline]
    pub(super) fn webhooks(&self) -> Option<&Webhooks> {
        self.webhooks.as_deref().filter(|_| HAS_WEBHOOKS)
    }

    /// The webhooks, mutably.
    #[inline]
    pub(super) fn webhooks_mut(&mut self) -> Option<&mut Webhooks> {
        self.webhooks.as_deref_mut().filter(|_| HAS_WEBHOOKS)
    }

    /// Adds an app that was removed from the configuration.
    pub(super) fn add_app(&mut self, id: &str) {
        self.app_ids.push(Rc::from(id));
    }

    /// The id of an app.
    pub(super) fn app_id(&self, app: u32) -> &Rc<str> {
        &self.app_ids[app as usize]
    }

    /// Sets the time of the following reports.
    #[inline]
    pub(super) fn set_now(&mut self, now: Now) {
        if let Some(webhooks) = self.webhooks_mut() {
            webhooks.set_now(now);
        }
    }

    /// A channel has its first subscriber, at this node or another.
    pub(super) fn channel_created(&mut self, app: u32, channel: &Rc<str>, kind: Kind) {
        if let Some(listener) = &mut self.listener {
            listener.channel_created(&self.app_ids[app as usize], channel);
        }
        if let Some(webhooks) = self.webhooks_mut().filter(|_| kind.is_listed()) {
            webhooks.changed(app, channel, None, true);
        }
    }

    /// A channel has no subscriber any more, at any node.
    pub(super) fn channel_removed(&mut self, app: u32, channel: &Rc<str>, kind: Kind) {
        if let Some(listener) = &mut self.listener {
            listener.channel_removed(&self.app_ids[app as usize], channel);
        }
        if let Some(webhooks) = self.webhooks_mut().filter(|_| kind.is_listed()) {
            webhooks.changed(app, channel, None, false);
        }
    }

    /// A user has joined a presence channel.
    #[inline]
    pub(super) fn member_added(&mut self, app: u32, channel: &Rc<str>, user: &Rc<str>) {
        if let Some(webhooks) = self.webhooks_mut() {
            webhooks.changed(app, channel, Some(user), true);
        }
    }

    /// A user has left a presence channel.
    #[inline]
    pub(super) fn member_removed(&mut self, app: u32, channel: &Rc<str>, user: &Rc<str>) {
        if let Some(webhooks) = self.webhooks_mut() {
            webhooks.changed(app, channel, Some(user), false);
        }
    }

    /// A full sync of another node contains this channel, or this user of it.
    #[inline]
    pub(super) fn synced(&mut self, app: u32, channel: &Rc<str>, user: Option<&Rc<str>>) {
        if let Some(webhooks) = self.webhooks_mut() {
            webhooks.synced(app, channel, user);
        }
    }

    /// Whether a webhook wants [`Happenings::subscription_count`] of an app.
    #[inline]
    pub(super) fn wants_counts(&self, app: u32) -> bool {
        self.wants(app, WebhookEvent::SubscriptionCount)
    }

    /// The number of subscribers of a channel has changed.
    pub(super) fn subscription_count(&mut self, app: u32, channel: &Rc<str>, count: u64) {
        if let Some(webhooks) = self.webhooks_mut() {
            webhooks.subscription_count(app, channel, count);
        }
    }

    /// A client has sent an event, which was delivered.
    #[inline]
    pub(super) fn client_event(&mut self, app: u32, event: &ClientEvent<'_>, from: SocketId) {
        if let Some(webhooks) = self.webhooks_mut() {
            webhooks.client_event(app, event, from);
        }
    }

    /// A client has subscribed to a cache channel, and no event was cached.
    #[inline]
    pub(super) fn cache_miss(&mut self, app: u32, channel: &str) {
        if let Some(webhooks) = self.webhooks_mut() {
            webhooks.cache_miss(app, channel);
        }
    }

    /// A connection was closed because its client answered no ping.
    pub(super) fn connection_pruned(&mut self, app: u32, connection: Source<'_>) {
        if let Some(listener) = &mut self.listener {
            listener.connection_pruned(&self.app_ids[app as usize], connection.socket_id);
        }
        if let Some(webhooks) = self.webhooks_mut() {
            webhooks.connection_pruned(app, connection);
        }
    }

    /// A client's message was handled without an error.
    #[inline]
    pub(super) fn message_received(&mut self, app: u32, from: Source<'_>, message: &str) {
        if let Some(listener) = &mut self.listener {
            listener.message_received(&self.app_ids[app as usize], from.socket_id, message);
        }
        if let Some(webhooks) = self.webhooks_mut() {
            webhooks.message(app, WebhookEvent::MessageReceived, from, message);
        }
    }

    /// Whether the listener or a webhook wants [`Happenings::message_sent`] of an app.
    #[inline]
    pub(super) fn wants_sent(&self, app: u32) -> bool {
        self.listener.is_some() || self.wants(app, WebhookEvent::MessageSent)
    }

    /// A text message was put in a client's queue.
    pub(super) fn message_sent(&mut self, app: u32, to: Source<'_>, message: &str) {
        if let Some(listener) = &mut self.listener {
            listener.message_sent(&self.app_ids[app as usize], to.socket_id, message);
        }
        if let Some(webhooks) = self.webhooks_mut() {
            webhooks.message(app, WebhookEvent::MessageSent, to, message);
        }
    }

    #[inline]
    fn wants(&self, app: u32, event: WebhookEvent) -> bool {
        self.webhooks().is_some_and(|webhooks| webhooks.wants(app, event))
    }
}
