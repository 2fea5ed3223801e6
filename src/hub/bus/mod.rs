//! The sequence of envelopes between this node and the other nodes, and the session with the Redis
//! that relays them. The meaning of the items in an envelope, and which state of the hub is sent,
//! is in `cluster`; this module stores names and indexes of channels for it, and does not use them.
//!
//! Each node numbers its envelopes and keeps them until all other nodes have acknowledged them. A
//! node that misses a number requests a retransmission from that number on, and drops duplicates.
//! So a lost connection loses no envelope and changes no order, as long as the queue has room.
//!
//! Events are delivered to local subscribers at once; they never wait for Redis or another node.

mod early;
mod full_sync;
mod nodes;
mod queue;
mod reach;
mod sequence;
mod session;
mod snapshot;
mod write;

use std::ops::Range;
use std::rc::Rc;

pub(in crate::hub) use full_sync::FullSync;
pub(in crate::hub) use nodes::Node;
pub(in crate::hub) use sequence::SequenceCheck;
pub use session::BusWant;
pub(in crate::hub) use session::SessionEvent;

use super::counters::counters;
use super::ids::Now;
use super::log_throttle::{LogThrottle, Policy};
use super::random::Random;
use crate::config::{Config, RedisTarget};
use crate::proto::envelope::{self, ITEMS_BYTES, Item, NodeId, Version};
use early::Early;
use nodes::Nodes;
use queue::Queue;
use session::RedisSession;

/// The state that this node needs to exchange envelopes with the other nodes.
pub(in crate::hub) struct Bus {
    pub(in crate::hub) id: NodeId,
    pub(in crate::hub) started_ms: u64,
    pub(in crate::hub) lease_ms: u64,
    /// How long unacknowledged envelopes are kept, and silent nodes are remembered.
    pub(in crate::hub) retention_ms: u64,
    /// Whether this node sends webhooks.
    pub(in crate::hub) sends_webhooks: bool,
    /// The most channels and users stored per node (`limits.node_facts`).
    pub(in crate::hub) facts_max: u32,
    /// The items of the next envelope, separated by commas.
    pub(in crate::hub) pending: String,
    /// Channels whose subscription count at this node has changed, by app.
    pub(in crate::hub) changed_channels: Vec<(u32, Rc<str>)>,
    /// Apps whose number of connections at this node has changed.
    pub(in crate::hub) changed_apps: Vec<u32>,
    pub(in crate::hub) queue: Queue,
    pub(in crate::hub) nodes: Nodes,
    pub(in crate::hub) session: RedisSession,
    /// The number of sessions with Redis so far, counted when the login is complete.
    pub(in crate::hub) sessions: u32,
    /// Whether the next write sends a `Hello`, which asks all nodes for a heartbeat, and whether it
    /// sends this node's own heartbeat (`Alive`).
    pub(in crate::hub) hello_pending: bool,
    pub(in crate::hub) alive_pending: bool,
    /// When the next heartbeat is due.
    pub(in crate::hub) next_alive_ms: u64,
    /// The full sync that is being sent.
    pub(in crate::hub) full_sync: Option<FullSync>,
    /// Whether another full sync follows the current one, because a node requested it in between;
    /// if so, whether it includes cached events.
    pub(in crate::hub) next_full_sync: Option<bool>,
    /// The range that was last retransmitted, and when that began.
    pub(in crate::hub) last_retransmission: (Range<u64>, u64),
    /// Envelopes that arrived before a missing one that precedes them.
    pub(in crate::hub) early: Early,
    /// Whether this node has sent its goodbye: it publishes nothing more.
    pub(in crate::hub) has_left: bool,
    /// The greatest clock of all events so far; see [`Bus::version`].
    pub(in crate::hub) clock: u64,
    /// A received envelope of which some items are yet to be handled.
    pub(in crate::hub) unfinished: Option<Unfinished>,
    /// The time of the last call.
    pub(in crate::hub) now_ms: u64,
    pub(in crate::hub) counters: BusCounters,
    /// Throttles the log lines about dropped envelopes.
    pub(in crate::hub) drops: LogThrottle,
    /// Throttles the warnings about other publishers on the channel.
    pub(in crate::hub) warnings: LogThrottle,
}

/// Whether a bus can exist: without Redis, [`Bus::new`] never returns one. Other checks change
/// nothing; they let the compiler leave out the largest parts that only a bus needs.
pub(in crate::hub) const HAS_REDIS: bool = cfg!(feature = "redis");

/// A received envelope, and how many of its items were handled.
pub(in crate::hub) struct Unfinished {
    pub text: Vec<u8>,
    pub handled: usize,
}

counters! {
    /// Envelopes since the start. The names are values of the label `result`.
    pub struct BusCounters {
        /// Envelopes published.
        published: "published", "";
        /// Envelopes received in order and for the first time.
        received: "received", "";
        /// Envelopes received again.
        duplicates: "duplicate", "";
        /// Envelopes dropped before they were written to Redis, for lack of room or time.
        dropped: "dropped", "";
        /// Envelopes that another node dropped before this node received them.
        missing: "missing", "";
        /// Messages on the channel that are no envelopes, and items that are invalid.
        foreign: "foreign", "";
    }
}

