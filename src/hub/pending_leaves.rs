//! Users that have left a presence channel, until their leaves are announced to its members. Up to
//! 64 leaves are announced at once. A larger wave is announced when it ends, as one write per
//! remaining member, so departing users receive no `member_removed` for each other: ten thousand
//! clients that lose their proxy would otherwise receive fifty million events about each other.
//! Each channel has its own waves. No leave waits for more than about a second.

use std::rc::Rc;

use super::Hub;
use super::peer::Now;
use super::presence;
use crate::proto::websocket::Frame;

/// Users that have left one channel, and when.
#[derive(Debug, Default)]
pub(crate) struct Leaves {
    /// Users whose leave has not been announced.
    pub users: Vec<Rc<str>>,
    /// How many of `users` are included in `in_wave`.
    counted: usize,
    /// Leaves in this wave, announced or not.
    in_wave: usize,
    /// When the first of the unannounced leaves was counted, and when the last leave was.
    first_ms: u64,
    last_ms: u64,
    /// Whether the channel is in one of the lists of [`PendingLeaves`].
    is_listed: bool,
}

impl Leaves {
    /// Counts the users that were added. Returns whether to announce the leaves now.
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

/// Leaves of one wave that are announced at once.
const AT_ONCE: usize = 64;
/// A wave is over when no user has left for this long.
const QUIET_MS: u64 = 50;
/// No leave waits longer than this, regardless of how long the wave lasts.
const LONGEST_MS: u64 = 1_000;

/// The list of channels keeps its memory up to this capacity.
const ROOM_KEPT: usize = 64;

/// A channel, by its app and name: another channel may have its place by the time it is checked.
type Place = (u32, Rc<str>);

/// The channels with leaves to announce.
#[derive(Debug, Default)]
pub(crate) struct PendingLeaves {
    /// Channels that users have left since the last check.
    new: Vec<Place>,
    /// Channels with a wave that has not ended.
    waiting: Vec<Place>,
    /// When to check the channels in `waiting` next.
    due_ms: Option<u64>,
}

impl PendingLeaves {
    pub(crate) fn is_empty(&self) -> bool {
        self.new.is_empty() && self.waiting.is_empty()
    }

    /// All channels that may have leaves to announce.
    pub(crate) fn places(&self) -> impl Iterator<Item = &Place> {
        self.new.iter().chain(&self.waiting)
    }
}

impl<T> Hub<T> {
    /// Adds the leave of a user to those to announce; the channel still has members.
    pub(super) fn add_leave(&mut self, app: u32, place: u32, user: Rc<str>) {
        let channel = self.apps[app as usize].channels.get_mut(place as usize);
        let Some(channel) = channel else { return };
        let Some(presence) = &mut channel.presence else { return };
        presence.leaves.users.push(user);
        if !std::mem::replace(&mut presence.leaves.is_listed, true) {
            self.pending_leaves.new.push((app, Rc::clone(&channel.name)));
        }
    }

    /// Whether there are leaves that [`Hub::check_leaves`] has not seen yet.
    pub(super) fn has_new_leaves(&self) -> bool {
        !self.pending_leaves.new.is_empty()
    }

    /// When the next wave is to be checked, if there is one.
    pub(super) fn next_leaves_ms(&self) -> Option<u64> {
        self.pending_leaves.due_ms
    }

    /// Announces leaves to the members of their channels, except for waves that have not ended.
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

    /// Announces all leaves of a channel to its members: one message per leave, but all messages in
    /// one buffer, so that a wave costs each member's outbox no more than a single leave.
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
