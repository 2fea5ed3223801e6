//! Waits for a condition without an event, by polling. The benchmarks use it, too.

use std::thread;
use std::time::{Duration, Instant};

use super::DEADLINE;

/// Waits until a condition is true.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < DEADLINE, "timed out: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until there is a value.
#[track_caller]
#[cfg(feature = "redis")]
pub fn until_some<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    until(what, || {
        found = find();
        found.is_some()
    });
    found.expect("the wait ended with a value")
}
