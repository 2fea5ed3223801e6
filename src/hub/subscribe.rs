//! Subscribing and leaving: who may, what they are told, and what the others are told of it
//! (protocol sections 6, 7 and 9).

use std::rc::Rc;

use super::Hub;
use super::bus::Bus;
use super::channel::{Access, Channel, Kind, USER_PREFIX, is_strict};
use super::peer::{ConnId, Membership, Now};
use super::presence::{self, Member};
use super::signin::is_replicated;
use super::subscriber::ClientError;
use super::work::{MEMBERSHIP_UNITS, SIGNATURE_UNITS};
use crate::config::LimitKind;
use crate::proto::envelope::Item;
use crate::proto::message::{self, Subscribe};
use crate::proto::websocket::Frame;

impl<T> Hub<T> {
    /// Subscribes a connection to a channel. Subscribing again is no error: it is answered again.
    pub(super) fn subscribe(
        &mut self,
        id: ConnId,
        asked: Subscribe,
        now: Now,
    ) -> Result<(), ClientError> {
        let Some(subscriber) = self.peers.get(id).and_then(|peer| peer.subscriber()) else {
            return Ok(());
        };
        let app = subscriber.app;
        let kind = Kind::of(&asked.channel);
        self.check_name(app, &asked.channel, kind)?;
        let member = self.authorize(id, kind, &asked)?;
        let place = self.apps[app as usize].place(&asked.channel);
        let membership = place.and_then(|place| self.membership(id, place));
        let stays = membership
            .is_some_and(|membership| membership.user == member.as_ref().map(|m| m.id.clone()));
        if !stays {
            self.check_room(id, app, place, member.as_ref(), &asked.channel)?;
            // A connection that is in the channel as another user leaves as that user.
            self.leave(id, app, &asked.channel, now);
            self.join(id, app, &asked.channel, kind, member.as_ref());
        }
        self.welcome(id, app, &asked.channel, kind, now);
        if !stays {
            self.send_count(app, &asked.channel, now);
        }
        Ok(())
    }

    /// Takes a connection out of a channel, if it is in it.
    pub(super) fn unsubscribe(&mut self, id: ConnId, channel: &str, now: Now) {
        let Some(subscriber) = self.peers.get(id).and_then(|peer| peer.subscriber()) else {
            return;
        };
        let app = subscriber.app;
        if Kind::of(channel).access != Access::Internal {
            self.leave(id, app, channel, now);
        }
    }

    fn leave(&mut self, id: ConnId, app: u32, channel: &str, now: Now) {
        let Some(place) = self.apps[app as usize].place(channel) else { return };
        let Some(subscriber) = self.peers.get_mut(id).and_then(|peer| peer.subscriber_mut()) else {
            return;
        };
        if let Some(membership) = subscriber.take_membership(place) {
            self.remove_member(id, app, membership, now);
        }
    }

    fn check_name(&self, app: u32, channel: &str, kind: Kind) -> Result<(), ClientError> {
        let limit = self.limits.channel_name_length as usize;
        if channel.is_empty() {
            return Err(ClientError::malformed("the channel has no name"));
        }
        if channel.chars().count() > limit {
            let error = format!(
                "The channel name is longer than {limit} characters (limits.channel_name_length)."
            );
            let refusal = ClientError::malformed("the channel's name is too long");
            return Err(refusal.at(LimitKind::ChannelNameLength).about(
                channel,
                "LimitReached",
                error,
                413,
            ));
        }
        let is_signed = matches!(kind.access, Access::Private | Access::Presence);
        if is_signed && ends_with_data(channel) {
            let error = "The channel name ends with a colon and a JSON object: its signature would \
                         also be one of another channel.";
            let refusal = ClientError::malformed("the channel's name ends with data");
            return Err(refusal.about(channel, "InvalidName", error, 400));
        }
        if self.apps[app as usize].settings.strict_channel_names
            && !channel.starts_with(USER_PREFIX)
            && !is_strict(channel)
        {
            let error = "The channel name has characters that are not allowed.";
            return Err(ClientError::malformed("a character in the channel's name").about(
                channel,
                "InvalidName",
                error,
                400,
            ));
        }
        Ok(())
    }

