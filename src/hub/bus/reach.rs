//! Detects that other nodes do not receive this node's messages. There are three signs: the number
//! of subscribers that Redis reports for each message, the role of Redis, and missing
//! acknowledgements. Missing messages in the other direction are detected in `sequence`.

use super::super::random::Random;
use super::Bus;

impl Bus {
    /// The login to Redis is complete: schedules a `Hello` and a heartbeat for the next write.
    pub(in crate::hub) fn begin_session(&mut self, now_ms: u64) {
        self.sessions += 1;
        (self.hello_pending, self.alive_pending) = (true, true);
        // The heartbeat was not due while disconnected, so its deadline may be in the past.
        self.next_alive_ms = now_ms + self.lease_ms / 5;
        self.restart_acknowledgements(now_ms);
        self.restart_transfers();
    }

    /// Checks to how many subscribers Redis delivered a message, this node included. If they are
    /// fewer than the live nodes, Redis may have become a replica, so its role is queried; or a
    /// node has just lost its connection. A higher count proves nothing, as other programs may
    /// subscribe.
    pub(in crate::hub) fn check_receivers(&mut self, count: Option<usize>, now_ms: u64) {
        if count.is_some_and(|count| count <= self.nodes.live_count()) {
            self.session.ask_role(now_ms);
        }
    }

    /// Starts to wait for an acknowledgement: a node that has sent a heartbeat acknowledges this
    /// node's envelopes, if it receives them.
    pub(in crate::hub) fn expect_acknowledgement(&mut self, at: usize, now_ms: u64) {
        if let Some(node) = self.nodes.get(at) {
            node.unacknowledged_ms.get_or_insert(now_ms);
        }
    }

    /// Asks Redis for its role. Aborts the session if a node sends heartbeats but has acknowledged
    /// nothing for the duration of the lease.
    pub(in crate::hub) fn check_reach(&mut self, random: &mut Random, now_ms: u64) {
        self.session.ask_role(now_ms);
        if !self.session.is_up() {
            return;
        }
        let lease_ms = self.lease_ms;
        let (mut all_acknowledge, mut is_cut_off) = (true, false);
        for (_, node) in self.nodes.iter().filter(|(_, node)| node.is_live) {
            let Some(since_ms) = node.unacknowledged_ms else { continue };
            all_acknowledge = false;
            // Compared with the last message and not with the present: a node that sends nothing is
            // disconnected itself, and times out instead.
            is_cut_off |= node.last_seen_ms >= since_ms + lease_ms;
        }
        if is_cut_off {
            let why = format!(
                "another node sends heartbeats but has acknowledged nothing for {lease_ms} ms \
                 (limits.node_lease_ms), so it does not receive this node's messages; set \
                 REDIS_HOST or REDIS_URL to the same Redis master on all nodes"
            );
            self.session.set_cut_off(true);
            self.session.abort(&why, random, now_ms);
            self.restart_acknowledgements(now_ms);
        } else if all_acknowledge && self.session.is_cut_off() {
            self.session.set_cut_off(false);
        }
    }

    /// Gives each outstanding acknowledgement another lease, from now on.
    fn restart_acknowledgements(&mut self, now_ms: u64) {
        for since_ms in self.nodes.iter_mut().filter_map(|node| node.unacknowledged_ms.as_mut()) {
            *since_ms = now_ms;
        }
    }
}
