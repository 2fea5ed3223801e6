//! The sequence of envelopes of each node: which envelope is next, which are missing, and which
//! this node retransmits. The items of an envelope are handled in `cluster`.

use std::ops::Range;

use super::super::ids::Now;
use super::super::node_set::PLACES;
use super::Bus;
use super::nodes::NODES_MAX;
use crate::proto::envelope::{NodeId, ParseError};

impl Bus {
    /// Whether the clock of another node's event is plausible. If so, it raises this node's clock,
    /// so that later events of this node are newer. An event with a clock far in the future would
    /// stay the newest forever.
    pub(in crate::hub) fn accept_clock(&mut self, clock: u64, from: NodeId, now: Now) -> bool {
        let is_plausible = clock <= now.unix_s.saturating_add(CLOCK_SKEW_MAX_S) << 20;
        if is_plausible {
            self.clock = self.clock.max(clock);
            return true;
        }
        self.counters.foreign += 1;
        let text = format_args!(
            "the clock of node {from} is more than a day ahead of this machine's: its events are \
             cached in the order of arrival; correct the clocks of both machines"
        );
        self.warnings.warn(now.ms, text);
        false
    }

    /// Whether a node is live.
    pub(in crate::hub) fn is_live(&mut self, id: NodeId) -> bool {
        let at = self.nodes.find(id);
        at.and_then(|at| self.nodes.get(at)).is_some_and(|node| node.is_live)
    }

    /// Returns the number of the node that has sent an envelope, and marks it as live. An unknown
    /// node is added.
    pub(in crate::hub) fn identify_node(
        &mut self,
        id: NodeId,
        seq: Option<u64>,
        now_ms: u64,
    ) -> Option<usize> {
        let Some(at) = self.nodes.find(id).or_else(|| self.nodes.add(id, now_ms)) else {
            let text = format_args!(
                "there are more than {NODES_MAX} other nodes: the messages of node {id} are ignored; \
                 run fewer and larger nodes"
            );
            self.warnings.warn(now_ms, text);
            return None;
        };
        let at = self.nodes.promote(at);
        let node = self.nodes.get(at)?;
        // Ignore duplicates from a departed node. A new sequence number means that the goodbye was
        // forged.
        if node.has_left && seq.is_none_or(|seq| node.next.is_some_and(|next| seq < next)) {
            return None;
        }
        node.has_left = false;
        node.last_seen_ms = now_ms;
        if !node.is_live {
            node.is_live = true;
            (self.hello_pending, self.alive_pending) = (true, true);
            log::info!("node {id} connected; other nodes: {}", self.nodes.live_count());
            if at >= PLACES {
                let text = format_args!(
                    "there are more than {PLACES} other nodes: events of node {id} are delivered, \
                     but its connections and users do not count; run fewer and larger nodes"
                );
                self.warnings.warn(now_ms, text);
            }
        }
        Some(at)
    }

    /// Checks where an envelope is in its node's sequence. If earlier envelopes are missing,
    /// requests them.
    pub(in crate::hub) fn check_sequence(
        &mut self,
        at: usize,
        seq: u64,
        now_ms: u64,
    ) -> SequenceCheck {
        let is_first_session = self.sessions == 1;
        let Some(node) = self.nodes.get(at) else { return SequenceCheck::Ignored };
        let next = match node.next {
            Some(next) => next,
            // On its first connection to Redis this node has missed nothing. Later, the other node
            // may have started during an outage, so all of its envelopes are needed: the age in its
            // next `Alive` decides.
            None if is_first_session => seq,
            None => return SequenceCheck::Ignored,
        };
        if seq > next {
            node.request_retransmission(seq, now_ms);
            return SequenceCheck::Early;
        }
        if seq < next {
            self.counters.duplicates += 1;
            return SequenceCheck::Ignored;
        }
        node.next = seq.checked_add(1);
        self.counters.received += 1;
        self.early.advance(node.id);
        SequenceCheck::Next
    }

    /// Takes an early envelope that is now the next of its node.
    pub(in crate::hub) fn take_early(&mut self) -> Option<Vec<u8>> {
        let id = self.early.due()?;
        let next = self.nodes.find(id).and_then(|at| self.nodes.get(at)).and_then(|node| node.next);
        match next {
            Some(next) => self.early.take(id, next),
            None => {
                self.early.drop_node(id);
                None
            }
        }
    }