impl Bus {
    /// The bus, if the configuration enables several nodes.
    pub(in crate::hub) fn new(config: &Config, random: &mut Random, now: Now) -> Option<Box<Self>> {
        let (scaling, limits) = (&config.server.scaling, &config.limits);
        if !scaling.enabled || !HAS_REDIS {
            return None;
        }
        // An invalid target was rejected before the hub is created.
        let target = RedisTarget::of(scaling).ok()?;
        let retention_ms = u64::from(scaling.timeout_s) * 1_000;
        Some(Box::new(Bus {
            id: NodeId(random.number()),
            started_ms: now.ms,
            lease_ms: limits.node_lease_ms.into(),
            retention_ms,
            sends_webhooks: config.apps.iter().any(|app| !app.webhooks.is_empty()),
            facts_max: limits.node_facts,
            pending: String::new(),
            changed_channels: Vec::new(),
            changed_apps: Vec::new(),
            queue: Queue::new(limits.bus_queue_bytes as usize, retention_ms),
            nodes: Nodes::default(),
            session: RedisSession::new(&target, &scaling.channel, limits),
            sessions: 0,
            hello_pending: false,
            alive_pending: false,
            next_alive_ms: now.ms,
            full_sync: None,
            next_full_sync: None,
            last_retransmission: (0..0, 0),
            early: Early::new(limits.bus_queue_bytes as usize),
            has_left: false,
            clock: 0,
            unfinished: None,
            now_ms: now.ms,
            counters: BusCounters::default(),
            drops: LogThrottle::new(Policy::ONE_AN_EPISODE),
            warnings: LogThrottle::new(Policy::ONE_A_MINUTE),
        }))
    }

    /// Publishes an item to the other nodes, in one envelope with the other items of this turn.
    pub(in crate::hub) fn publish(&mut self, item: &Item<'_>) {
        if self.has_left {
            return;
        }
        if !self.pending.is_empty() {
            self.pending.push(',');
        }
        item.write(&mut self.pending);
        if self.pending.len() > ITEMS_BYTES {
            self.seal(self.now_ms);
        }
    }

    /// The version of an event that is published now. It is greater than all versions that this
    /// node knows; its clock is at least the current time, so that it is also greater than older
    /// versions that a node has not received since it started.
    pub(in crate::hub) fn version(&mut self, now: Now) -> Version {
        self.clock = self.clock.saturating_add(1).max(now.unix_s << 20);
        (self.clock, self.id.0)
    }

    /// Publishes the changed subscription count of a channel at the end of the turn.
    pub(in crate::hub) fn queue_channel_count(&mut self, app: u32, channel: &Rc<str>) {
        self.changed_channels.push((app, Rc::clone(channel)));
    }

    /// Publishes the changed number of connections of an app at the end of the turn.
    pub(in crate::hub) fn queue_connection_count(&mut self, app: u32) {
        if !self.changed_apps.contains(&app) {
            self.changed_apps.push(app);
        }
    }

    /// Queues the pending items as one envelope.
    pub(in crate::hub) fn seal(&mut self, now_ms: u64) {
        if self.pending.is_empty() {
            return;
        }
        let text = envelope::envelope(self.id, Some(self.queue.next()), &self.pending);
        self.pending.clear();
        // Free the capacity that a burst has left.
        self.pending.shrink_to(ITEMS_BYTES);
        self.counters.published += 1;
        let command = self.session.command(&text);
        let dropped = self.queue.push(command, now_ms);
        self.count_dropped(dropped, now_ms);
    }

    /// Counts and logs envelopes that were dropped without being written.
    pub(in crate::hub) fn count_dropped(&mut self, dropped: u64, now_ms: u64) {
        self.counters.dropped += dropped;
        if dropped > 0 && self.drops.admit(now_ms).is_some() {
            log::warn!(
                "messages for other nodes exceed the queue or are too old: {} envelopes dropped \
                 since the start, the oldest first; raise limits.bus_queue_bytes or REDIS_TIMEOUT",
                self.counters.dropped
            );
        }
    }

    /// Whether received input is yet to be handled.
    pub(in crate::hub) fn has_input(&self) -> bool {
        self.unfinished.is_some() || self.early.due().is_some() || self.session.has_held()
    }

    /// The next deadline: of the Redis session, of the heartbeat, or of a node's lease.
    pub(in crate::hub) fn next_ms(&self) -> Option<u64> {
        let next_alive_ms = self.session.is_up().then_some(self.next_alive_ms);
        let live = self.nodes.iter().filter(|(_, node)| node.is_live);
        let lease_ms = live.map(|(_, node)| node.last_seen_ms + self.lease_ms).min();
        [self.session.next_ms(), next_alive_ms, lease_ms].into_iter().flatten().min()
    }
}
