//! Spreads an action on many connections evenly over a time window. The action itself is in `stop`
//! and `orphans`.

use super::ids::ConnId;

/// The connections that are not due yet.
#[derive(Debug)]
pub(super) struct Staggered {
    started_ms: u64,
    left: std::vec::IntoIter<ConnId>,
    /// How many connections there were at the start.
    total: usize,
    /// When the next step is.
    next_ms: u64,
}

/// Milliseconds from one step to the next: eighty steps in two seconds.
const STEP_MS: u64 = 25;
/// Up to this many connections are all due in the first step.
const AT_ONCE: usize = 10;

impl Staggered {
    pub(super) fn new(ids: Vec<ConnId>, now_ms: u64) -> Self {
        let (started_ms, total) = (now_ms, ids.len());
        Staggered { started_ms, left: ids.into_iter(), total, next_ms: now_ms }
    }

    /// The connections that are due now, if all are to be within `window_ms` of the start.
    pub(super) fn take_due(&mut self, window_ms: u64, now_ms: u64) -> Vec<ConnId> {
        if self.is_done() || now_ms < self.next_ms {
            return Vec::new();
        }
        self.next_ms = now_ms + STEP_MS;
        let elapsed_ms = now_ms.saturating_sub(self.started_ms);
        let remaining = match window_ms.saturating_sub(elapsed_ms) {
            0 => 0,
            // Spreading a few connections has no benefit.
            _ if self.is_at_once() => 0,
            left_ms => (self.total as u64 * left_ms / window_ms) as usize,
        };
        let due_count = self.left.len().saturating_sub(remaining);
        self.left.by_ref().take(due_count).collect()
    }

    /// The connections that are not due yet.
    pub(super) fn into_left(self) -> impl Iterator<Item = ConnId> {
        self.left
    }

    /// Whether there were so few connections that all are due in the first step.
    pub(super) fn is_at_once(&self) -> bool {
        self.total <= AT_ONCE
    }

    /// When to call [`Staggered::take_due`] next; `None` once all connections were due.
    pub(super) fn next_ms(&self) -> Option<u64> {
        (!self.is_done()).then_some(self.next_ms)
    }

    /// Whether all connections were due.
    pub(super) fn is_done(&self) -> bool {
        self.left.len() == 0
    }
}