    /// Whether the connection may have the channel, and as whom.
    fn authorize(
        &self,
        id: ConnId,
        kind: Kind,
        asked: &Subscribe,
    ) -> Result<Option<Member>, ClientError> {
        let channel = &asked.channel;
        let unauthorized = |detail| {
            let error = "The connection is unauthorized.";
            Err(ClientError::unauthorized(detail).about(channel, "AuthError", error, 401))
        };
        let Some(subscriber) = self.peers.get(id).and_then(|peer| peer.subscriber()) else {
            return unauthorized("the connection has gone");
        };
        match kind.access {
            Access::Public => return Ok(None),
            Access::Internal => return unauthorized("the name is reserved"),
            Access::User => {
                let owner = channel.strip_prefix(USER_PREFIX);
                return match subscriber.user.as_ref().map(|user| &*user.id) == owner {
                    true => Ok(None),
                    false => unauthorized("not signed in as this user"),
                };
            }
            Access::Private | Access::Presence => {}
        }
        let data = channel_data(asked)?;
        let app = &self.apps[subscriber.app as usize];
        let auth = asked.auth.as_deref().unwrap_or_default();
        let signature = match auth.split_once(':') {
            Some((key, signature)) if key == app.settings.key => signature,
            Some(_) => return unauthorized("signed with the key of another app"),
            None => return unauthorized("auth is not KEY:SIGNATURE"),
        };
        let socket_id = subscriber.socket_id.to_string();
        let signed = [&*socket_id, ":", channel, data.map_or("", |_| ":"), data.unwrap_or("")];
        if !app.signer.verify(&signed, signature) {
            log::debug!("{socket_id}: the signature should have been over {:?}", signed.concat());
            return unauthorized("wrong signature");
        }
        match kind.access {
            Access::Presence => self.member(id, channel, data).map(Some),
            _ => Ok(None),
        }
    }

    /// The member that joins a presence channel: from `channel_data`, or the signed-in user.
    fn member(&self, id: ConnId, channel: &str, data: Option<&str>) -> Result<Member, ClientError> {
        let limit = self.limits.presence_data_bytes as usize;
        if data.is_some_and(|data| data.len() > limit) {
            let error =
                format!("channel_data is longer than {limit} bytes (limits.presence_data_bytes).");
            let refusal = ClientError::malformed("channel_data is too long");
            return Err(refusal.at(LimitKind::PresenceDataBytes).about(
                channel,
                "LimitReached",
                error,
                413,
            ));
        }
        let user = self.peers.get(id).and_then(|peer| peer.subscriber()?.user.as_ref());
        let member = match (data, user) {
            (Some(data), _) => Member::parse(data),
            (None, Some(user)) => Some(Member { id: Rc::clone(&user.id), info: user.info.clone() }),
            (None, None) => None,
        };
        let error = "channel_data is not an object with a user_id.";
        member.ok_or_else(|| {
            ClientError::malformed("channel_data").about(channel, "InvalidData", error, 400)
        })
    }

    fn check_room(
        &self,
        id: ConnId,
        app: u32,
        place: Option<u32>,
        member: Option<&Member>,
        channel: &str,
    ) -> Result<(), ClientError> {
        let full = |bound, error: String, detail| {
            Err(ClientError::new(4200, error.clone(), detail).at(bound).about(
                channel,
                "LimitReached",
                error,
                429,
            ))
        };
        let limit = self.limits.channels_per_connection as usize;
        let subscriber = self.peers.get(id).and_then(|peer| peer.subscriber());
        let is_in = place.is_some_and(|place| self.membership(id, place).is_some());
        if !is_in && subscriber.is_some_and(|subscriber| subscriber.channels() >= limit) {
            let error = format!(
                "The connection has {limit} channels already (limits.channels_per_connection)."
            );
            return full(LimitKind::ChannelsPerConnection, error, "too many channels");
        }
        let limit = self.limits.presence_members as usize;
        let app = &self.apps[app as usize];
        let presence = place.and_then(|at| app.channels.get(at as usize)?.presence.as_deref());
        if let (Some(presence), Some(member)) = (presence, member)
            && presence.len() >= limit
            && !presence.contains(&member.id)
        {
            let error =
                format!("The channel has {limit} members already (limits.presence_members).");
            return full(LimitKind::PresenceMembers, error, "too many members");
        }
        let limit = self.limits.presence_bytes as usize;
        if let (Some(presence), Some(member)) = (presence, member)
            && presence.bytes_with(member) > limit
        {
            let error = format!(
                "The members of the channel would take more than {limit} bytes \
                 (limits.presence_bytes)."
            );
            return full(LimitKind::PresenceBytes, error, "too large a channel");
        }
        Ok(())
    }

