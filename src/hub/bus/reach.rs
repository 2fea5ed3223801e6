//! Whether the other nodes receive this one: how many subscribers Redis counts, what its role is, and
//! whether each node that is received acknowledges what this one publishes.

use super::super::random::Random;
use super::Bus;

impl Bus {
    /// The login to Redis is complete.
    pub(super) fn begin_link(&mut self, now_ms: u64) {
        self.links += 1;
        (self.says_hello, self.says_alive) = (true, true);
        // It was not due without a connection, and may be in the past.
        self.alive_ms = now_ms + self.lease_ms / 5;
        self.restart_acknowledgements(now_ms);
    }

    /// What was published has reached so many subscribers. Fewer than there are nodes are too few
    /// where Redis has become a replica, or when a node was cut off just now; there may be others that
    /// subscribe, so enough of them prove nothing.
    pub(super) fn count_receivers(&mut self, count: Option<usize>, now_ms: u64) {
        if count.is_some_and(|count| count <= self.nodes.here()) {
            self.link.ask_role(now_ms);
        }
    }

    /// A node has shown that it lives; if it has received this one, it acknowledges that after this.
    pub(super) fn expect_acknowledgement(&mut self, at: usize, now_ms: u64) {
        if let Some(node) = self.nodes.get(at) {
            node.unacknowledged_ms.get_or_insert(now_ms);
        }
    }

    /// Asks Redis for its role, and gives the connection up if there is a node that is received and
    /// has not received this one for the lease.
    pub(super) fn check_reach(&mut self, random: &mut Random, now_ms: u64) {
        self.link.ask_role(now_ms);
        if !self.link.is_up() {
            return;
        }
        let lease_ms = self.lease_ms;
        let (mut is_acknowledged, mut is_cut_off) = (true, false);
        for (_, node) in self.nodes.iter().filter(|(_, node)| node.is_here) {
            let Some(since_ms) = node.unacknowledged_ms else { continue };
            is_acknowledged = false;
            is_cut_off |= node.heard_ms >= since_ms + lease_ms;
        }
        if is_cut_off {
            let why = format!(
                "a node that is received here has not received this one for {lease_ms} ms \
                 (limits.node_lease_ms): Redis delivers one way only; make sure that REDIS_HOST or \
                 REDIS_URL names the same Redis at all nodes, and the master"
            );
            self.link.set_cut_off(true);
            self.link.give_up(&why, random, now_ms);
            self.restart_acknowledgements(now_ms);
        } else if is_acknowledged && self.link.is_cut_off() {
            self.link.set_cut_off(false);
        }
    }

    /// Gives each node that has not acknowledged this one a lease to do so.
    fn restart_acknowledgements(&mut self, now_ms: u64) {
        for since_ms in self.nodes.iter_mut().filter_map(|node| node.unacknowledged_ms.as_mut()) {
            *since_ms = now_ms;
        }
    }
}
