//! Users that have left a presence channel, until their leaves are announced to its members. Up to
//! 64 leaves are announced at once. A larger wave is announced when it ends, as one write per
//! remaining member, so departing users receive no `member_removed` for each other: ten thousand
//! clients that lose their proxy would otherwise receive fifty million events about each other.
//! Each channel has its own waves. No leave waits for more than about a second.

use std::rc::Rc;

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
    pub is_listed: bool,
}

impl Leaves {
    /// Counts the users that were added. Returns whether to announce the leaves now.
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
/// No leave waits longer than this, regardless of how long the wave lasts.
const WAIT_MAX_MS: u64 = 1_000;

/// The list of channels keeps its memory up to this capacity.
pub(crate) const IDLE_CAPACITY_MAX: usize = 64;

/// A channel, by its app and name: another channel may have its place by the time it is checked.
type Place = (u32, Rc<str>);

/// The channels with leaves to announce.
#[derive(Debug, Default)]
pub(crate) struct PendingLeaves {
    /// Channels that users have left since the last check.
    pub new: Vec<Place>,
    /// Channels with a wave that has not ended.
    pub waiting: Vec<Place>,
    /// When to check the channels in `waiting` next.
    pub due_ms: Option<u64>,
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
    fn a_wave_without_an_end_is_told_of_every_second() {
        let mut leaves = Leaves::default();
        leave(&mut leaves, AT_ONCE + 1);
        leaves.is_due(5_000);
        let last_close_ms = (5_001..).find(|&now_ms| {
            leave(&mut leaves, 1);
            leaves.is_due(now_ms)
        });
        assert_eq!(last_close_ms, Some(5_000 + WAIT_MAX_MS));
    }
}
