//! Announces leaves to the members of presence channels, one at a time or a wave at once.
//! `pending_leaves` decides when.

use std::rc::Rc;

use super::connections::Connections;
use super::ids::Now;
use super::pending_leaves::IDLE_CAPACITY_MAX;
use super::presence;
use super::pubsub::PubSub;
use crate::proto::websocket::Frame;

impl PubSub {
    /// Queues the announcement of a leave. The channel must still have members.
    pub(super) fn add_leave(&mut self, app: u32, place: u32, user: Rc<str>) {
        let channel = self.apps[app].channels.get_mut(place as usize);
        let Some(channel) = channel else { return };
        let Some(presence) = &mut channel.presence else { return };
        presence.leaves.users.push(user);
        if !std::mem::replace(&mut presence.leaves.is_listed, true) {
            self.pending_leaves.new.push((app, Rc::clone(&channel.name)));
        }
    }

    /// Whether there are leaves that [`PubSub::check_leaves`] has not checked yet.
    pub(super) fn has_new_leaves(&self) -> bool {
        !self.pending_leaves.new.is_empty()
    }

    /// When to check the next wave, if there is one.
    pub(super) fn next_leaves_ms(&self) -> Option<u64> {
        self.pending_leaves.due_ms
    }

    /// Announces leaves to the members of their channels, except for waves that have not ended.
    pub(super) fn check_leaves<T>(&mut self, connections: &mut Connections<T>, now: Now) {
        let is_due = self.pending_leaves.due_ms.is_some_and(|due_ms| due_ms <= now.ms);
        if !is_due && self.pending_leaves.new.is_empty() {
            return;
        }
        let mut places = std::mem::take(&mut self.pending_leaves.new);
        if is_due {
            places.append(&mut self.pending_leaves.waiting);
            self.pending_leaves.due_ms = None;
        }
        for (app, name) in places.drain(..) {
            self.check_leaves_of(connections, app, name, now);
        }
        if places.capacity() <= IDLE_CAPACITY_MAX {
            self.pending_leaves.new = places;
        }
    }

    fn check_leaves_of<T>(
        &mut self,
        connections: &mut Connections<T>,
        app: u32,
        name: Rc<str>,
        now: Now,
    ) {
        let Some(place) = self.apps[app].place(&name) else { return };
        let channel = self.apps[app].channels.get_mut(place as usize);
        let presence = channel.and_then(|channel| channel.presence.as_mut());
        let Some(leaves) = presence.map(|presence| &mut presence.leaves) else { return };
        if leaves.is_due(now.ms) {
            leaves.is_listed = false;
            return self.announce_leaves(connections, app, place);
        }
        let due_ms = leaves.due_ms();
        let before_ms = self.pending_leaves.due_ms;
        self.pending_leaves.due_ms = Some(before_ms.map_or(due_ms, |ms| ms.min(due_ms)));
        self.pending_leaves.waiting.push((app, name));
    }

    /// Announces all pending leaves of a channel to its members: one message per leave, but all
    /// messages in one buffer, so that a wave costs each outbox no more than a single leave.
    pub(super) fn announce_leaves<T>(
        &mut self,
        connections: &mut Connections<T>,
        app: u32,
        place: u32,
    ) {
        let channel = self.apps[app].channels.get_mut(place as usize);
        let Some(channel) = channel else { return };
        let Some(presence) = channel.presence.as_mut() else { return };
        let users = presence.leaves.take();
        let frame = |user: &Rc<str>| presence::member_removed(&channel.name, user);
        if let [user] = &users[..] {
            connections.broadcast(app, &channel.members, &frame(user), None);
            return;
        }
        let frames: Vec<Frame> = users.iter().map(frame).collect();
        connections.broadcast_all(app, &channel.members, &frames);
    }
}
