//! The clocks of the event loop. The hub and the protocol code read no clock: the event loop passes
//! the time to the hub as [`Now`].

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::hub::Now;

/// Reads the monotonic clock, counted from the instant stored here, and the wall clock.
pub(super) struct Clock(pub Instant);

impl Clock {
    pub(super) fn now(&self) -> Now {
        let ms = u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { ms, unix_s: unix_s() }
    }
}

/// Seconds since 1970, by the wall clock.
pub(crate) fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |unix| unix.as_secs())
}