    /// Adds a connection to a channel that it is not in, and announces it to the members.
    pub(super) fn join(
        &mut self,
        id: ConnId,
        app: u32,
        name: &str,
        kind: Kind,
        member: Option<&Member>,
    ) {
        let (place, created) = self.apps[app as usize].occupy(name, kind);
        // If a user leaves and joins in one turn, members must receive the leave before the join.
        if member.is_some() {
            self.announce_leaves(app, place);
        }
        self.peers.work.add(MEMBERSHIP_UNITS);
        if created {
            self.created(app, name, kind);
        }
        let Some(channel) = self.apps[app as usize].channels.get_mut(place as usize) else {
            return;
        };
        if let (Some(presence), Some(member)) = (&mut channel.presence, member) {
            let change = presence.join(member);
            if change.anywhere {
                let frame = presence::member_added(name, member);
                self.peers.broadcast(app, &channel.members, &frame, None);
            }
            if let Some(bus) = self.bus.as_mut().filter(|_| change.here) {
                let app = (&*self.peers.app_ids[app as usize]).into();
                let (user, info) = ((&*member.id).into(), member.info.as_deref());
                bus.publish(&Item::Joined { app, channel: name.into(), user, info });
            }
        }
        note_change(self.bus.as_mut(), app, channel);
        let index = channel.members.len() as u32;
        channel.members.push(id);
        let user = member.map(|member| Rc::clone(&member.id));
        if let Some(subscriber) = self.peers.get_mut(id).and_then(|peer| peer.subscriber_mut()) {
            subscriber.add_membership(Membership { channel: place, index, user });
        }
    }

    /// A channel has its first member.
    pub(super) fn created(&mut self, app: u32, name: &str, kind: Kind) {
        if kind.access == Access::Internal {
            return;
        }
        log::debug!("channel {name:?} created");
        if let Some(listener) = &mut self.peers.listener {
            listener.channel_created(&self.peers.app_ids[app as usize], name);
        }
    }

    /// Answers a subscription, and sends the cached event of a cache channel.
    fn welcome(&mut self, id: ConnId, app: u32, name: &str, kind: Kind, now: Now) {
        let index = app;
        let app = &mut self.apps[app as usize];
        let presence = app.channel_mut(name).and_then(|channel| channel.presence.as_deref_mut());
        match presence {
            Some(presence) if presence.is_long() => self.send_long_list(id, index, name, now),
            Some(presence) => {
                self.peers.queue(id, message::subscription_succeeded(name, &presence.data()));
            }
            None => self.peers.queue(id, message::subscription_succeeded(name, "{}")),
        }
        if kind.cache {
            let app = &self.apps[index as usize];
            let kept = app.cache.event(name, now.ms).map(|(frame, _)| Frame::clone(frame));
            self.peers.queue(id, kept.unwrap_or_else(|| message::cache_miss(name)));
        }
    }

