//! After a pause of the whole process (SIGSTOP, a suspended machine, no processor time) every
//! deadline in it has expired at once, and what arrived during it has not been read. Deadlines wait
//! until it has: a client whose request or pong is here in time is not closed for the server's pause.

use std::time::Duration;

use mio::Events;

use super::Server;
use crate::hub::Now;

/// Detects a pause of the process, and delays deadlines after it.
#[derive(Default)]
pub(super) struct CatchUp {
    /// When the turn before began.
    turn_ms: u64,
    /// When deadlines wait no longer, whatever is left to read.
    until_ms: Option<u64>,
    /// Whether the poller has been asked since the pause.
    has_polled: bool,
}

impl CatchUp {
    /// The first turn is about to begin.
    pub(super) fn start(&mut self, now: Now) {
        self.turn_ms = now.ms;
    }

    /// A turn begins, after a wait that was to take no longer than this.
    pub(super) fn begin_turn(&mut self, timeout: Option<Duration>, now: Now) {
        let before_ms = std::mem::replace(&mut self.turn_ms, now.ms);
        self.has_polled = true;
        // A wait without an end waits for no deadline.
        let Some(timeout) = timeout else { return };
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let late_ms = now.ms.saturating_sub(before_ms.saturating_add(timeout_ms));
        if late_ms > PAUSE_MS && self.until_ms.is_none() {
            log::info!(
                "this process did not run for {late_ms} ms; what has arrived is read before \
                 deadlines expire"
            );
            (self.until_ms, self.has_polled) = (Some(now.ms + CATCH_UP_MS), false);
        }
    }

    /// Whether what has arrived during a pause is still being read.
    pub(super) fn is_on(&self) -> bool {
        self.until_ms.is_some()
    }
}

impl Server {
    /// Whether deadlines wait in this turn, in which these events came.
    pub(super) fn is_catching_up(&mut self, events: &Events, now: Now) -> bool {
        let Some(until_ms) = self.catch_up.until_ms else { return false };
        let has_arrived = self.redis.as_ref().is_some_and(|redis| redis.has_arrived());
        let is_left = has_arrived || self.hub.has_work() || !self.to_shake.is_empty();
        let is_over = self.catch_up.has_polled && events.is_empty() && !is_left;
        if is_over || now.ms >= until_ms {
            self.catch_up.until_ms = None;
        }
        self.catch_up.is_on()
    }
}

/// Milliseconds a turn may be late before that counts as a pause: no turn that works takes as long.
const PAUSE_MS: u64 = 1_000;
/// Milliseconds for which deadlines wait at the most, so that a server whose every turn is too long
/// still closes those that are silent.
const CATCH_UP_MS: u64 = 1_000;
