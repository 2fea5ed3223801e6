//! Whether other nodes receive this one: by the number of subscribers that Redis reports, by the
//! role of Redis, and by the acknowledgements of each node. What this node receives is checked in
//! `sequence`.

use super::super::random::Random;
use super::Bus;

impl Bus {
    /// The login to Redis is complete: sends a heartbeat at once.
    pub(in crate::hub) fn begin_session(&mut self, now_ms: u64) {
        self.sessions += 1;
        (self.hello_due, self.alive_due) = (true, true);
        // The heartbeat was not due while disconnected, so its deadline may be in the past.
        self.alive_ms = now_ms + self.lease_ms / 5;
        self.restart_acknowledgements(now_ms);
    }

    /// Redis delivered a message to this many subscribers. A count below the number of nodes may
    /// mean that Redis has become a replica, or that a node has just lost its connection. A higher
    /// count proves nothing, as other programs may subscribe.
    pub(in crate::hub) fn count_receivers(&mut self, count: Option<usize>, now_ms: u64) {
        if count.is_some_and(|count| count <= self.nodes.live_count()) {
            self.session.ask_role(now_ms);
        }
    }

    /// A node has sent a heartbeat: if it receives this node, its acknowledgement follows.
    pub(in crate::hub) fn expect_acknowledgement(&mut self, at: usize, now_ms: u64) {
        if let Some(node) = self.nodes.get(at) {
            node.unacknowledged_ms.get_or_insert(now_ms);
        }
    }

    /// Asks Redis for its role. Closes the connection if a node whose messages arrive has sent no
    /// acknowledgement for the lease.
    pub(in crate::hub) fn check_reach(&mut self, random: &mut Random, now_ms: u64) {
        self.session.ask_role(now_ms);
        if !self.session.is_up() {
            return;
        }
        let lease_ms = self.lease_ms;
        let (mut is_acknowledged, mut is_cut_off) = (true, false);
        for (_, node) in self.nodes.iter().filter(|(_, node)| node.is_live) {
            let Some(since_ms) = node.unacknowledged_ms else { continue };
            is_acknowledged = false;
            is_cut_off |= node.last_seen_ms >= since_ms + lease_ms;
        }
        if is_cut_off {
            let why = format!(
                "another node has acknowledged nothing for {lease_ms} ms (limits.node_lease_ms) \
                 although its messages arrive: Redis delivers one way only; make sure that \
                 REDIS_HOST or REDIS_URL names the same Redis at all nodes, and the master"
            );
            self.session.set_cut_off(true);
            self.session.abort(&why, random, now_ms);
            self.restart_acknowledgements(now_ms);
        } else if is_acknowledged && self.session.is_cut_off() {
            self.session.set_cut_off(false);
        }
    }

    /// Restarts the lease for each outstanding acknowledgement.
    fn restart_acknowledgements(&mut self, now_ms: u64) {
        for since_ms in self.nodes.iter_mut().filter_map(|node| node.unacknowledged_ms.as_mut()) {
            *since_ms = now_ms;
        }
    }
}
