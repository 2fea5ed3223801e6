//! Whether a running server reads the hand-over of artisan. The file stays when the server ends, so
//! the next server may be one that `reverb start` has started, which reads the `.env`.
//!
//! The flags of the server's process name the file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::processes;
use crate::config::{Server, Sources, load};

/// The sources that the running server reads, and the hand-over that it does not read, if there is
/// one. Without a running server, a hand-over counts.
pub(super) fn sources_in_use(found: Sources) -> (Sources, Option<PathBuf>) {
    let variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let Some(file) = found.hand_over(&variables) else { return (found, None) };
    let without = Sources { finds_hand_over: false, ..found.clone() };
    // The server may listen where the hand-over says, or where the `.env` says. A hand-over that
    // cannot be read says nothing.
    let is_read = [&found, &without].into_iter().find_map(|sources| {
        let (server, _) = load::server(sources, variables.clone()).ok()?;
        is_read_at(&server, &file)
    });
    match is_read {
        Some(false) => (without, Some(file)),
        Some(true) | None => (found, None),
    }
}

/// Whether a server that listens there reads the hand-over; `None` if no server is found there.
fn is_read_at(server: &Server, file: &Path) -> Option<bool> {
    let servers = processes::listening_at(server).unwrap_or_default().servers();
    let reads = |id| processes::reads(id, file);
    let answers: Vec<bool> = servers.into_iter().filter_map(reads).collect();
    (!answers.is_empty()).then(|| answers.contains(&true))
}
