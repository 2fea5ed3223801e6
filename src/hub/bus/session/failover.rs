//! How long a session waits if another server may take over, as with Sentinel or in a Redis Cluster:
//! shorter than for the only server there is.

use super::RedisSession;

impl RedisSession {
    /// Whether another server may take over from the one that this node was connected to.
    fn has_alternatives(&self) -> bool {
        self.is_by_sentinel || self.shards.is_some()
    }

    /// The time for the login. If another server may take over, it is short at first: one that has
    /// stopped accepts connections and does not answer.
    pub(super) fn login_ms(&self) -> u64 {
        let first_ms = 1_000_u64 << self.attempts.min(16);
        match self.has_alternatives() {
            true => self.limits.connect_ms.min(first_ms),
            false => self.limits.connect_ms,
        }
    }

    /// The longest pause between two attempts to connect.
    pub(super) fn retry_max_ms(&self) -> u64 {
        match self.has_alternatives() {
            true => self.limits.retry_max_ms.min(FAILOVER_RETRY_MS),
            false => self.limits.retry_max_ms,
        }
    }
}

/// The longest pause between two attempts to connect if another server may take over: a failover
/// takes seconds, and an attempt costs a few small messages.
const FAILOVER_RETRY_MS: u64 = 500;
