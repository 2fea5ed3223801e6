//! The state of an orderly stop: which connections have yet to get their close frames, and which
//! have yet to close. `stop` closes them.

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
    /// When the last close frame was sent to a WebSocket client, if one was.
    pub told_ms: Option<u64>,
    /// Clients that reconnected during the stop and wait for its end.
    pub deferred: Vec<ConnId>,
    /// Whether all close frames are queued, those of the deferred clients included.
    pub is_over: bool,
    /// Open connections of the moment `is_over` became true. The stop waits for these alone: later
    /// clients get 4100 at once, and there may always be another one.
    pub closing: HashSet<ConnId, Hashing>,
}

/// How long a handshake may be deferred, in milliseconds: pusher-js gives up a connection on which
/// nothing arrives for ten seconds.
pub(super) const PATIENCE_MS: u64 = 5_000;
/// The text of the close frames of a stop.
pub(super) const RESTARTING: &str = "Server is restarting";
