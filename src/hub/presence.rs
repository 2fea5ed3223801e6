//! The users of one presence channel. A user with several connections, at one node or at several,
//! counts once. The events that announce users are sent by `subscribe`, `presence_leaves` and
//! `presence_lists`.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::member_list::{MemberList, sent_bytes};
use super::node_set::{NodeSet, PLACES};
use super::pending_leaves::Leaves;
use super::random::Hashing;
use crate::proto::message::{self, json_string, push_json_string};
use crate::proto::snapshot::{Codec, DecodeError, DecodeResult};
use crate::proto::websocket::Frame;

/// The users of a channel at all nodes, in the order in which they joined.
#[derive(Debug)]
pub(crate) struct Presence {
    users: HashMap<Rc<str>, User, Hashing>,
    /// The ids of the users by place: the order in which they joined.
    order: BTreeMap<u64, Rc<str>>,
    /// The place of the next user that joins.
    next_place: u64,
    /// Bytes of the member list as it is sent to a new subscriber.
    bytes: usize,
    /// Encoded segments of a long member list; dropped about a second after the list was last sent.
    list: Option<Box<MemberList>>,
    /// Leaves that have not been announced to the members.
    pub leaves: Leaves,
}

/// A user of the channel.
#[derive(Debug)]
struct User {
    /// `user_info` of its first connection, as JSON text.
    info: Option<Box<str>>,
    /// Its connections at this node.
    connections: u32,
    place: u64,
    /// The other nodes at which it is present.
    nodes: NodeSet,
    /// Those of `nodes` that have begun a full sync and not confirmed the user yet.
    stale: NodeSet,
}

/// Whether a join or leave changes the presence of the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    /// Whether the user has become present or absent at the node of the connection.
    pub at_node: bool,
    /// Whether the user has become present or absent in the whole cluster.
    pub anywhere: bool,
}

/// A user that joins a presence channel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Member {
    pub id: Rc<str>,
    /// `user_info` as JSON text.
    pub info: Option<Box<str>>,
}

impl Member {
    /// Parses `channel_data`; numeric ids become text. `None` unless it is an object with an id.
    pub(crate) fn parse(channel_data: &str) -> Option<Member> {
        let data = message::object(channel_data)?;
        let id = user_id(data.get("user_id")?.get())?;
        let info = data.get("user_info").map(|raw| raw.get().into());
        Some(Member { id: id.into(), info })
    }
}

/// Parses a user id, which is a JSON string or number.
pub(crate) fn user_id(json: &str) -> Option<String> {
    let is_number = json.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let id = if is_number { json.to_owned() } else { message::string(json)?.into_owned() };
    (!id.is_empty()).then_some(id)
}

impl Presence {
    pub(crate) fn new(hashing: Hashing) -> Self {
        Presence {
            users: HashMap::with_hasher(hashing),
            order: BTreeMap::new(),
            next_place: 0,
            bytes: 0,
            list: None,
            leaves: Leaves::default(),
        }
    }

    /// Adds a connection of a user at this node.
    pub(crate) fn join(&mut self, member: &Member) -> Change {
        let (user, anywhere) = self.user(member);
        user.connections += 1;
        Change { at_node: user.connections == 1, anywhere }
    }

    /// Removes a connection of a user at this node.
    pub(crate) fn leave(&mut self, id: &str) -> Change {
        let Some(user) = self.users.get_mut(id) else { return Change::NONE };
        let at_node = user.connections == 1;
        user.connections = user.connections.saturating_sub(1);
        Change { at_node, anywhere: self.remove_if_absent(id) }
    }

    /// Adds a user at another node.
    pub(crate) fn join_at(&mut self, node: usize, member: &Member) -> Change {
        let (user, anywhere) = self.user(member);
        let at_node = !user.nodes.contains(node);
        user.nodes.insert(node);
        user.stale.remove(node);
        Change { at_node, anywhere }
    }

    /// Removes a user at another node.
    pub(crate) fn leave_at(&mut self, node: usize, id: &str) -> Change {
        let Some(user) = self.users.get_mut(id) else { return Change::NONE };
        let at_node = user.nodes.contains(node);
        user.nodes.remove(node);
        user.stale.remove(node);
        Change { at_node, anywhere: self.remove_if_absent(id) }
    }

    /// For each node, adds the number of its users to the node's entry in `facts`.
    pub(crate) fn add_facts(&self, facts: &mut [u32; PLACES]) {
        for place in self.users.values().flat_map(|user| user.nodes.iter()) {
            facts[place] += 1;
        }
    }

    /// Whether a user is present at this other node.
    pub(crate) fn is_at(&self, node: usize, id: &str) -> bool {
        self.users.get(id).is_some_and(|user| user.nodes.contains(node))
    }

