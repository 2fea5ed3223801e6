//! Sign-in of users, and watchlists (protocol section 11).
//!
//! Signed-in users and their watchers are members of internal channels, which work like all other
//! channels but have names that no client can subscribe to.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::channel::{Access, Kind};
use super::client_error::ClientError;
use super::connections::Connections;
use super::ids::{ConnId, Now};
use super::peer::User;
use super::presence::user_id;
use super::pubsub::PubSub;
use crate::proto::message::{self, json_string};
use crate::proto::websocket::Frame;

const SIGNED_IN: &str = "#signed-in-";
const WATCHING: &str = "#watching-";
const INTERNAL: Kind = Kind { access: Access::Internal, cache: false };
/// The most users one connection may watch, as in Pusher.
const WATCHLIST_MAX: usize = 100;

impl PubSub {
    /// Signs a connection in as the user that the app has signed. A repeated sign-in as the same
    /// user replaces the user's info and the watchlist.
    pub(super) fn sign_in<T>(
        &mut self,
        connections: &mut Connections<T>,
        id: ConnId,
        auth: &str,
        user_data: &str,
        now: Now,
    ) -> Result<(), ClientError> {
        let Some(subscriber) = connections.subscriber(id) else {
            return Ok(());
        };
        let index = subscriber.app;
        let app = &self.apps[index];
        let socket_id = subscriber.socket_id.to_string();
        let signed = [&socket_id, "::user::", user_data];
        let valid = auth.split_once(':').is_some_and(|(key, signature)| {
            key == app.settings.key && app.verify(&signed, signature)
        });
        if !valid {
            let expected = connections.happenings.wants_errors(index).then(|| signed.concat());
            let refusal = ClientError::unsigned("wrong signature of the user");
            return Err(refusal.expecting(expected));
        }
        let (user, watchlist) = parse_user(user_data)?;
        match &subscriber.user {
            Some(before) if before.id == user.id => self.set_info(connections, id, user.info),
            Some(_) => return Err(ClientError::unauthorized("signed in as another user already")),
            None => self.attach_user(connections, id, index, user),
        }
        connections.set_authorized(id);
        connections.queue(id, message::signin_success(user_data));
        self.watch(connections, id, index, &watchlist, now);
        Ok(())
    }

    /// This node's connections that are signed in as a user.
    pub(super) fn signed_in(&self, app: u32, user: &str) -> &[ConnId] {
        let channel = self.apps[app].channel(&format!("{SIGNED_IN}{user}"));
        channel.map_or(&[], |channel| &channel.members)
    }

    /// Whether a user is signed in at any node.
    fn is_online(&self, app: u32, user: &str) -> bool {
        self.apps[app].place(&format!("{SIGNED_IN}{user}")).is_some()
    }

    /// An internal channel has lost its last member: if it is that of a user, its watchers are
    /// notified.
    pub(super) fn notify_offline<T>(
        &mut self,
        connections: &mut Connections<T>,
        app: u32,
        name: &str,
    ) {
        if let Some(user) = name.strip_prefix(SIGNED_IN) {
            self.notify_watchers(connections, app, user, "offline");
        }
    }

    /// An internal channel has its first member, at another node: if it is that of a user, its
    /// watchers are notified.
    pub(super) fn notify_online<T>(
        &mut self,
        connections: &mut Connections<T>,
        app: u32,
        name: &str,
    ) {
        if let Some(user) = name.strip_prefix(SIGNED_IN) {
            self.notify_watchers(connections, app, user, "online");
        }
    }

    fn set_info<T>(
        &mut self,
        connections: &mut Connections<T>,
        id: ConnId,
        info: Option<Box<str>>,
    ) {
        let subscriber = connections.subscriber_mut(id);
        if let Some(user) = subscriber.and_then(|subscriber| subscriber.user.as_mut()) {
            user.info = info;
        }
    }

    fn attach_user<T>(
        &mut self,
        connections: &mut Connections<T>,
        id: ConnId,
        app: u32,
        user: User,
    ) {
        let first = !self.is_online(app, &user.id);
        let name = format!("{SIGNED_IN}{}", user.id);
        let user_id = user.id.clone();
        if let Some(subscriber) = connections.subscriber_mut(id) {
            subscriber.user = Some(Box::new(user));
        }
        self.join_internal(connections, id, app, &name);
        if first {
            self.notify_watchers(connections, app, &user_id, "online");
        }
    }

    /// Adds a connection to an internal channel.
    fn join_internal<T>(
        &mut self,
        connections: &mut Connections<T>,
        id: ConnId,
        app: u32,
        name: &str,
    ) {
        let subscriber = connections.subscriber_mut(id);
        if let Some(user) = subscriber.and_then(|subscriber| subscriber.user.as_mut()) {
            user.internal_memberships += 1;
            self.join(connections, id, app, name, INTERNAL, None);
        }
    }

