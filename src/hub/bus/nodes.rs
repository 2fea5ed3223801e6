//! The table of other nodes: which are live, and the progress of their and our sequences. Their
//! channels and users are stored in `pubsub`, by place.

use super::super::node_set::PLACES;
use super::outgoing::{OutgoingSync, Resend};
use crate::proto::envelope::{NodeId, Transfer};
use crate::proto::snapshot::{Codec, DecodeResult};

/// The known nodes, each with a number below [`NODES_MAX`]. Only nodes with a number below
/// [`PLACES`] have a place: channels and users of the other nodes are not stored, while events of
/// all nodes are delivered. A node gets another number when it gets or loses a place.
#[derive(Default)]
pub(in crate::hub) struct Nodes {
    places: Vec<Option<Node>>,
}

/// Another node.
pub(in crate::hub) struct Node {
    pub id: NodeId,
    /// The sequence number that its next envelope must have; `None` until it is known.
    pub next: Option<u64>,
    /// Whether a message of it was received within the lease.
    pub is_live: bool,
    /// Whether it has sent its goodbye. It stays known so that duplicates of its envelopes are
    /// recognised.
    pub has_left: bool,
    /// Whether its last heartbeat says that it sends webhooks.
    pub sends_webhooks: bool,
    /// When it has started, by its last heartbeat and the clock of this node.
    pub started_ms: Option<u64>,
    /// Whether this node has its complete state.
    pub is_synced: bool,
    /// Whether a full sync of this node is being received.
    pub is_syncing: bool,
    pub last_seen_ms: u64,
    /// Since when it has advertised fewer envelopes than were received from it.
    pub regressed_ms: Option<u64>,
    /// It has received all envelopes of this node before this number.
    pub acknowledged: u64,
    /// Since when it has sent heartbeats without acknowledging this node's envelopes.
    pub unacknowledged_ms: Option<u64>,
    /// The last range of missing envelopes that was requested from it.
    pub missing_range: Option<MissingRange>,
    /// When a full sync was last requested from it.
    pub sync_request_ms: Option<u64>,
    /// The requests to send to it at the next write.
    pub requests: Requests,
    /// Whether the full sync must include cached events.
    pub wants_cache: bool,
    /// Whether it has an inbox, by its last heartbeat.
    pub has_inbox: bool,
    /// Whether it receives sharded messages of a Redis Cluster, by its last heartbeat. Not saved:
    /// after a reload everything is published in both kinds until the next heartbeat.
    pub is_sharded: bool,
    /// The next part of the full sync that it sends to this node's inbox.
    pub incoming: Option<Transfer>,
    /// The full sync that this node sends to its inbox.
    pub outgoing: Option<Box<OutgoingSync>>,
    /// The envelopes that this node is retransmitting to its inbox.
    pub resend: Resend,
    /// Number of its channels and users that are stored at this node.
    pub facts: u32,
    /// Whether some of its channels and users were rejected because there were too many; logged
    /// once.
    pub has_rejected_facts: bool,
}

/// A range of missing envelopes, and when to request it again.
#[derive(Debug, Clone, Copy)]
pub(in crate::hub) struct MissingRange {
    /// The first number after the missing ones.
    end: u64,
    /// The first missing number at the last check.
    from: u64,
    /// When the range last shrank or was last requested.
    since_ms: u64,
    /// Milliseconds from then until the next request.
    wait_ms: u64,
}

/// The requests to send to a node.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) struct Requests {
    /// Retransmit from the next expected envelope on.
    pub retransmission: bool,
    pub full_sync: bool,
    /// The next part of the full sync in progress.
    pub next_part: bool,
}

/// The most known nodes, live and silent: limits the memory that forged ids take. With more than a
/// hundred live nodes the heartbeats alone overload Redis.
pub(in crate::hub) const NODES_MAX: usize = 1_024;

