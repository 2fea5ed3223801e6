//! The sequence of envelopes between this node and the others, and the session with the Redis that
//! relays them. What the items of an envelope mean, and what is sent of the hub's state, is in
//! `cluster`; no channel and no client is known here.
//!
//! Each node numbers its envelopes and keeps them until all other nodes have acknowledged them. A
//! node that misses a number asks for everything from there on again, and drops what it receives
//! twice. A lost connection therefore loses nothing as long as the queue holds, and order is kept.
//!
//! Local subscribers never wait for any of this.

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

use super::ids::Now;
use super::log_throttle::{LogThrottle, Policy};
use super::random::Random;
use crate::config::{Config, RedisTarget};
use crate::proto::envelope::{self, ITEMS_BYTES, Item, NodeId, Version};
use early::Early;
use nodes::Nodes;
use queue::Queue;
use session::RedisSession;

/// This node among the others.
pub(in crate::hub) struct Bus {
    pub(in crate::hub) id: NodeId,
    pub(in crate::hub) started_ms: u64,
    pub(in crate::hub) lease_ms: u64,
    /// Milliseconds for which what was said is kept, and a node that has gone is remembered.
    pub(in crate::hub) retention_ms: u64,
    pub(in crate::hub) facts_max: u32,
    /// Items of the next envelope, with commas between them.
    pub(in crate::hub) pending: String,
    /// Channels whose number of subscribers here has changed, by app.
    pub(in crate::hub) changed: Vec<(u32, Rc<str>)>,
    /// Apps whose number of connections here has changed.
    pub(in crate::hub) changed_apps: Vec<u32>,
    pub(in crate::hub) queue: Queue,
    pub(in crate::hub) nodes: Nodes,
    pub(in crate::hub) session: RedisSession,
    /// Times the link came up.
    pub(in crate::hub) sessions: u32,
    pub(in crate::hub) hello_due: bool,
    pub(in crate::hub) alive_due: bool,
    pub(in crate::hub) alive_ms: u64,
    pub(in crate::hub) full_sync: Option<FullSync>,
    /// Somebody who asked to be told everything while it was being told to another; whether with
    /// what cache channels keep.
    pub(in crate::hub) next_full_sync: Option<bool>,
    /// The range that was last retransmitted, and when that began.
    pub(in crate::hub) last_retransmission: (Range<u64>, u64),
    /// Envelopes that were received before a missing one that precedes them.
    pub(in crate::hub) early: Early,
    pub(in crate::hub) has_left: bool,
    /// The greatest clock of any event.
    pub(in crate::hub) clock: u64,
    /// The envelope whose items are only partly handled.
    pub(in crate::hub) unfinished: Option<Unfinished>,
    /// When it was last looked at.
    pub(in crate::hub) now_ms: u64,
    pub(in crate::hub) counters: BusCounters,
    /// Limits the log lines about dropped envelopes.
    pub(in crate::hub) drops: LogThrottle,
    /// Limits the log lines about what other publishers on the channel do.
    pub(in crate::hub) warnings: LogThrottle,
}

/// A received envelope, and how many of its items were handled.
pub(in crate::hub) struct Unfinished {
    pub text: Vec<u8>,
    pub items: usize,
}

/// What went over the bus since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BusCounters {
    /// Envelopes said.
    pub published: u64,
    /// Envelopes heard, in order and for the first time.
    pub received: u64,
    /// Envelopes heard once more.
    pub duplicates: u64,
    /// Envelopes that were dropped before they were written to Redis, for want of room or time.
    pub dropped: u64,
    /// Envelopes of others that are missing for good.
    pub missing: u64,
    /// Texts on the channel that are no envelopes, and items that make no sense.
    pub foreign: u64,
}

impl BusCounters {
    pub(in crate::hub) fn numbers(&mut self) -> [&mut u64; 6] {
        [
            &mut self.published,
            &mut self.received,
            &mut self.duplicates,
            &mut self.dropped,
            &mut self.missing,
            &mut self.foreign,
        ]
    }
}

impl Bus {
    /// The bus of a configuration that has several nodes.
    pub(in crate::hub) fn new(config: &Config, random: &mut Random, now: Now) -> Option<Box<Self>> {
        let (scaling, limits) = (&config.server.scaling, &config.limits);
        if !scaling.enabled {
            return None;
        }
        // What cannot be meant was refused before there is a hub.
        let target = RedisTarget::of(scaling).ok()?;
        let retention_ms = u64::from(scaling.timeout_s) * 1_000;
        Some(Box::new(Bus {
            id: NodeId(random.number()),
            started_ms: now.ms,
            lease_ms: limits.node_lease_ms.into(),
            retention_ms,
            facts_max: limits.node_facts,
            pending: String::new(),
            changed: Vec::new(),
            changed_apps: Vec::new(),
            queue: Queue::new(limits.bus_queue_bytes as usize, retention_ms),
            nodes: Nodes::default(),
            session: RedisSession::new(&target, &scaling.channel, limits),
            sessions: 0,
            hello_due: false,
            alive_due: false,
            alive_ms: now.ms,
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

    /// Says this to the others, with all else that is said in this turn.
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

    /// The version of an event that comes now: greater than that of any known, and than what a
    /// node says that has just started and knows of none.
    pub(in crate::hub) fn version(&mut self, now: Now) -> Version {
        self.clock = self.clock.saturating_add(1).max(now.unix_s << 20);
        (self.clock, self.id.0)
    }

    /// The number of subscribers here of this channel has changed.
    pub(in crate::hub) fn queue_channel_count(&mut self, app: u32, channel: &Rc<str>) {
        self.changed.push((app, Rc::clone(channel)));
    }

    /// The number of connections here of this app has changed.
    pub(in crate::hub) fn queue_connection_count(&mut self, app: u32) {
        if !self.changed_apps.contains(&app) {
            self.changed_apps.push(app);
        }
    }

    /// Puts what is pending in an envelope of its own.
    pub(in crate::hub) fn seal(&mut self, now_ms: u64) {
        if self.pending.is_empty() {
            return;
        }
        let text = envelope::envelope(self.id, Some(self.queue.next()), &self.pending);
        self.pending.clear();
        // A burst must not leave its capacity behind.
        self.pending.shrink_to(ITEMS_BYTES);
        self.counters.published += 1;
        let command = self.session.command(&text);
        let dropped = self.queue.push(command, now_ms);
        self.count_dropped(dropped, now_ms);
    }

    pub(in crate::hub) fn count_dropped(&mut self, dropped: u64, now_ms: u64) {
        self.counters.dropped += dropped;
        if dropped > 0 && self.drops.admit(now_ms).is_some() {
            log::warn!(
                "what is meant for other nodes is too much or too old and is dropped, the oldest \
                 first; {} envelopes since the start (limits.bus_queue_bytes, REDIS_TIMEOUT)",
                self.counters.dropped
            );
        }
    }

    pub(in crate::hub) fn has_input(&self) -> bool {
        self.unfinished.is_some() || self.early.due().is_some() || self.session.has_held()
    }

    pub(in crate::hub) fn next_ms(&self) -> Option<u64> {
        let alive_ms = self.session.is_up().then_some(self.alive_ms);
        let here = self.nodes.iter().filter(|(_, node)| node.is_live);
        let lease_ms = here.map(|(_, node)| node.last_seen_ms + self.lease_ms).min();
        [self.session.next_ms(), alive_ms, lease_ms].into_iter().flatten().min()
    }
}