    /// Marks all users at a node as stale until the node confirms them.
    pub(crate) fn mark_stale(&mut self, node: usize) {
        let there = self.users.values_mut().filter(|user| user.nodes.contains(node));
        there.for_each(|user| user.stale.insert(node));
    }

    /// Records that users are no longer present at a node: all of its users, or with `stale_only`
    /// those that it has not confirmed. Returns how many they are, and the ids of the users that
    /// are now at no node.
    pub(crate) fn remove_node(&mut self, node: usize, stale_only: bool) -> (usize, Vec<Rc<str>>) {
        let there = |user: &User| match stale_only {
            true => user.stale.contains(node),
            false => user.nodes.contains(node),
        };
        let ids = self.order.values().filter(|id| self.users.get(*id).is_some_and(there));
        let ids: Vec<Rc<str>> = ids.cloned().collect();
        let count = ids.len();
        (count, ids.into_iter().filter(|id| self.leave_at(node, id).anywhere).collect())
    }

    /// Encodes or decodes the users and the other nodes at which they are present. Connections at
    /// this node are restored one by one, by [`Presence::restore_member`].
    pub(super) fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        let users = self.order.values().filter_map(|id| self.users.get_key_value(id));
        let mut users: Vec<(Member, NodeSet, NodeSet)> = users
            .map(|(id, user)| {
                let member = Member { id: Rc::clone(id), info: user.info.clone() };
                (member, user.nodes.clone(), user.stale.clone())
            })
            .collect();
        c.list(&mut users, |c, (member, nodes, stale)| {
            c.text(&mut member.id)?;
            c.option(&mut member.info, Codec::text)?;
            nodes.snapshot(c)?;
            stale.snapshot(c)
        })?;
        for (member, nodes, stale) in users.into_iter().filter(|_| c.reads()) {
            let (user, is_new) = self.user(&member);
            (user.nodes, user.stale) = (nodes, stale);
            is_new.then_some(()).ok_or(DecodeError)?;
        }
        Ok(())
    }

    /// Restores a connection of a user that was decoded before; `None` for an unknown user.
    pub(super) fn restore_member(&mut self, id: &str) -> Option<Rc<str>> {
        self.users.get_mut(id)?.connections += 1;
        self.users.get_key_value(id).map(|(id, _)| Rc::clone(id))
    }

    /// The users with connections at this node that joined after the user at `place`: their places,
    /// ids and infos.
    pub(crate) fn local_after(
        &self,
        place: Option<u64>,
    ) -> impl Iterator<Item = (u64, &str, Option<&str>)> {
        let later = self.order.range(place.map_or(0, |place| place + 1)..);
        later.filter_map(|(place, id)| {
            let user = self.users.get(id).filter(|user| user.connections > 0)?;
            Some((*place, &**id, user.info.as_deref()))
        })
    }

    /// The entry of a user, and whether it is new.
    fn user(&mut self, member: &Member) -> (&mut User, bool) {
        let mut is_new = false;
        let user = self.users.entry(Rc::clone(&member.id)).or_insert_with(|| {
            is_new = true;
            self.bytes += sent_bytes(&member.id, member.info.as_deref());
            let place = self.next_place;
            self.next_place += 1;
            self.order.insert(place, Rc::clone(&member.id));
            let (nodes, stale) = Default::default();
            User { info: member.info.clone(), connections: 0, place, nodes, stale }
        });
        (user, is_new)
    }

    /// Removes a user that is present at no node. Returns whether it was removed.
    fn remove_if_absent(&mut self, id: &str) -> bool {
        let Some(user) = self.users.get(id).filter(|u| u.connections == 0 && u.nodes.is_empty())
        else {
            return false;
        };
        self.bytes -= sent_bytes(id, user.info.as_deref());
        self.order.remove(&user.place);
        self.list.iter_mut().for_each(|list| list.drop_segment(user.place));
        self.users.remove(id);
        true
    }

    pub(crate) fn contains(&self, id: &str) -> bool {
        self.users.contains_key(id)
    }

    /// The number of users at all nodes.
    pub(crate) fn len(&self) -> usize {
        self.users.len()
    }

    /// Bytes of the member list as it is sent, including this member even if it is new.
    pub(crate) fn bytes_with(&self, member: &Member) -> usize {
        match self.contains(&member.id) {
            true => self.bytes,
            false => self.bytes + sent_bytes(&member.id, member.info.as_deref()),
        }
    }

    /// For the audit: whether all counts are right, if the users have this many connections at this
    /// node in total.
    pub(super) fn is_sound(&self, connections: usize) -> bool {
        let bytes = |(id, user): (&Rc<str>, &User)| sent_bytes(id, user.info.as_deref());
        let counted: usize = self.users.values().map(|user| user.connections as usize).sum();
        self.bytes == self.users.iter().map(bytes).sum::<usize>()
            && self.order.len() == self.users.len()
            && self.users.values().all(|user| user.connections > 0 || !user.nodes.is_empty())
            && counted == connections
    }

    /// The ids of the users, in the order in which they joined.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.order.values().map(|id| &**id)
    }

    /// Whether the member list is long enough to be sent in segments.
    pub(crate) fn is_long(&self) -> bool {
        MemberList::needs_segments(self.users.len(), self.bytes)
    }

    /// The confirmation of a subscription with a long member list. Returns its pieces, the number
    /// of bytes that were encoded and not shared, and whether this channel had no encoded segments
    /// before.
    pub(crate) fn long_list(&mut self, channel: &str, now_ms: u64) -> (Vec<Frame>, usize, bool) {
        let Presence { users, order, list, .. } = self;
        let is_new = list.is_none();
        let list = list.get_or_insert_default();
        list.used_ms = now_ms;
        let (pieces, encoded_bytes) = list.message(channel, users.len(), |from| {
            order.range(from..).map(|(place, id)| {
                (*place, id, users.get(id).and_then(|user| user.info.as_deref()))
            })
        });
        (pieces, encoded_bytes, is_new)
    }

    /// Drops the encoded segments if they were last sent before this time. Returns whether there
    /// are none now.
    pub(crate) fn drop_idle_list(&mut self, since_ms: u64) -> bool {
        if self.list.as_ref().is_some_and(|list| list.used_ms < since_ms) {
            self.list = None;
        }
        self.list.is_none()
    }

    /// The data of `subscription_succeeded` for a new subscriber (protocol section 7). `hash` is an
    /// object even if the ids are numbers, and a user without info is null in it.
    pub(crate) fn data(&self) -> String {
        let (mut ids, mut hash) = (String::new(), String::new());
        for (id, user) in self.order.values().filter_map(|id| self.users.get_key_value(id)) {
            if !ids.is_empty() {
                ids.push(',');
                hash.push(',');
            }
            let start = ids.len();
            push_json_string(&mut ids, id);
            hash.push_str(&ids[start..]);
            hash.push(':');
            hash.push_str(user.info.as_deref().unwrap_or("null"));
        }
        let count = self.users.len();
        format!(r#"{{"presence":{{"count":{count},"ids":[{ids}],"hash":{{{hash}}}}}}}"#)
    }
}

