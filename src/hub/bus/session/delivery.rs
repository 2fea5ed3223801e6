//! Detects that Redis does not deliver the messages of this node: the node does not receive its own
//! messages, or Redis is a replica. Missing acknowledgements are found in `bus/reach`, which reports
//! them here. The state is in `reach`.

use super::{Purpose, RedisSession};
use crate::proto::resp::{self, Greeting};

impl RedisSession {
    /// Whether Redis delivers the messages of this node: the node receives them itself, and no
    /// other node is known to miss them.
    pub(in crate::hub) fn delivers(&self) -> bool {
        self.is_up() && self.reach.is_echoed && !self.reach.is_cut_off
    }

    /// Starts to wait for a message of this node that Redis must return.
    pub(in crate::hub) fn expect_echo(&mut self, now_ms: u64) {
        self.reach.unechoed_ms.get_or_insert(now_ms);
    }

    /// Redis has returned a message of this node.
    pub(in crate::hub) fn echoed(&mut self) {
        // A plain copy does not prove that sharded messages are delivered.
        if self.reach.is_plain_copy {
            return;
        }
        (self.reach.unechoed_ms, self.reach.is_echoed) = (None, true);
        self.log_if_delivering();
    }

    /// Whether this node has published on this connection and received nothing back yet.
    pub(in crate::hub) fn awaits_first_echo(&self) -> bool {
        self.reach.unechoed_ms.is_some() && !self.reach.is_echoed
    }

    pub(in crate::hub) fn echo_due_ms(&self) -> Option<u64> {
        Some(self.reach.unechoed_ms? + self.limits.echo_ms)
    }

    pub(in crate::hub) fn is_echo_late(&self, now_ms: u64) -> bool {
        self.echo_due_ms().is_some_and(|due_ms| now_ms >= due_ms)
    }

    /// Whether other nodes are known not to receive this one.
    pub(in crate::hub) fn is_cut_off(&self) -> bool {
        self.reach.is_cut_off
    }

    pub(in crate::hub) fn set_cut_off(&mut self, is_cut_off: bool) {
        self.reach.is_cut_off = is_cut_off;
        self.log_if_delivering();
    }

    /// Logs once per connection that messages are delivered.
    fn log_if_delivering(&mut self) {
        if self.reach.is_confirmed || !self.delivers() {
            return;
        }
        self.reach.is_confirmed = true;
        match self.logged.take() {
            Some(_) => log::info!("Redis is back: exchanging messages with other nodes again"),
            None => log::info!("connected to Redis, channel {:?}", self.channel),
        }
    }

    /// Asks Redis for its role, which may have changed since the login, at most once a second. The
    /// command names protocol 3, as Redis 6.0 does not answer without it.
    pub(in crate::hub) fn ask_role(&mut self, now_ms: u64) {
        let is_recent = self.reach.asked_ms.is_some_and(|at_ms| now_ms < at_ms + ROLE_PAUSE_MS);
        if self.is_up() && (!self.reach.is_cluster || self.is_sharded()) && !is_recent {
            self.reach.asked_ms = Some(now_ms);
            let hello = resp::command(&[b"HELLO", b"3"]);
            self.publisher.send([hello.into()], Purpose::Role, now_ms);
        }
    }

    /// Handles the reply that contains the role of Redis.
    ///
    /// # Errors
    ///
    /// The server is a sentinel, or a replica: messages published there do not reach all nodes.
    pub(in crate::hub) fn check_role(&mut self, greeting: Greeting) -> Result<(), String> {
        self.reach.is_cluster = greeting.is_cluster;
        if greeting.is_sentinel {
            return Err(SENTINEL.to_owned());
        }
        match greeting.is_replica && !greeting.is_cluster {
            true if self.is_by_sentinel => Err(DEMOTED.to_owned()),
            true => Err(REPLICA.to_owned()),
            false => Ok(()),
        }
    }
}

/// One text for the login and for later checks, so that it is logged once.
const REPLICA: &str = "the server is a replica, so messages do not reach nodes that are connected \
    to its master; set REDIS_HOST or REDIS_URL to the master, or to a name that follows it";

/// The same if a sentinel has named the server.
const DEMOTED: &str = "the server that a sentinel named as the master is a replica, so messages do \
    not reach nodes that are connected to the master; waiting for the sentinels to name it";

const SENTINEL: &str = "the server is a sentinel, which relays no messages; set \
    REVERB_SCALING_SENTINELS to its address, in place of REDIS_HOST or REDIS_URL";

/// Minimum interval between queries of the role.
const ROLE_PAUSE_MS: u64 = 1_000;
