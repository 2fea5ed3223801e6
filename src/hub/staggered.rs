//! Many who are to be told something, not all at once: spread evenly over a time.

use super::peer::ConnId;

/// Those who have not been told yet.
#[derive(Debug)]
pub(super) struct Staggered {
    started_ms: u64,
    left: std::vec::IntoIter<ConnId>,
    /// How many there were.
    total: usize,
    /// When the next of them are told.
    next_ms: u64,
}

/// How often the next of them are told, in milliseconds: eighty times in two seconds.
const STEP_MS: u64 = 25;
/// Those who are told in one step.
const AT_ONCE: usize = 10;

impl Staggered {
    pub(super) fn new(ids: Vec<ConnId>, now_ms: u64) -> Self {
        let (started_ms, total) = (now_ms, ids.len());
        Staggered { started_ms, left: ids.into_iter(), total, next_ms: now_ms }
    }

    /// Those who are to be told now, if all are to have been within this time.
    pub(super) fn take_due(&mut self, window_ms: u64, now_ms: u64) -> Vec<ConnId> {
        if self.is_over() || now_ms < self.next_ms {
            return Vec::new();
        }
        self.next_ms = now_ms + STEP_MS;
        let elapsed_ms = now_ms.saturating_sub(self.started_ms);
        let still = match window_ms.saturating_sub(elapsed_ms) {
            0 => 0,
            // Few are told at once; nobody gains from spreading them.
            _ if self.is_at_once() => 0,
            left_ms => (self.total as u64 * left_ms / window_ms) as usize,
        };
        let now_many = self.left.len().saturating_sub(still);
        self.left.by_ref().take(now_many).collect()
    }

    /// Whether there were so few that all are told at once.
    pub(super) fn is_at_once(&self) -> bool {
        self.total <= AT_ONCE
    }

    /// When [`Staggered::take_due`] next has some, if it ever does.
    pub(super) fn next_ms(&self) -> Option<u64> {
        (!self.is_over()).then_some(self.next_ms)
    }

    pub(super) fn is_over(&self) -> bool {
        self.left.len() == 0
    }
}
