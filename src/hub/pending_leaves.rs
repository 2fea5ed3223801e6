//! Users who have left a presence channel, until its members are told. A few are told of at once;
//! of a wave that leaves together the members are told when it is over, in one message each, so
//! that none of those who leave are told of the others: ten thousand clients that lose their proxy
//! would otherwise be sent fifty million events about each other. Each channel has waves of its own.

use std::rc::Rc;

use super::Hub;
use super::peer::Now;
use super::presence;
use crate::proto::websocket::Frame;

/// Users who have left one channel, and when.
#[derive(Debug, Default)]
pub(crate) struct Leaves {
    /// Users of whom the members have not been told.
    pub users: Vec<Rc<str>>,
    /// How many of them have been counted.
    counted: usize,
    /// Users who left in this wave.
    in_wave: usize,
    /// When the first user that waits was counted, and when the last was.
    first_ms: u64,
    last_ms: u64,
    /// Whether the channel is in one of the lists of [`PendingLeaves`].
    is_listed: bool,
}

impl Leaves {
    /// Counts the users that were added, and says whether it is time to tell the members.
    fn is_time(&mut self, now_ms: u64) -> bool {
        if self.users.len() > self.counted {
            if now_ms >= self.last_ms + QUIET_MS {
                self.in_wave = 0;
            }
            if self.counted == 0 {
                self.first_ms = now_ms;
            }
            self.in_wave += self.users.len() - self.counted;
            (self.counted, self.last_ms) = (self.users.len(), now_ms);
        }
        self.in_wave <= AT_ONCE || now_ms >= self.due_ms()
    }

    fn due_ms(&self) -> u64 {
        (self.last_ms + QUIET_MS).min(self.first_ms + LONGEST_MS)
    }

    fn take(&mut self) -> Vec<Rc<str>> {
        self.counted = 0;
        std::mem::take(&mut self.users)
    }
}

/// Users of one wave who are told of at once.
const AT_ONCE: usize = 64;
/// A wave is over when no user has left for this long.
const QUIET_MS: u64 = 50;
/// No leave waits longer than this, however long a wave may be.
const LONGEST_MS: u64 = 1_000;

/// Channels for which room is kept.
const ROOM_KEPT: usize = 64;

/// A channel, by its app and name: its place may be that of another by the time it is looked at.
type Place = (u32, Rc<str>);

/// The channels with users who have left.
#[derive(Debug, Default)]
pub(crate) struct PendingLeaves {
    /// Channels that users have left since the last look.
    new: Vec<Place>,
    /// Channels with a wave that goes on.
    waiting: Vec<Place>,
    /// When the first of those waves is due.
    due_ms: Option<u64>,
}

impl PendingLeaves {
    pub(crate) fn is_empty(&self) -> bool {
        self.new.is_empty() && self.waiting.is_empty()
    }

    /// All channels that may have some.
    pub(crate) fn places(&self) -> impl Iterator<Item = &Place> {
        self.new.iter().chain(&self.waiting)
    }
}

impl<T> Hub<T> {
    /// A user has left a channel that has members.
    pub(super) fn add_leave(&mut self, app: u32, place: u32, user: Rc<str>) {
        let channel = self.apps[app as usize].channels.get_mut(place as usize);
        let Some(channel) = channel else { return };
        let Some(presence) = &mut channel.presence else { return };
        presence.leaves.users.push(user);
        if !std::mem::replace(&mut presence.leaves.is_listed, true) {
            self.pending_leaves.new.push((app, Rc::clone(&channel.name)));
        }
    }

    /// Whether some have left that nothing was decided about.
    pub(super) fn has_new_leaves(&self) -> bool {
        !self.pending_leaves.new.is_empty()
    }

    /// When the members of a channel with a wave are told.
    pub(super) fn next_leaves_ms(&self) -> Option<u64> {
        self.pending_leaves.due_ms
    }

    /// Tells the members of channels that users have left, unless the users are a wave that goes on.
    pub(super) fn check_leaves(&mut self, now: Now) {
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
            self.check_leaves_of(app, name, now);
        }
        if places.capacity() <= ROOM_KEPT {
            self.pending_leaves.new = places;
        }
        self.drop_slow(now);
    }

    fn check_leaves_of(&mut self, app: u32, name: Rc<str>, now: Now) {
        let Some(place) = self.apps[app as usize].place(&name) else { return };
        let channel = self.apps[app as usize].channels.get_mut(place as usize);
        let presence = channel.and_then(|channel| channel.presence.as_mut());
        let Some(leaves) = presence.map(|presence| &mut presence.leaves) else { return };
        if leaves.is_time(now.ms) {
            leaves.is_listed = false;
            return self.announce_leaves(app, place);
        }
        let due_ms = leaves.due_ms();
        let before_ms = self.pending_leaves.due_ms;
        self.pending_leaves.due_ms = Some(before_ms.map_or(due_ms, |ms| ms.min(due_ms)));
        self.pending_leaves.waiting.push((app, name));
    }

    /// Tells the members of a channel of all who have left it: in as many messages, but in one
    /// piece, so that a wave costs each member what a single leave does.
    pub(super) fn announce_leaves(&mut self, app: u32, place: u32) {
        let channel = self.apps[app as usize].channels.get_mut(place as usize);
        let Some(channel) = channel else { return };
        let Some(presence) = channel.presence.as_mut() else { return };
        let users = presence.leaves.take();
        let frame = |user: &Rc<str>| presence::member_removed(&channel.name, user);
        if let [user] = &users[..] {
            return self.peers.broadcast(app, &channel.members, &frame(user), None);
        }
        let frames: Vec<Frame> = users.iter().map(frame).collect();
        self.peers.broadcast_all(app, &channel.members, &frames);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leave(leaves: &mut Leaves, users: usize) {
        leaves.users.extend((0..users).map(|_| Rc::from("user")));
    }

    #[test]
    fn a_few_are_told_of_at_once_and_a_wave_when_it_is_over() {
        let mut leaves = Leaves::default();
        leave(&mut leaves, AT_ONCE);
        assert!(leaves.is_time(1_000));
        leaves.take();
        leave(&mut leaves, 1);
        assert!(!leaves.is_time(1_010));
        assert!(!leaves.is_time(1_059));
        leave(&mut leaves, 1);
        assert!(!leaves.is_time(1_059));
        assert!(!leaves.is_time(1_108));
        assert!(leaves.is_time(1_109));
        leaves.take();
        leave(&mut leaves, 1);
        assert!(leaves.is_time(1_159), "a new wave");
    }

    #[test]
    fn a_wave_without_an_end_is_told_of_every_second() {
        let mut leaves = Leaves::default();
        leave(&mut leaves, AT_ONCE + 1);
        leaves.is_time(5_000);
        let told_ms = (5_001..).find(|&now_ms| {
            leave(&mut leaves, 1);
            leaves.is_time(now_ms)
        });
        assert_eq!(told_ms, Some(5_000 + LONGEST_MS));
    }
}
