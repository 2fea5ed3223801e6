//! Subscribing and leaving: who may, what they are told, and what the others are told of it
//! (protocol sections 6, 7, 9 and 12).

use std::rc::Rc;

use super::Hub;
use super::bus::Bus;
use super::channel::{Access, Channel, Kind, USER_PREFIX, is_strict};
use super::peer::{ConnId, Now, Seat};
use super::presence::{self, Member};
use super::signin::is_told;
use super::subscriber::Refusal;
use super::work::{MEMBERSHIP_UNITS, SIGNATURE_UNITS};
use crate::config::Bound;
use crate::proto::envelope::Item;
use crate::proto::message::{self, Subscribe};
use crate::proto::websocket::Frame;

/// When a channel's subscribers are sent their number.
#[derive(Debug)]
pub(super) struct CountDue {
    pub ms: u64,
    pub app: u32,
    pub channel: Rc<str>,
}

/// Minimum interval between count events for channels with over 100 subscribers: as Pusher's.
pub(super) const COUNT_PAUSE_MS: u64 = 5_000;

impl<T> Hub<T> {
    /// Subscribes a connection to a channel. Subscribing again is no error: it is answered again.
    pub(super) fn subscribe(
        &mut self,
        id: ConnId,
        asked: Subscribe,
        now: Now,
    ) -> Result<(), Refusal> {
        let Some(subscriber) = self.peers.get(id).and_then(|peer| peer.subscriber()) else {
            return Ok(());
        };
        let app = subscriber.app;
        let kind = Kind::of(&asked.channel);
        self.check_name(app, &asked.channel, kind)?;
        let member = self.authorize(id, kind, &asked)?;
        let place = self.apps[app as usize].place(&asked.channel);
        let seat = place.and_then(|place| self.seat(id, place));
        let stays = seat.is_some_and(|seat| seat.user == member.as_ref().map(|m| m.id.clone()));
        if !stays {
            self.check_room(id, app, place, member.as_ref(), &asked.channel)?;
            // A connection that is in the channel as another user leaves as that user.
            self.leave(id, app, &asked.channel, now);
            self.join(id, app, &asked.channel, kind, member.as_ref());
        }
        self.welcome(id, app, &asked.channel, kind, now);
        if !stays {
            self.tell_count(app, &asked.channel, now);
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
        if let Some(seat) = subscriber.give_up_seat(place) {
            self.unseat(id, app, seat, now);
        }
    }

    fn check_name(&self, app: u32, channel: &str, kind: Kind) -> Result<(), Refusal> {
        let limit = self.limits.channel_name_length as usize;
        if channel.is_empty() {
            return Err(Refusal::malformed("the channel has no name"));
        }
        if channel.chars().count() > limit {
            let error = format!(
                "The channel name is longer than {limit} characters (limits.channel_name_length)."
            );
            let refusal = Refusal::malformed("the channel's name is too long");
            return Err(refusal.at(Bound::ChannelNameLength).about(
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
            let refusal = Refusal::malformed("the channel's name ends with data");
            return Err(refusal.about(channel, "InvalidName", error, 400));
        }
        if self.apps[app as usize].settings.strict_channel_names
            && !channel.starts_with(USER_PREFIX)
            && !is_strict(channel)
        {
            let error = "The channel name has characters that are not allowed.";
            return Err(Refusal::malformed("a character in the channel's name").about(
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
    ) -> Result<Option<Member>, Refusal> {
        let channel = &asked.channel;
        let unauthorized = |detail| {
            let error = "The connection is unauthorized.";
            Err(Refusal::unauthorized(detail).about(channel, "AuthError", error, 401))
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
    fn member(&self, id: ConnId, channel: &str, data: Option<&str>) -> Result<Member, Refusal> {
        let limit = self.limits.presence_data_bytes as usize;
        if data.is_some_and(|data| data.len() > limit) {
            let error =
                format!("channel_data is longer than {limit} bytes (limits.presence_data_bytes).");
            let refusal = Refusal::malformed("channel_data is too long");
            return Err(refusal.at(Bound::PresenceDataBytes).about(
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
            Refusal::malformed("channel_data").about(channel, "InvalidData", error, 400)
        })
    }

    fn check_room(
        &self,
        id: ConnId,
        app: u32,
        place: Option<u32>,
        member: Option<&Member>,
        channel: &str,
    ) -> Result<(), Refusal> {
        let full = |bound, error: String, detail| {
            Err(Refusal::new(4200, error.clone(), detail).at(bound).about(
                channel,
                "LimitReached",
                error,
                429,
            ))
        };
        let limit = self.limits.channels_per_connection as usize;
        let subscriber = self.peers.get(id).and_then(|peer| peer.subscriber());
        let is_in = place.is_some_and(|place| self.seat(id, place).is_some());
        if !is_in && subscriber.is_some_and(|subscriber| subscriber.channels() >= limit) {
            let error = format!(
                "The connection has {limit} channels already (limits.channels_per_connection)."
            );
            return full(Bound::ChannelsPerConnection, error, "too many channels");
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
            return full(Bound::PresenceMembers, error, "too many members");
        }
        let limit = self.limits.presence_bytes as usize;
        if let (Some(presence), Some(member)) = (presence, member)
            && presence.bytes_with(member) > limit
        {
            let error = format!(
                "The members of the channel would take more than {limit} bytes \
                 (limits.presence_bytes)."
            );
            return full(Bound::PresenceBytes, error, "too large a channel");
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
                bus.say(&Item::Joined { app, channel: name.into(), user, info });
            }
        }
        note_change(self.bus.as_mut(), app, channel);
        let index = channel.members.len() as u32;
        channel.members.push(id);
        let user = member.map(|member| Rc::clone(&member.id));
        if let Some(subscriber) = self.peers.get_mut(id).and_then(|peer| peer.subscriber_mut()) {
            subscriber.take_seat(Seat { channel: place, index, user });
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

    /// Takes a connection's seat away in the channel; the seat is no longer the connection's.
    pub(super) fn unseat(&mut self, id: ConnId, app: u32, seat: Seat, now: Now) {
        let index = app;
        let app = &mut self.apps[app as usize];
        let Some(channel) = app.channels.get_mut(seat.channel as usize) else { return };
        debug_assert_eq!(channel.members.get(seat.index as usize), Some(&id));
        channel.members.swap_remove(seat.index as usize);
        if let Some(&moved) = channel.members.get(seat.index as usize)
            && let Some(subscriber) = self.peers.get_mut(moved).and_then(|p| p.subscriber_mut())
            && let Some(moved) = subscriber.seat_mut(seat.channel)
        {
            moved.index = seat.index;
        }
        note_change(self.bus.as_mut(), index, channel);
        if let (Some(presence), Some(user)) = (&mut channel.presence, seat.user) {
            let change = presence.leave(&user);
            if let Some(bus) = self.bus.as_mut().filter(|_| change.here) {
                let (app, channel) = (app.settings.id.as_str().into(), (&*channel.name).into());
                bus.say(&Item::Left { app, channel, user: (&*user).into() });
            }
            if change.anywhere && !channel.members.is_empty() {
                self.add_leave(index, seat.channel, user);
            }
        }
        self.peers.work.add(MEMBERSHIP_UNITS);
        let app = &mut self.apps[index as usize];
        let Some(channel) = app.channels.get_mut(seat.channel as usize) else { return };
        if channel.is_vacant() {
            return self.vacate(index, seat.channel);
        }
        if channel.members.len() * 4 < channel.members.capacity() {
            channel.members.shrink_to(channel.members.len() * 2);
        }
        if app.settings.subscription_count {
            let name = Rc::clone(&channel.name);
            self.tell_count(index, &name, now);
        }
    }

    /// Removes a channel that has no members.
    pub(super) fn vacate(&mut self, app: u32, place: u32) {
        let Some(channel) = self.apps[app as usize].vacate(place) else { return };
        if channel.kind.access == Access::Internal {
            return self.nobody_left(app, &channel.name);
        }
        log::debug!("channel {:?} removed", channel.name);
        if let Some(listener) = &mut self.peers.listener {
            listener.channel_removed(&self.peers.app_ids[app as usize], &channel.name);
        }
    }

    /// Tells the subscribers of a channel how many they are, where the app wants it: at every
    /// change up to a hundred of them, above that every five seconds at most.
    pub(super) fn tell_count(&mut self, app: u32, name: &str, now: Now) {
        let index = app;
        let app = &mut self.apps[app as usize];
        if !app.settings.subscription_count {
            return;
        }
        let Some(place) = app.place(name) else { return };
        let Some(channel) = app.channels.get_mut(place as usize) else { return };
        let count = channel.subscriptions();
        if channel.presence.is_some() || !channel.kind.is_listed() {
            return;
        }
        if count > 100 && now.ms < channel.counted_ms + COUNT_PAUSE_MS {
            if !std::mem::replace(&mut channel.count_due, true) {
                let (ms, channel) = (now.ms + COUNT_PAUSE_MS, Rc::clone(&channel.name));
                self.counts_due.push_back(CountDue { ms, app: index, channel });
            }
            return;
        }
        (channel.counted_ms, channel.count_due) = (now.ms, false);
        let data = format!(r#"{{"subscription_count":{count}}}"#);
        let event = "pusher_internal:subscription_count";
        let frame = message::internal(event, Some(name), &data);
        self.peers.broadcast(index, &channel.members, &frame, None);
    }

    /// Tells what was held back.
    pub(super) fn tell_due_counts(&mut self, now: Now) {
        while self.counts_due.front().is_some_and(|due| due.ms <= now.ms) {
            let Some(CountDue { app, channel, .. }) = self.counts_due.pop_front() else { return };
            let is_due = self.apps[app as usize].channel(&channel).is_some_and(|c| c.count_due);
            if is_due {
                self.tell_count(app, &channel, now);
            }
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
        let told = channel.members.len() << usize::from(self.seat(id, place).is_some());
        SIGNATURE_UNITS + told as u64 + presence.len() as u64 / 16
    }

    pub(super) fn seat(&self, id: ConnId, place: u32) -> Option<&Seat> {
        self.peers.get(id)?.subscriber()?.seat(place)
    }
}

/// The `channel_data` of a signed subscription; it must be a JSON object. The signed text is
/// `SOCKET:CHANNEL:DATA`, and a channel name may contain colons: if any text were valid data, a
/// signature for `private-chat:42` would also be valid for `private-chat` with the data `42`.
fn channel_data(asked: &Subscribe) -> Result<Option<&str>, Refusal> {
    let data = asked.channel_data.as_deref().filter(|data| !data.is_empty());
    if data.is_some_and(|data| !message::is_object(data)) {
        let refusal = Refusal::malformed("channel_data is no object");
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
    if let Some(bus) = bus.filter(|_| !channel.is_changed && is_told(&channel.name, channel.kind)) {
        channel.is_changed = true;
        bus.note_channel(app, &channel.name);
    }
}