    /// Another node knows a silent node that is unknown to this one. Adds it, so that envelopes are
    /// kept for it: it may request them when it returns.
    pub(in crate::hub) fn add_silent_node(&mut self, node: NodeId, silent_ms: u64, now_ms: u64) {
        let is_new = node != self.id && self.nodes.find(node).is_none();
        if is_new && silent_ms < self.lease_ms + self.retention_ms {
            self.nodes.add_silent(node, now_ms.saturating_sub(silent_ms));
        }
    }

    /// Handles a heartbeat. The node still has its envelopes from `first` on; `unwritten`
    /// are those that it has queued and not written yet.
    pub(in crate::hub) fn receive_alive(
        &mut self,
        at: usize,
        first: u64,
        unwritten: Range<u64>,
        up_ms: u64,
        now_ms: u64,
    ) {
        let next = unwritten.start;
        let (age_ms, lease_ms) = (now_ms - self.started_ms, self.lease_ms);
        let Some(node) = self.nodes.get(at) else { return };
        let id = node.id;
        let is_younger = up_ms < age_ms && self.sessions > 1;
        let expected = *node.next.get_or_insert(if is_younger { first } else { next });
        let missing = first.saturating_sub(expected);
        if missing > 0 {
            node.next = Some(first);
        }
        // Envelopes beyond the end were not sent by the node itself.
        let was_forged = node.has_regressed(unwritten.end, now_ms, lease_ms);
        if was_forged {
            node.next = Some(next);
        }
        if missing > 0 || was_forged {
            node.forget_sync();
            node.wants_cache = true;
        }
        if expected.max(first) < next {
            node.request_retransmission(next, now_ms);
        }
        self.early.advance(id);
        if missing > 0 {
            self.counters.missing = self.counters.missing.saturating_add(missing);
            let text = format_args!(
                "{missing} envelopes of node {id} are lost: it dropped them before they were \
                 received; raise its limits.bus_queue_bytes or REDIS_TIMEOUT"
            );
            self.warnings.warn(now_ms, text);
        }
    }

    /// Retransmits the envelopes from this number on to all nodes, unless they are being
    /// retransmitted already.
    pub(in crate::hub) fn retransmit(&mut self, from: u64, now_ms: u64) {
        let left = self.queue.retransmissions();
        let (before, at_ms) = &self.last_retransmission;
        // Several nodes may request the same envelopes before the first retransmission arrives.
        let pause_ms = match left.is_empty() && !self.session.is_resending() {
            true => RETRANSMIT_PAUSE_MS,
            false => RETRANSMIT_PAUSE_BUSY_MS,
        };
        let is_in_progress = before.contains(&from) && (*at_ms..at_ms + pause_ms).contains(&now_ms);
        if left.contains(&from) || is_in_progress {
            return;
        }
        self.queue.retransmit(from);
        self.last_retransmission = (from..self.queue.retransmissions().end, now_ms);
        if from < self.queue.range().0 {
            self.alive_pending = true;
        }
    }

    /// Counts and logs a message that is no envelope of this version.
    pub(in crate::hub) fn count_foreign(&mut self, why: ParseError, now_ms: u64) {
        self.counters.foreign += 1;
        self.warnings.warn(
            now_ms,
            match why {
                ParseError::NotAnEnvelope => {
                    "another program publishes on the Redis channel (REVERB_SCALING_CHANNEL); its \
                     messages are ignored"
                }
                ParseError::UnknownVersion => {
                    "a node of an incompatible release publishes on the Redis channel; its messages \
                     are ignored"
                }
            },
        );
    }
}

/// Where an envelope is in its node's sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum SequenceCheck {
    /// It is the next one.
    Next,
    /// An earlier one is missing.
    Early,
    /// It was received before, or its position is not known yet.
    Ignored,
}

/// Milliseconds within which a retransmission reaches the nodes that requested it.
const RETRANSMIT_PAUSE_MS: u64 = 200;
/// The same time while an earlier retransmission is still being written to Redis.
const RETRANSMIT_PAUSE_BUSY_MS: u64 = 2_000;
/// The most seconds by which another node's clock may be ahead: more than a wrong time zone
/// accounts for, and few enough that an event with a wrong clock can be replaced after a day.
const CLOCK_SKEW_MAX_S: u64 = 86_400;
