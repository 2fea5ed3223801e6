//! Waits for a line in the log of a server.

use super::Server;
use super::until;

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