impl Node {
    pub(in crate::hub) fn new(id: NodeId, now_ms: u64) -> Self {
        Node {
            id,
            next: None,
            is_live: false,
            has_left: false,
            sends_webhooks: false,
            started_ms: None,
            is_synced: false,
            is_syncing: false,
            last_seen_ms: now_ms,
            regressed_ms: None,
            acknowledged: 0,
            unacknowledged_ms: None,
            missing_range: None,
            sync_request_ms: None,
            requests: Requests::default(),
            wants_cache: true,
            has_inbox: false,
            is_sharded: false,
            incoming: None,
            outgoing: None,
            resend: Resend::default(),
            facts: 0,
            has_rejected_facts: false,
        }
    }

    /// Handles its goodbye: it needs no further envelope of this node.
    pub(in crate::hub) fn leave(&mut self) {
        self.forget_sync();
        (self.is_live, self.has_left, self.acknowledged) = (false, true, u64::MAX);
        (self.requests, self.unacknowledged_ms) = (Requests::default(), None);
        (self.outgoing, self.resend) = (None, Resend::default());
    }

    /// Its state at this node is incomplete: a full sync in progress counts no longer, because its
    /// earlier parts may be missing.
    pub(in crate::hub) fn forget_sync(&mut self) {
        (self.is_synced, self.is_syncing, self.incoming) = (false, false, None);
    }

    /// Whether, for the duration of a lease, more envelopes of it were received than it claims to
    /// have published (`end`). For a short time this is normal, as its heartbeats may overtake its
    /// envelopes or be overtaken.
    pub(in crate::hub) fn has_regressed(&mut self, end: u64, now_ms: u64, lease_ms: u64) -> bool {
        let has_regressed = self.next.is_some_and(|next| next > end);
        let since_ms = self.regressed_ms.filter(|_| has_regressed).unwrap_or(now_ms);
        self.regressed_ms = has_regressed.then_some(since_ms);
        now_ms >= since_ms + lease_ms
    }

    /// Requests the envelopes that are missing before this number: at once, and again after each
    /// pause without progress. The pause doubles up to a limit, as Redis may have to send much
    /// other data before the retransmission.
    pub(in crate::hub) fn request_retransmission(&mut self, end: u64, now_ms: u64) {
        let Some(from) = self.next else { return };
        match &mut self.missing_range {
            Some(range) if from < range.end && range.from == from => {
                if now_ms < range.since_ms + range.wait_ms {
                    return;
                }
                (range.since_ms, range.wait_ms) =
                    (now_ms, RETRANSMIT_PAUSE_MAX_MS.min(2 * range.wait_ms));
                self.requests.retransmission = true;
            }
            // The retransmission makes progress.
            Some(range) if from < range.end => {
                (range.from, range.since_ms, range.wait_ms) = (from, now_ms, RETRANSMIT_PAUSE_MS);
            }
            _ => {
                let (since_ms, wait_ms) = (now_ms, RETRANSMIT_PAUSE_MS);
                self.missing_range = Some(MissingRange { end, from, since_ms, wait_ms });
                self.requests.retransmission = true;
            }
        }
    }

    /// Requests a full sync, unless one is in progress.
    pub(in crate::hub) fn request_full_sync(&mut self, now_ms: u64) {
        let pause_ms = if self.is_syncing { SYNC_TIMEOUT_MS } else { SYNC_REQUEST_PAUSE_MS };
        if self.sync_request_ms.is_none_or(|at_ms| now_ms >= at_ms + pause_ms) {
            (self.sync_request_ms, self.requests.full_sync) = (Some(now_ms), true);
        }
    }
}

impl MissingRange {
    /// The first number after the missing ones.
    pub(in crate::hub) fn end(&self) -> u64 {
        self.end
    }

    /// Records that a chunk has arrived and that `next` is the first missing number now. Returns
    /// whether any is missing.
    pub(in crate::hub) fn advance(&mut self, next: u64, now_ms: u64) -> bool {
        (self.from, self.since_ms, self.wait_ms) = (next, now_ms, RETRANSMIT_PAUSE_MS);
        next < self.end
    }
}

/// The pause before a retransmission is requested again: at first, and at most.
const RETRANSMIT_PAUSE_MS: u64 = 300;
const RETRANSMIT_PAUSE_MAX_MS: u64 = 4_800;
/// The pause before a full sync that has not begun is requested again.
const SYNC_REQUEST_PAUSE_MS: u64 = 1_000;
/// The pause before a full sync that has begun and not ended is requested again.
const SYNC_TIMEOUT_MS: u64 = 10_000;

