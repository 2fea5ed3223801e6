//! Waiting for what no event tells of.

use std::thread;
use std::time::{Duration, Instant};

use super::DEADLINE;
#[cfg(any(feature = "redis", feature = "tls"))]
use super::Server;

/// Waits until something is so that no event tells of.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < DEADLINE, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(any(feature = "redis", feature = "tls"))]
/// Waits until the server has logged a line with all of these in it, and returns it.
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
