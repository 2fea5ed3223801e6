//! Handles a pause of the whole process (SIGSTOP, a suspended machine, no processor time). All
//! deadlines within the pause are then due at once, although requests and pongs may have arrived in
//! time. The server therefore delays the deadlines until it has read the pending input.

use std::time::Duration;

use crate::hub::Now;

/// Detects a pause of the process, and delays deadlines after it.
#[derive(Default)]
pub(super) struct CatchUp {
    /// When the latest turn began.
    turn_ms: u64,
    /// When the delay of deadlines ends, even if input is left to read. `None` if there is no
    /// delay.
    until_ms: Option<u64>,
    /// Whether the server has polled again since it detected the pause.
    has_polled: bool,
}

impl CatchUp {
    /// Sets the beginning of the first turn. Must be called before it.
    pub(super) fn start(&mut self, now: Now) {
        self.turn_ms = now.ms;
    }

    /// Begins a turn after a poll with this timeout. If the turn begins far too late, the process
    /// was paused.
    pub(super) fn begin_turn(&mut self, timeout: Option<Duration>, now: Now) {
        let before_ms = std::mem::replace(&mut self.turn_ms, now.ms);
        self.has_polled = true;
        // A poll without a timeout waits for no deadline.
        let Some(timeout) = timeout else { return };
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let late_ms = now.ms.saturating_sub(before_ms.saturating_add(timeout_ms));
        if late_ms > PAUSE_MS && self.until_ms.is_none() {
            log::info!(
                "this process was paused for {late_ms} ms; reading pending input before any \
                 deadline expires"
            );
            (self.until_ms, self.has_polled) = (Some(now.ms + CATCH_UP_MS), false);
        }
    }

    /// Whether deadlines are delayed in this turn. `is_idle` says that the poller reported nothing
    /// and no input is left to read.
    pub(super) fn check(&mut self, is_idle: bool, now: Now) -> bool {
        if let Some(until_ms) = self.until_ms
            && ((self.has_polled && is_idle) || now.ms >= until_ms)
        {
            self.until_ms = None;
        }
        self.is_on()
    }

    /// Whether the server is still reading what arrived during a pause.
    pub(super) fn is_on(&self) -> bool {
        self.until_ms.is_some()
    }
}

/// Milliseconds by which a turn may be late before it counts as a pause. The work of a turn never
/// takes as long.
const PAUSE_MS: u64 = 1_000;
/// The longest delay of deadlines, in milliseconds. A server with only long turns would otherwise
/// never close silent clients.
const CATCH_UP_MS: u64 = 1_000;
