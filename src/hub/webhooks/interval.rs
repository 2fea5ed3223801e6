//! When the number of messages is reported. What is reported is in `counts`.

use super::super::ids::Now;

/// The next whole multiple of an interval, so that no report spans two of the minutes that Laravel
/// Pulse shows.
pub(super) struct Interval {
    interval_s: u64,
    pub next_ms: u64,
}

impl Interval {
    pub(super) fn new(interval_s: u32, now: Now) -> Self {
        let mut interval = Interval { interval_s: u64::from(interval_s).max(1), next_ms: 0 };
        interval.begin_next(now);
        interval
    }

    pub(super) fn begin_next(&mut self, now: Now) {
        let left_s = self.interval_s - now.unix_s % self.interval_s;
        self.next_ms = now.ms + left_s * 1_000;
    }
}
