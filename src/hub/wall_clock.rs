//! Unix time in milliseconds, from the two clocks of [`Now`].

use super::ids::Now;

/// The Unix time at a time of the other clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct WallClock {
    ms: u64,
    unix_ms: u64,
}

impl WallClock {
    pub(super) fn new(now: Now) -> Self {
        WallClock { ms: now.ms, unix_ms: now.unix_s * 1_000 }
    }

    /// Milliseconds of Unix time. [`Now`] has seconds: the milliseconds come from the other clock,
    /// and are exact from the first second that begins.
    pub(super) fn unix_ms(&mut self, now: Now) -> u64 {
        let time = self.unix_ms + now.ms.saturating_sub(self.ms);
        let exact = time.clamp(now.unix_s * 1_000, now.unix_s * 1_000 + 999);
        if exact != time {
            (self.ms, self.unix_ms) = (now.ms, exact);
        }
        exact
    }
}
