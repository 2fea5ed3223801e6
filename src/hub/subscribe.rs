//! Subscribing to channels and leaving them: memberships, the response to the subscriber, and the
//! events to the other members (protocol sections 6, 7 and 9). Permissions are checked in
//! `authorize`.

use std::rc::Rc;

use super::bus::Bus;
use super::channel::{Channel, Kind};
use super::client_error::ClientError;
use super::connections::Connections;
use super::ids::{ConnId, Now, SocketId};
use super::peer::Membership;
use super::presence::{self, Member};
use super::pubsub::PubSub;
use super::signin::is_replicated;
use super::work::{MEMBERSHIP_UNITS, SIGNATURE_UNITS};
use crate::proto::envelope::Item;
use crate::proto::message::{self, Subscribe};
use crate::proto::websocket::Frame;

impl PubSub {
    /// Subscribes a connection to a channel. A repeated subscription is no error and is confirmed
    /// again.
    pub(super) fn subscribe<T>(
        &mut self,
        connections: &mut Connections<T>,
        id: ConnId,
        request: Subscribe,
        now: Now,
    ) -> Result<(), ClientError> {
        let Some(subscriber) = connections.subscriber(id) else {
            return Ok(());
        };
        let app = subscriber.app;
        let kind = Kind::of(&request.channel);
        self.check_name(app, &request.channel, kind)?;
        let member = self.authorize(connections, id, kind, &request)?;
        let place = self.apps[app].place(&request.channel);
        let membership = place.and_then(|place| connections.membership(id, place));
        let is_unchanged = membership
            .is_some_and(|membership| membership.user == member.as_ref().map(|m| m.id.clone()));
        if !is_unchanged {
            self.check_room(connections, id, app, place, member.as_ref(), &request.channel)?;
            // A connection that is a member as another user first leaves as that user.
            self.leave(connections, id, app, &request.channel, now);
            self.join(connections, id, app, &request.channel, kind, member.as_ref());
        }
        if kind.is_signed() {
            connections.set_authorized(id);
        }
        self.confirm_subscription(connections, id, app, &request.channel, kind, now);
        if !is_unchanged {
            if let Some(socket_id) = connections.subscriber(id).map(|one| one.socket_id) {
                let user = member.as_ref().map(|member| &*member.id);
                connections.happenings.subscribed(app, socket_id, &request.channel, user);
            }
            self.send_count(connections, app, &request.channel, now);
        }
        Ok(())
    }

    /// Removes a connection from a channel, if it is a member.
    pub(super) fn unsubscribe<T>(
        &mut self,
        connections: &mut Connections<T>,
        id: ConnId,
        channel: &str,
        now: Now,
    ) {
        let Some(subscriber) = connections.subscriber(id) else {
            return;
        };
        let app = subscriber.app;
        if !Kind::of(channel).is_internal() {
            self.leave(connections, id, app, channel, now);
        }
    }

    fn leave<T>(
        &mut self,
        connections: &mut Connections<T>,
        id: ConnId,
        app: u32,
        channel: &str,
        now: Now,
    ) {
        let Some(place) = self.apps[app].place(channel) else { return };
        let Some(subscriber) = connections.subscriber_mut(id) else {
            return;
        };
        let socket_id = subscriber.socket_id;
        if let Some(membership) = subscriber.take_membership(place) {
            self.report_unsubscribed(connections, app, socket_id, &membership);
            self.remove_member(connections, id, app, membership, now);
        }
    }

    /// Reports that a subscription ends.
    pub(super) fn report_unsubscribed<T>(
        &self,
        connections: &mut Connections<T>,
        app: u32,
        socket_id: SocketId,
        membership: &Membership,
    ) {
        if let Some(channel) = self.apps[app].channels.get(membership.channel as usize) {
            let user = membership.user.as_deref();
            connections.happenings.unsubscribed(app, socket_id, channel, user);
        }
    }

    /// Adds a connection to a channel of which it is not a member, and announces it to the members.
    pub(super) fn join<T>(
        &mut self,
        connections: &mut Connections<T>,
        id: ConnId,
        app: u32,
        name: &str,
        kind: Kind,
        member: Option<&Member>,
    ) {
        let (place, created) = self.apps[app].occupy(name, kind);
        // If a user leaves and joins in one turn, members must receive the leave before the join.
        if member.is_some() {
            self.announce_leaves(connections, app, place);
        }
        connections.work.add(MEMBERSHIP_UNITS);
        if created {
            self.notify_created(connections, app, place);
        }
        let Some(channel) = self.apps[app].channels.get_mut(place as usize) else {
            return;
        };
        if let (Some(presence), Some(member)) = (&mut channel.presence, member) {
            let change = presence.join(member);
            if change.anywhere {
                connections.happenings.member_added(app, &channel.name, &member.id);
                let frame = presence::member_added(name, member);
                connections.broadcast(app, &channel.members, &frame, None);
            }
            if let Some(bus) = self.bus.as_mut().filter(|_| change.at_node) {
                let app = (&**connections.happenings.app_id(app)).into();
                let (user, info) = ((&*member.id).into(), member.info.as_deref());
                bus.publish(&Item::Joined { app, channel: name.into(), user, info });
            }
        }
        mark_count_changed(self.bus.as_mut(), app, channel);
        let index = channel.members.len() as u32;
        channel.members.push(id);
        let user = member.map(|member| Rc::clone(&member.id));
        if let Some(subscriber) = connections.subscriber_mut(id) {
            subscriber.add_membership(Membership { channel: place, index, user });
        }
    }