impl Change {
    const NONE: Change = Change { at_node: false, anywhere: false };
}

/// The event that announces a join to the members.
pub(crate) fn member_added(channel: &str, member: &Member) -> Frame {
    let mut data = format!(r#"{{"user_id":{}"#, json_string(&member.id));
    if let Some(info) = &member.info {
        data.push_str(r#","user_info":"#);
        data.push_str(info);
    }
    data.push('}');
    message::internal("pusher_internal:member_added", Some(channel), &data)
}

/// The event that announces a leave to the members.
pub(crate) fn member_removed(channel: &str, user_id: &str) -> Frame {
    let data = format!(r#"{{"user_id":{}}}"#, json_string(user_id));
    message::internal("pusher_internal:member_removed", Some(channel), &data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(channel_data: &str) -> Member {
        Member::parse(channel_data).unwrap()
    }

    #[test]
    fn a_user_counts_once_and_keeps_its_place() {
        let mut presence = Presence::new(super::super::random::Random::new([0; 32]).hashing());
        let first = Change { at_node: true, anywhere: true };
        assert_eq!(presence.join(&member(r#"{"user_id":"b","user_info":{"n":1.0}}"#)), first);
        assert_eq!(presence.join(&member(r#"{"user_id":0}"#)), first);
        let other = member(r#"{"user_id":"b","user_info":"other"}"#);
        assert_eq!(presence.join(&other), Change::NONE);
        assert_eq!(
            presence.data(),
            r#"{"presence":{"count":2,"ids":["b","0"],"hash":{"b":{"n":1.0},"0":null}}}"#
        );
        assert_eq!(presence.leave("b"), Change::NONE);
        assert_eq!(presence.leave("b"), first);
        assert_eq!(presence.leave("b"), Change::NONE);
        assert_eq!(presence.leave("0"), first);
        assert_eq!(presence.data(), r#"{"presence":{"count":0,"ids":[],"hash":{}}}"#);
    }

    #[test]
    fn ids_are_strings_or_numbers() {
        assert_eq!(member(r#"{"user_id":12}"#).id, member(r#"{"user_id":"12"}"#).id);
        for data in ["", "[]", "{}", r#"{"user_id":null}"#, r#"{"user_id":""}"#] {
            assert_eq!(Member::parse(data), None, "{data}");
        }
        assert_eq!(Member::parse(r#"{"user_id":{"a":1}}"#), None);
        assert_eq!(Member::parse(r#"{"user_id":true}"#), None);
    }
}
