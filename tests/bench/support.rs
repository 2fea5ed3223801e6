//! Waits for the Redis servers of the benchmarks, whose code is that of the tests.

use std::thread;
use std::time::{Duration, Instant};

/// The longest time to wait before a benchmark fails.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until a condition is true.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < DEADLINE, "timed out: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
