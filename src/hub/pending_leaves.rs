//! Collects leaves from presence channels until they are announced to the members. Up to 64 leaves
//! are announced at once. A larger wave is announced when it ends, as one write per remaining
//! member, so that departing users receive no `member_removed` for each other: if ten thousand
//! clients lose their proxy, they would otherwise receive fifty million events. Each channel has
//! its own waves. No leave waits for more than about a second. Messages are sent by
//! `presence_leaves`.

use std::rc::Rc;

/// The unannounced leaves of one channel, and their times.
#[derive(Debug, Default)]
pub(crate) struct Leaves {
    /// Users whose leave has not been announced.
    pub users: Vec<Rc<str>>,
    /// How many of `users` are included in `in_wave`.
    counted: usize,
    /// Leaves in this wave, announced or not.
    in_wave: usize,
    /// When the first unannounced leave and the last leave of the wave were counted.
    first_ms: u64,
    last_ms: u64,
    /// Whether the channel is in one of the lists of [`PendingLeaves`].
    pub is_listed: bool,
}

impl Leaves {
    /// Counts new leaves. Returns whether to announce all pending leaves now.
    pub(crate) fn is_due(&mut self, now_ms: u64) -> bool {
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

    /// When the pending leaves are due, if no user leaves before.
    pub(crate) fn due_ms(&self) -> u64 {
        (self.last_ms + QUIET_MS).min(self.first_ms + WAIT_MAX_MS)
    }

    pub(crate) fn take(&mut self) -> Vec<Rc<str>> {
        self.counted = 0;
        std::mem::take(&mut self.users)
    }
}

/// Leaves of one wave that are announced at once.
const AT_ONCE: usize = 64;
/// A wave is over when no user has left for this long.
const QUIET_MS: u64 = 50;
/// No leave waits longer than this, however long the wave lasts.
const WAIT_MAX_MS: u64 = 1_000;

/// An empty list of channels keeps at most this capacity.
pub(crate) const IDLE_CAPACITY_MAX: usize = 64;

/// A channel, by app and name: its place may belong to another channel by the time it is checked.
type ChannelRef = (u32, Rc<str>);

/// The channels with unannounced leaves.
#[derive(Debug, Default)]
pub(crate) struct PendingLeaves {
    /// Channels that users have left since the last check.
    pub new: Vec<ChannelRef>,
    /// Channels with a wave that has not ended.
    pub waiting: Vec<ChannelRef>,
    /// When to check the channels in `waiting` next.
    pub due_ms: Option<u64>,
}

impl PendingLeaves {
    pub(crate) fn is_empty(&self) -> bool {
        self.new.is_empty() && self.waiting.is_empty()
    }

    /// All channels that may have unannounced leaves.
    pub(crate) fn places(&self) -> impl Iterator<Item = &ChannelRef> {
        self.new.iter().chain(&self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leave(leaves: &mut Leaves, users: usize) {
        leaves.users.extend((0..users).map(|_| Rc::from("user")));
    }

    #[test]
    fn few_leaves_are_due_at_once_and_a_wave_at_its_end() {
        let mut leaves = Leaves::default();
        leave(&mut leaves, AT_ONCE);
        assert!(leaves.is_due(1_000));
        leaves.take();
        leave(&mut leaves, 1);
        assert!(!leaves.is_due(1_010));
        assert!(!leaves.is_due(1_059));
        leave(&mut leaves, 1);
        assert!(!leaves.is_due(1_059));
        assert!(!leaves.is_due(1_108));
        assert!(leaves.is_due(1_109));
        leaves.take();
        leave(&mut leaves, 1);
        assert!(leaves.is_due(1_159), "a new wave");
    }

    #[test]
    fn a_wave_that_does_not_end_is_due_every_second() {
        let mut leaves = Leaves::default();
        leave(&mut leaves, AT_ONCE + 1);
        leaves.is_due(5_000);
        let due_ms = (5_001..).find(|&now_ms| {
            leave(&mut leaves, 1);
            leaves.is_due(now_ms)
        });
        assert_eq!(due_ms, Some(5_000 + WAIT_MAX_MS));
    }
}