    /// Takes a connection's membership away in the channel; the membership is no longer the connection's.
    pub(super) fn remove_member(&mut self, id: ConnId, app: u32, membership: Membership, now: Now) {
        let index = app;
        let app = &mut self.apps[app as usize];
        let Some(channel) = app.channels.get_mut(membership.channel as usize) else { return };
        debug_assert_eq!(channel.members.get(membership.index as usize), Some(&id));
        channel.members.swap_remove(membership.index as usize);
        if let Some(&moved) = channel.members.get(membership.index as usize)
            && let Some(subscriber) = self.peers.get_mut(moved).and_then(|p| p.subscriber_mut())
            && let Some(moved) = subscriber.membership_mut(membership.channel)
        {
            moved.index = membership.index;
        }
        note_change(self.bus.as_mut(), index, channel);
        if let (Some(presence), Some(user)) = (&mut channel.presence, membership.user) {
            let change = presence.leave(&user);
            if let Some(bus) = self.bus.as_mut().filter(|_| change.here) {
                let (app, channel) = (app.settings.id.as_str().into(), (&*channel.name).into());
                bus.publish(&Item::Left { app, channel, user: (&*user).into() });
            }
            if change.anywhere && !channel.members.is_empty() {
                self.add_leave(index, membership.channel, user);
            }
        }
        self.peers.work.add(MEMBERSHIP_UNITS);
        let app = &mut self.apps[index as usize];
        let Some(channel) = app.channels.get_mut(membership.channel as usize) else { return };
        if channel.is_vacant() {
            return self.vacate(index, membership.channel);
        }
        if channel.members.len() * 4 < channel.members.capacity() {
            channel.members.shrink_to(channel.members.len() * 2);
        }
        if app.settings.subscription_count {
            let name = Rc::clone(&channel.name);
            self.send_count(index, &name, now);
        }
    }

    /// Removes a channel that has no members.
    pub(super) fn vacate(&mut self, app: u32, place: u32) {
        let Some(channel) = self.apps[app as usize].vacate(place) else { return };
        if channel.kind.access == Access::Internal {
            return self.notify_offline(app, &channel.name);
        }
        log::debug!("channel {:?} removed", channel.name);
        if let Some(listener) = &mut self.peers.listener {
            listener.channel_removed(&self.peers.app_ids[app as usize], &channel.name);
        }
    }

    /// Estimated units of a subscription. On a presence channel each member may receive an event,
    /// and the member list is sent in pieces.
    pub(super) fn units_to_subscribe(&self, id: ConnId, app: u32, channel: &str) -> u64 {
        let app = &self.apps[app as usize];
        let place = app.place(channel);
        let channel = place.and_then(|place| app.channels.get(place as usize));
        let presence = channel.and_then(|channel| channel.presence.as_deref());
        let Some(((presence, channel), place)) = presence.zip(channel).zip(place) else {
            return SIGNATURE_UNITS;
        };
        // A connection that is subscribed already may leave as one user and join as another.
        let told = channel.members.len() << usize::from(self.membership(id, place).is_some());
        SIGNATURE_UNITS + told as u64 + presence.len() as u64 / 16
    }

    pub(super) fn membership(&self, id: ConnId, place: u32) -> Option<&Membership> {
        self.peers.get(id)?.subscriber()?.membership(place)
    }
}

/// The `channel_data` of a signed subscription; it must be a JSON object. The signed text is
/// `SOCKET:CHANNEL:DATA`, and a channel name may contain colons: if any text were valid data, a
/// signature for `private-chat:42` would also be valid for `private-chat` with the data `42`.
fn channel_data(asked: &Subscribe) -> Result<Option<&str>, ClientError> {
    let data = asked.channel_data.as_deref().filter(|data| !data.is_empty());
    if data.is_some_and(|data| !message::is_object(data)) {
        let refusal = ClientError::malformed("channel_data is no object");
        let error = "channel_data is not a JSON object.";
        return Err(refusal.about(&asked.channel, "InvalidData", error, 400));
    }
    Ok(data)
}

/// Whether the end of a name, after a colon, could be the data of a shorter name.
fn ends_with_data(name: &str) -> bool {
    let mut ends = name.match_indices(':').map(|(at, _)| &name[at + 1..]);
    name.trim_ascii_end().ends_with('}') && ends.any(message::is_object)
}

/// Makes this node publish how many subscribers a channel has here, once the turn is over.
fn note_change(bus: Option<&mut Box<Bus>>, app: u32, channel: &mut Channel) {
    if let Some(bus) =
        bus.filter(|_| !channel.is_changed && is_replicated(&channel.name, channel.kind))
    {
        channel.is_changed = true;
        bus.note_channel(app, &channel.name);
    }
}
