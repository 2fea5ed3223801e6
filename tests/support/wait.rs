//! Waits for conditions without an event, by polling.

use std::thread;
use std::time::{Duration, Instant};

use super::DEADLINE;
#[cfg(any(feature = "redis", feature = "tls", feature = "webhooks"))]
use super::Server;

/// Waits until a condition is true.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < DEADLINE, "timed out: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(any(feature = "redis", feature = "tls", feature = "webhooks"))]
/// Waits until the server has logged a line with all these parts, and returns it.
#[track_caller]
pub fn logged(server: &Server, parts: &[&str]) -> String {
    let mut found = None;
    until(&format!("{parts:?} in the log"), || {
        let log = server.stderr();
        found = log.lines().find(|line| parts.iter().all(|p| line.contains(p))).map(str::to_owned);
        found.is_some()
    });
    found.unwrap()
}