    /// Removes a connection from the channels of all users it watches except these. A connection
    /// has one watchlist, and one membership for each user on it.
    fn stop_watching<T>(
        &mut self,
        connections: &mut Connections<T>,
        id: ConnId,
        app: u32,
        remaining: &[String],
        now: Now,
    ) {
        let Some(subscriber) = connections.subscriber(id) else {
            return;
        };
        let remaining: BTreeSet<&str> = remaining.iter().map(String::as_str).collect();
        let channels = &self.apps[app].channels;
        let places =
            subscriber.memberships.iter().map(|membership| membership.channel).filter(|&place| {
                let name = channels.get(place as usize).map(|channel| &*channel.name);
                let watched = name.and_then(|name| name.strip_prefix(WATCHING));
                watched.is_some_and(|user| !remaining.contains(user))
            });
        for place in places.collect::<Vec<u32>>() {
            let subscriber = connections.subscriber_mut(id);
            let Some(subscriber) = subscriber else { return };
            let membership = subscriber.take_membership(place);
            if let (Some(membership), Some(user)) = (membership, &mut subscriber.user) {
                user.internal_memberships -= 1;
                self.remove_member(connections, id, app, membership, now);
            }
        }
    }

    /// Makes a connection watch these users and no others, and sends it which of them are online.
    fn watch<T>(
        &mut self,
        connections: &mut Connections<T>,
        id: ConnId,
        app: u32,
        watchlist: &[String],
        now: Now,
    ) {
        let watched = &watchlist[..watchlist.len().min(WATCHLIST_MAX)];
        self.stop_watching(connections, id, app, watched, now);
        if watchlist.is_empty() {
            return;
        }
        if watchlist.len() > WATCHLIST_MAX {
            let text = format!("The watchlist has more than {WATCHLIST_MAX} users");
            connections.queue(id, message::error(4302, &text));
        }
        let (mut online, mut offline) = (Vec::new(), Vec::new());
        for user in watched {
            let name = format!("{WATCHING}{user}");
            let place = self.apps[app].place(&name);
            let is_watching =
                place.is_some_and(|place| connections.membership(id, place).is_some());
            if !is_watching {
                self.join_internal(connections, id, app, &name);
            }
            match self.is_online(app, user) {
                true => online.push(user.as_str()),
                false => offline.push(user.as_str()),
            }
        }
        let events = [("online", online), ("offline", offline)];
        connections.queue(id, watchlist_events(&events));
    }

    fn notify_watchers<T>(
        &mut self,
        connections: &mut Connections<T>,
        app: u32,
        user: &str,
        what: &'static str,
    ) {
        let name = format!("{WATCHING}{user}");
        if let Some(channel) = self.apps[app].channel(&name) {
            let frame = watchlist_events(&[(what, vec![user])]);
            connections.broadcast(app, &channel.members, &frame, None);
        }
    }
}

/// Whether this node publishes a channel's subscription count to other nodes: it does for channels
/// that the API lists, and for signed-in users.
pub(super) fn is_replicated(channel: &str, kind: Kind) -> bool {
    kind.is_listed() || channel.starts_with(SIGNED_IN)
}

/// Parses `user_data`: the user, and the ids of the users to watch.
fn parse_user(user_data: &str) -> Result<(User, Vec<String>), ClientError> {
    let malformed = || {
        let text = "user_data must be a JSON object with the user's id, a text or a number";
        ClientError::new(4200, text, "user_data is not an object with an id")
    };
    let data = message::object(user_data).ok_or_else(malformed)?;
    let id = data.get("id").and_then(|raw| user_id(raw.get())).ok_or_else(malformed)?;
    let info = data.get("user_info").map(|raw| raw.get().into());
    let watchlist = data.get("watchlist").and_then(|raw| message::array(raw.get()));
    let watchlist = watchlist.unwrap_or_default().into_iter().take(WATCHLIST_MAX + 1);
    let watchlist = watchlist.filter_map(|raw| message::string(raw.get()));
    let watchlist = watchlist.map(Cow::into_owned).collect();
    Ok((User { id: id.into(), info, internal_memberships: 0 }, watchlist))
}

fn watchlist_events(events: &[(&str, Vec<&str>)]) -> Frame {
    let lists = events.iter().filter(|(_, users)| !users.is_empty()).map(|(name, users)| {
        let ids: Vec<String> = users.iter().map(|user| json_string(user)).collect();
        format!(r#"{{"name":"{name}","user_ids":[{}]}}"#, ids.join(","))
    });
    let lists: Vec<String> = lists.collect();
    let data = format!(r#"{{"events":[{}]}}"#, lists.join(","));
    message::internal("pusher_internal:watchlist_events", None, &data)
}
