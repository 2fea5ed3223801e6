//! The state of an orderly stop: which connections have no close frame yet, and which have not
//! closed yet. `stop` closes them.

use std::collections::HashSet;

use super::ids::ConnId;
use super::random::Hashing;
use super::staggered::Staggered;

/// A stop that has begun.
#[derive(Debug)]
pub(crate) struct Drain {
    pub started_ms: u64,
    /// Connections without a close frame yet.
    pub left: Staggered,
    /// Whether all other connections stay open.
    pub is_partial: bool,
    /// When the most recent close frame was queued for a WebSocket client, if any was.
    pub last_close_ms: Option<u64>,
    /// Clients that connected during the stop and wait for its end.
    pub deferred: Vec<ConnId>,
    /// Whether all close frames are queued, including those of the deferred clients.
    pub has_queued_all: bool,
    /// The connections that were open when `has_queued_all` was set. The stop waits for these
    /// alone: clients that connect later get 4100 at once, and more of them may always follow.
    pub closing: HashSet<ConnId, Hashing>,
}

/// The longest time a handshake is deferred: pusher-js gives up a connection on which nothing
/// arrives for ten seconds.
pub(super) const DEFER_MAX_MS: u64 = 5_000;
/// The text of the close frames of a stop.
pub(super) const RESTARTING: &str = "Server is restarting";
