//! Passes what happens in the hub to the listener of an embedding program, to webhooks and to the
//! viewers of feeds, with one method for each kind. Without them, a report costs a branch for each.

use std::net::IpAddr;
use std::rc::Rc;

use super::channel::{Channel, Kind};
use super::feed::{
    self, ApiError, ApiEventReport, ClientEventReport, End, Feed, HAS_FEED, Refusal, WebhookReport,
};
use super::ids::{ConnId, Now, SocketId};
use super::listener::Listener;
use super::peer::{Source, Subscriber};
use super::webhooks::{HAS_WEBHOOKS, Webhooks};
use crate::config::{Config, LimitKind, WebhookEvent};
use crate::proto::envelope::NodeId;

/// Receives the reports.
pub(crate) struct Happenings {
    pub listener: Option<Box<dyn Listener>>,
    webhooks: Option<Box<Webhooks>>,
    /// The viewers of feeds; `None` while there are none.
    feed: Option<Box<Feed>>,
    /// Whether lines of feeds may have the `data` of events.
    pub feed_payload: bool,
    /// The ids of the apps.
    app_ids: Vec<Rc<str>>,
}

impl Happenings {
    pub(super) fn new(config: &Config) -> Self {
        let app_ids = config.apps.iter().map(|app| Rc::from(app.id.as_str())).collect();
        let feed_payload = config.server.feed_payload;
        Happenings { listener: None, webhooks: None, feed: None, feed_payload, app_ids }
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

    /// The viewers of feeds, if there are any.
    #[inline]
    pub(super) fn feed(&self) -> Option<&Feed> {
        self.feed.as_deref().filter(|_| HAS_FEED)
    }

    /// The viewers of feeds, mutably.
    #[inline]
    pub(super) fn feed_mut(&mut self) -> Option<&mut Feed> {
        self.feed.as_deref_mut().filter(|_| HAS_FEED)
    }

    /// The viewers of feeds, for a further one.
    pub(super) fn begin_feed(&mut self, now: Now) -> &mut Feed {
        let app_ids = &self.app_ids;
        let feed = self.feed.get_or_insert_with(|| Box::new(Feed::new(app_ids.clone(), now)));
        feed.set_now(now);
        feed
    }

    /// Removes a viewer.
    pub(super) fn remove_viewer(&mut self, app: u32, id: ConnId) {
        if let Some(feed) = self.feed_mut() {
            feed.remove(app, id);
            if feed.is_empty() {
                self.feed = None;
            }
        }
    }

    /// The number of viewers of an app.
    pub(super) fn viewers(&self, app: u32) -> usize {
        self.feed().map_or(0, |feed| feed.viewers(app))
    }

    /// When lines wait that can be put in an outbox later.
    pub(super) fn next_feed_ms(&self) -> Option<u64> {
        self.feed()?.next_ms()
    }

    /// Whether lines wait that can be put in an outbox.
    pub(super) fn has_feed_work(&self) -> bool {
        self.feed().is_some_and(Feed::has_work)
    }

    /// Adds an app that the configuration did not contain at the start.
    pub(super) fn add_app(&mut self, id: &str) {
        let id: Rc<str> = Rc::from(id);
        if let Some(feed) = self.feed_mut() {
            feed.add_app(Rc::clone(&id));
        }
        self.app_ids.push(id);
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
        if let Some(feed) = self.feed_mut() {
            feed.set_now(now);
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
        if let Some(feed) = self.feed_mut().filter(|_| kind.is_listed()) {
            feed.channel(app, feed::Kind::Occupied, channel);
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
        if let Some(feed) = self.feed_mut().filter(|_| kind.is_listed()) {
            feed.channel(app, feed::Kind::Vacated, channel);
        }
    }

    /// A connection has ended.
    #[inline]
    pub(super) fn disconnected(&mut self, app: u32, subscriber: &Subscriber, end: End<'_>) {
        if let Some(feed) = self.feed_mut() {
            let user = subscriber.user.as_ref().map(|user| &*user.id);
            feed.disconnected(app, subscriber.socket_id, user, end);
        }
    }

    /// A connection has subscribed to a channel; `user` is that of a presence channel.
    #[inline]
    pub(super) fn subscribed(
        &mut self,
        app: u32,
        socket_id: SocketId,
        channel: &str,
        user: Option<&str>,
    ) {
        if let Some(feed) = self.feed_mut() {
            feed.subscription(app, feed::Kind::Subscribed, socket_id, channel, user);
        }
    }

    /// A subscription has ended.
    #[inline]
    pub(super) fn unsubscribed(
        &mut self,
        app: u32,
        socket_id: SocketId,
        channel: &Channel,
        user: Option<&str>,
    ) {
        if let Some(feed) = self.feed_mut().filter(|_| !channel.kind.is_internal()) {
            feed.subscription(app, feed::Kind::Unsubscribed, socket_id, &channel.name, user);
        }
    }

    /// Whether a viewer wants [`Happenings::refused`] or [`Happenings::api_error`] of an app.
    #[inline]
    pub(super) fn wants_errors(&self, app: u32) -> bool {
        let kinds = [feed::Kind::Refused, feed::Kind::ApiError];
        self.feed().is_some_and(|feed| kinds.into_iter().any(|kind| feed.wants(app, kind)))
    }

    /// A handshake or a message of a client was rejected.
    pub(super) fn refused(&mut self, app: u32, refusal: &Refusal<'_>) {
        if let Some(feed) = self.feed_mut() {
            feed.refused(app, refusal);
        }
    }

    /// An API request was rejected.
    pub(super) fn api_error(&mut self, app: u32, error: &ApiError<'_>) {
        if let Some(feed) = self.feed_mut() {
            feed.api_error(app, error);
        }
    }

    /// A client has exceeded a limit; `client` is the app and the connection, if it has one.
    pub(super) fn limit(
        &mut self,
        limit: LimitKind,
        client: Option<(u32, Option<SocketId>)>,
        address: Option<IpAddr>,
    ) {
        let Some(feed) = self.feed_mut() else { return };
        match client {
            Some((app, socket_id)) => feed.limit(app, limit, socket_id, address),
            None => feed.server_limit(limit),
        }
    }

    /// Another node has connected or left.
    #[inline]
    pub(super) fn node(&mut self, node: NodeId, is_live: bool) {
        if let Some(feed) = self.feed_mut() {
            feed.node(if is_live { feed::Kind::NodeJoined } else { feed::Kind::NodeLeft }, node);
        }
    }

    /// A request to a webhook has ended.
    pub(super) fn webhook(&mut self, report: &WebhookReport) {
        if let Some(feed) = self.feed_mut() {
            feed.webhook(report);
        }
    }

    /// A user has joined a presence channel.
    #[inline]
    pub(super) fn member_added(&mut self, app: u32, channel: &Rc<str>, user: &Rc<str>) {
        if let Some(webhooks) = self.webhooks_mut() {
            webhooks.changed(app, channel, Some(user), true);
        }
        if let Some(feed) = self.feed_mut() {
            feed.member(app, feed::Kind::MemberAdded, channel, user);
        }
    }

    /// A user has left a presence channel.
    #[inline]
    pub(super) fn member_removed(&mut self, app: u32, channel: &Rc<str>, user: &Rc<str>) {
        if let Some(webhooks) = self.webhooks_mut() {
            webhooks.changed(app, channel, Some(user), false);
        }
        if let Some(feed) = self.feed_mut() {
            feed.member(app, feed::Kind::MemberRemoved, channel, user);
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
    pub(super) fn client_event(&mut self, app: u32, report: &ClientEventReport<'_>) {
        if let Some(webhooks) = self.webhooks_mut() {
            webhooks.client_event(app, report.event, report.from);
        }
        if let Some(feed) = self.feed_mut() {
            feed.client_event(app, report);
        }
    }

    /// An event was published through the API.
    #[inline]
    pub(super) fn api_event(&mut self, app: u32, event: &ApiEventReport<'_>) {
        if let Some(feed) = self.feed_mut() {
            feed.api_event(app, event);
        }
    }

    /// A client has connected.
    #[inline]
    pub(super) fn connected(
        &mut self,
        app: u32,
        socket_id: SocketId,
        address: Option<IpAddr>,
        origin: Option<&str>,
    ) {
        if let Some(feed) = self.feed_mut() {
            feed.connected(app, socket_id, address, origin);
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