impl Nodes {
    /// Encodes or decodes the nodes, with their numbers.
    pub(in crate::hub) fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        c.list(&mut self.places, |c, place| c.option(place, |c, node| node.snapshot(c)))
    }

    /// The number of a node.
    pub(in crate::hub) fn find(&self, id: NodeId) -> Option<usize> {
        self.places.iter().position(|node| node.as_ref().is_some_and(|node| node.id == id))
    }

    /// Adds a live node, at a free number or in place of a silent node. Returns its number; `None`
    /// if [`NODES_MAX`] nodes are live.
    pub(in crate::hub) fn add(&mut self, id: NodeId, now_ms: u64) -> Option<usize> {
        let at = match self.free_place() {
            Some(at) => at,
            None => self.free_number().or_else(|| self.most_silent(PLACES, NODES_MAX))?,
        };
        self.put(at, Node::new(id, now_ms));
        Some(at)
    }

    /// Adds a node that other nodes report as silent, if a number is free.
    pub(in crate::hub) fn add_silent(&mut self, id: NodeId, last_seen_ms: u64) {
        if let Some(at) = self.free_number() {
            self.put(at, Node::new(id, last_seen_ms));
        }
    }

    /// Gives the node with this number a place, if it has none and one is free or belongs to a
    /// silent node. Returns its new number.
    pub(in crate::hub) fn promote(&mut self, at: usize) -> usize {
        if at >= PLACES
            && let Some(place) = self.free_place()
            && let Some(node) = self.places.get_mut(at).and_then(Option::take)
        {
            self.put(place, node);
            return place;
        }
        at
    }

    /// A free place. If there is none, a silent node loses its place: its channels and users are
    /// removed already. It stays known if a number is free.
    fn free_place(&mut self) -> Option<usize> {
        if let Some(at) = self.free_number().filter(|at| *at < PLACES) {
            return Some(at);
        }
        let place = self.most_silent(0, PLACES)?;
        let number = self.free_number();
        let node = self.places.get_mut(place).and_then(Option::take);
        if let (Some(node), Some(at)) = (node, number) {
            self.put(at, node);
        }
        Some(place)
    }

    fn free_number(&self) -> Option<usize> {
        let free = self.places.iter().position(Option::is_none);
        free.or((self.places.len() < NODES_MAX).then_some(self.places.len()))
    }

    fn most_silent(&self, from: usize, end: usize) -> Option<usize> {
        let silent = self.iter().filter(|(at, node)| (from..end).contains(at) && !node.is_live);
        silent.min_by_key(|(_, node)| (!node.has_left, node.last_seen_ms)).map(|(at, _)| at)
    }

    fn put(&mut self, at: usize, node: Node) {
        if at == self.places.len() {
            self.places.push(None);
        }
        self.places[at] = Some(node);
    }

    pub(in crate::hub) fn get(&mut self, at: usize) -> Option<&mut Node> {
        self.places.get_mut(at)?.as_mut()
    }

    pub(in crate::hub) fn remove(&mut self, at: usize) {
        if let Some(node) = self.places.get_mut(at) {
            *node = None;
        }
    }

    /// All numbers, in use or not.
    pub(in crate::hub) fn indexes(&self) -> std::ops::Range<usize> {
        0..self.places.len()
    }

    /// All nodes with their numbers.
    pub(in crate::hub) fn iter(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.places.iter().enumerate().filter_map(|(at, node)| Some((at, node.as_ref()?)))
    }

    pub(in crate::hub) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.places.iter_mut().flatten()
    }

    /// The number of live nodes.
    pub(in crate::hub) fn live_count(&self) -> usize {
        self.iter().filter(|(_, node)| node.is_live).count()
    }

    /// All known nodes have received the envelopes before this number; `None` if no node is known.
    pub(in crate::hub) fn acknowledged_by_all(&self) -> Option<u64> {
        self.iter().map(|(_, node)| node.acknowledged).min()
    }
}