    /// Reports that a channel has its first member.
    pub(super) fn notify_created<T>(
        &mut self,
        connections: &mut Connections<T>,
        app: u32,
        place: u32,
    ) {
        let channel = self.apps[app].channels.get(place as usize);
        if let Some(channel) = channel.filter(|channel| !channel.kind.is_internal()) {
            log::debug!("channel {:?} created", channel.name);
            connections.happenings.channel_created(app, &channel.name, channel.kind);
        }
    }

    /// Confirms a subscription, and sends the cached event of a cache channel.
    fn confirm_subscription<T>(
        &mut self,
        connections: &mut Connections<T>,
        id: ConnId,
        app: u32,
        name: &str,
        kind: Kind,
        now: Now,
    ) {
        let index = app;
        let app = &mut self.apps[app];
        let presence = app.channel_mut(name).and_then(|channel| channel.presence.as_deref_mut());
        match presence {
            Some(presence) if presence.is_long() => {
                self.send_long_list(connections, id, index, name, now)
            }
            Some(presence) => {
                connections.queue(id, message::subscription_succeeded(name, &presence.data()));
            }
            None => connections.queue(id, message::subscription_succeeded(name, "{}")),
        }
        if kind.cache {
            let app = &self.apps[index];
            let cached = app.cache.event(name, now.ms).map(|(frame, _)| Frame::clone(frame));
            if cached.is_none() {
                connections.happenings.cache_miss(index, name);
            }
            connections.queue(id, cached.unwrap_or_else(|| message::cache_miss(name)));
        }
    }

    /// Removes a membership from its channel. The caller has already removed it from the
    /// connection.
    pub(super) fn remove_member<T>(
        &mut self,
        connections: &mut Connections<T>,
        id: ConnId,
        app: u32,
        membership: Membership,
        now: Now,
    ) {
        let index = app;
        let app = &mut self.apps[app];
        let Some(channel) = app.channels.get_mut(membership.channel as usize) else { return };
        debug_assert_eq!(channel.members.get(membership.index as usize), Some(&id));
        channel.members.swap_remove(membership.index as usize);
        if let Some(&moved) = channel.members.get(membership.index as usize)
            && let Some(subscriber) = connections.subscriber_mut(moved)
            && let Some(moved) = subscriber.membership_mut(membership.channel)
        {
            moved.index = membership.index;
        }
        mark_count_changed(self.bus.as_mut(), index, channel);
        if let (Some(presence), Some(user)) = (&mut channel.presence, membership.user) {
            let change = presence.leave(&user);
            if change.anywhere {
                connections.happenings.member_removed(index, &channel.name, &user);
            }
            if let Some(bus) = self.bus.as_mut().filter(|_| change.at_node) {
                let (app, channel) = (app.settings.id.as_str().into(), (&*channel.name).into());
                bus.publish(&Item::Left { app, channel, user: (&*user).into() });
            }
            if change.anywhere && !channel.members.is_empty() {
                self.add_leave(index, membership.channel, user);
            }
        }
        connections.work.add(MEMBERSHIP_UNITS);
        let app = &mut self.apps[index];
        let Some(channel) = app.channels.get_mut(membership.channel as usize) else { return };
        if channel.is_vacant() {
            return self.remove_vacant_channel(connections, index, membership.channel);
        }
        if channel.members.len() * 4 < channel.members.capacity() {
            channel.members.shrink_to(channel.members.len() * 2);
        }
        if app.settings.subscription_count || connections.happenings.wants_counts(index) {
            let name = Rc::clone(&channel.name);
            self.send_count(connections, index, &name, now);
        }
    }

    /// Removes a channel without members, and reports it; for an internal channel, notifies the
    /// watchers of its user.
    pub(super) fn remove_vacant_channel<T>(
        &mut self,
        connections: &mut Connections<T>,
        app: u32,
        place: u32,
    ) {
        let Some(channel) = self.apps[app].vacate(place) else { return };
        if channel.kind.is_internal() {
            return self.notify_offline(connections, app, &channel.name);
        }
        log::debug!("channel {:?} removed", channel.name);
        if channel.kind.is_listed() && channel.presence.is_none() {
            connections.happenings.subscription_count(app, &channel.name, 0);
        }
        connections.happenings.channel_removed(app, &channel.name, channel.kind);
    }

    /// The estimated cost of a subscription, in units. On a presence channel each member may
    /// receive an event, and the member list is sent in pieces.
    pub(super) fn units_to_subscribe<T>(
        &self,
        connections: &Connections<T>,
        id: ConnId,
        app: u32,
        channel: &str,
    ) -> u64 {
        let app = &self.apps[app];
        let place = app.place(channel);
        let channel = place.and_then(|place| app.channels.get(place as usize));
        let presence = channel.and_then(|channel| channel.presence.as_deref());
        let Some(((presence, channel), place)) = presence.zip(channel).zip(place) else {
            return SIGNATURE_UNITS;
        };
        // A connection that is subscribed already may leave as one user and join as another.
        let recipients =
            channel.members.len() << usize::from(connections.membership(id, place).is_some());
        SIGNATURE_UNITS + recipients as u64 + presence.len() as u64 / 16
    }
}

/// Marks a channel so that its subscription count is published to the other nodes at the end of the
/// turn.
fn mark_count_changed(bus: Option<&mut Box<Bus>>, app: u32, channel: &mut Channel) {
    if let Some(bus) =
        bus.filter(|_| !channel.is_changed && is_replicated(&channel.name, channel.kind))
    {
        channel.is_changed = true;
        bus.queue_channel_count(app, &channel.name);
    }
}
