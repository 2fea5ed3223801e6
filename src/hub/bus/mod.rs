//! Several nodes: what is said to the others, what of it they have heard, and the connection to
//! the Redis that carries it.
//!
//! Each node numbers what it says and keeps it until the others have heard it; whoever finds a
//! number missing asks for everything from there again, and whoever hears a number twice drops
//! it. So a lost connection loses nothing as long as the queue holds, and order is kept. What is
//! at a node (connections, subscribers, users) is told as facts, each true by itself however
//! often it is told; a node that does not know all of another's asks it to tell them all.
//!
//! Local subscribers never wait for any of this.

mod early;
mod full_sync;
mod link;
mod nodes;
mod queue;
mod reach;
mod receive;
mod remote_state;
mod snapshot;
#[cfg(test)]
mod tests;
mod too_long;
mod write;

use std::ops::Range;
use std::rc::Rc;

pub use link::BusWant;

use super::Hub;
use super::log_throttle::{LogThrottle, Policy};
use super::outbox::Outbox;
use super::peer::Now;
use super::random::Random;
use crate::config::{Config, RedisTarget};
use crate::proto::envelope::{self, ITEMS_BYTES, Item, NodeId, Version};
use early::Early;
use full_sync::FullSync;
use link::{RedisSession, SessionEvent};
use nodes::Nodes;
use queue::Queue;

/// This node among the others.
pub(super) struct Bus {
    id: NodeId,
    started_ms: u64,
    lease_ms: u64,
    /// Milliseconds for which what was said is kept, and a node that has gone is remembered.
    memory_ms: u64,
    facts_max: u32,
    /// Items of the next envelope, with commas between them.
    pending: String,
    /// Channels whose number of subscribers here has changed, by app.
    changed: Vec<(u32, Rc<str>)>,
    /// Apps whose number of connections here has changed.
    changed_apps: Vec<u32>,
    queue: Queue,
    nodes: Nodes,
    link: RedisSession,
    /// Times the link came up.
    links: u32,
    hello_due: bool,
    alive_due: bool,
    alive_ms: u64,
    full_sync: Option<FullSync>,
    /// Somebody who asked to be told everything while it was being told to another; whether with
    /// what cache channels keep.
    next_full_sync: Option<bool>,
    /// The range that was last retransmitted, and when that began.
    last_retransmission: (Range<u64>, u64),
    /// Envelopes that were received before a missing one that precedes them.
    early: Early,
    has_left: bool,
    /// The greatest clock of any event.
    clock: u64,
    /// The envelope whose items are only partly handled.
    unfinished: Option<Unfinished>,
    /// When it was last looked at.
    now_ms: u64,
    counters: BusCounters,
    /// Limits the log lines about dropped envelopes.
    drops: LogThrottle,
    /// Limits the log lines about what other publishers on the channel do.
    warnings: LogThrottle,
}

/// A received envelope, and how many of its items were handled.
struct Unfinished {
    text: Vec<u8>,
    items: usize,
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
    fn numbers(&mut self) -> [&mut u64; 6] {
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
    pub(super) fn new(config: &Config, random: &mut Random, now: Now) -> Option<Box<Self>> {
        let (scaling, limits) = (&config.server.scaling, &config.limits);
        if !scaling.enabled {
            return None;
        }
        // What cannot be meant was refused before there is a hub.
        let target = RedisTarget::of(scaling).ok()?;
        let memory_ms = u64::from(scaling.timeout_s) * 1_000;
        Some(Box::new(Bus {
            id: NodeId(random.number()),
            started_ms: now.ms,
            lease_ms: limits.node_lease_ms.into(),
            memory_ms,
            facts_max: limits.node_facts,
            pending: String::new(),
            changed: Vec::new(),
            changed_apps: Vec::new(),
            queue: Queue::new(limits.bus_queue_bytes as usize, memory_ms),
            nodes: Nodes::default(),
            link: RedisSession::new(&target, &scaling.channel, limits),
            links: 0,
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
    pub(super) fn publish(&mut self, item: &Item<'_>) {
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
    pub(super) fn version(&mut self, now: Now) -> Version {
        self.clock = self.clock.saturating_add(1).max(now.unix_s << 20);
        (self.clock, self.id.0)
    }

    /// The number of subscribers here of this channel has changed.
    pub(super) fn note_channel(&mut self, app: u32, channel: &Rc<str>) {
        self.changed.push((app, Rc::clone(channel)));
    }

    /// The number of connections here of this app has changed.
    pub(super) fn note_connections(&mut self, app: u32) {
        if !self.changed_apps.contains(&app) {
            self.changed_apps.push(app);
        }
    }

    /// Puts what is pending in an envelope of its own.
    fn seal(&mut self, now_ms: u64) {
        if self.pending.is_empty() {
            return;
        }
        let text = envelope::envelope(self.id, Some(self.queue.next()), &self.pending);
        self.pending.clear();
        // A burst must not leave its capacity behind.
        self.pending.shrink_to(ITEMS_BYTES);
        self.counters.published += 1;
        let command = self.link.command(&text);
        let dropped = self.queue.push(command, now_ms);
        self.note_dropped(dropped, now_ms);
    }

    fn note_dropped(&mut self, dropped: u64, now_ms: u64) {
        self.counters.dropped += dropped;
        if dropped > 0 && self.drops.note(now_ms).is_some() {
            log::warn!(
                "what is meant for other nodes is too much or too old and is dropped, the oldest \
                 first; {} envelopes since the start (limits.bus_queue_bytes, REDIS_TIMEOUT)",
                self.counters.dropped
            );
        }
    }

    fn has_input(&self) -> bool {
        self.unfinished.is_some() || self.early.due().is_some() || self.link.has_held()
    }

    fn next_ms(&self) -> Option<u64> {
        let alive_ms = self.link.is_up().then_some(self.alive_ms);
        let here = self.nodes.iter().filter(|(_, node)| node.is_here);
        let lease_ms = here.map(|(_, node)| node.last_seen_ms + self.lease_ms).min();
        [self.link.next_ms(), alive_ms, lease_ms].into_iter().flatten().min()
    }
}

impl<T> Hub<T> {
    /// What to do about the socket to Redis, if there are to be several nodes. To be asked at the
    /// end of every turn; what is to be written then is in [`Hub::bus_outbox`].
    pub fn bus_wants(&mut self, now: Now) -> BusWant {
        self.publish_changes();
        self.continue_full_sync(now);
        let Some(bus) = &mut self.bus else { return BusWant::Nothing };
        bus.now_ms = now.ms;
        bus.seal(now.ms);
        bus.write(now.ms);
        bus.link.wants(&mut self.random, now.ms)
    }

    /// The socket to Redis is connected.
    pub fn bus_connected(&mut self, now: Now) {
        if let Some(bus) = &mut self.bus {
            bus.link.connected(now.ms);
        }
    }

    /// The socket to Redis could not be connected, or has ended; why, as a sentence for the log.
    pub fn bus_lost(&mut self, why: &str, now: Now) {
        if let Some(bus) = &mut self.bus {
            bus.link.lose(why, &mut self.random, now.ms);
        }
    }

    /// Handles bytes from Redis. Input that exceeds this turn's budget is held: the caller must not
    /// read more from Redis while [`Hub::bus_has_input`] is true.
    pub fn bus_receive(&mut self, mut bytes: &[u8], now: Now) {
        let work_max = self.peers.work.side_work_end();
        let mut is_first = true;
        loop {
            let must_stop = !std::mem::take(&mut is_first) && self.is_bus_share_over(work_max);
            let Some(bus) = &mut self.bus else { return };
            bus.now_ms = now.ms;
            if must_stop {
                bus.link.hold(bytes);
                break;
            }
            if let Some(Unfinished { text, items }) = bus.unfinished.take() {
                self.receive_envelope(text, items, work_max, now);
                continue;
            }
            if let Some(text) = bus.take_early() {
                self.receive_envelope(text, 0, work_max, now);
                continue;
            }
            match bus.link.next_event(&mut bytes, now.ms) {
                Ok(None) => break,
                Ok(Some(SessionEvent::Message(text))) => {
                    self.receive_envelope(text, 0, work_max, now)
                }
                Ok(Some(SessionEvent::TooLong(bytes, head))) => self.pass_over(bytes, &head, now),
                Ok(Some(SessionEvent::Up)) => bus.begin_link(now.ms),
                Ok(Some(SessionEvent::Published(count))) => bus.count_receivers(count, now.ms),
                Ok(Some(SessionEvent::Nothing)) => {}
                Err(why) => {
                    bus.link.give_up(&why, &mut self.random, now.ms);
                    break;
                }
            }
        }
        self.drop_slow(now);
    }

    /// Whether this turn handles no more input from other nodes: its share of the work is used up,
    /// or too much output waits to be written.
    fn is_bus_share_over(&self, work_max: u64) -> bool {
        self.peers.work.done() >= work_max
            || (self.peers.work.has_turns() && self.peers.is_behind())
    }

    /// Handles the input from Redis that was held.
    pub fn bus_resume(&mut self, now: Now) {
        let held = self.bus.as_mut().filter(|bus| bus.has_input()).map(|bus| bus.link.take_held());
        if let Some(held) = held {
            self.bus_receive(&held, now);
        }
    }

    /// Whether input from Redis is held.
    pub fn bus_has_input(&self) -> bool {
        self.bus.as_ref().is_some_and(|bus| bus.has_input())
    }

    /// What is to be written to Redis.
    pub fn bus_outbox(&mut self) -> Option<&mut Outbox> {
        Some(self.bus.as_mut()?.link.outbox())
    }

    /// Tells the other nodes that this one goes, as the last it says.
    pub fn bus_leave(&mut self, now: Now) {
        if let Some(bus) = &mut self.bus {
            bus.publish(&Item::Goodbye);
            bus.seal(now.ms);
            bus.has_left = true;
            bus.write(now.ms);
        }
    }

    /// How many other nodes are here, and what went between them; `None` where there is one node.
    pub fn bus_counters(&self) -> Option<(usize, BusCounters)> {
        self.bus.as_ref().map(|bus| (bus.nodes.here(), bus.counters))
    }

    /// Whether Redis is connected and delivers what this node publishes.
    pub fn is_bus_up(&self) -> bool {
        self.bus.as_ref().is_some_and(|bus| bus.link.delivers())
    }

    /// Does what is due: forgets nodes that are silent, and shows that this one is not.
    pub(super) fn tick_bus(&mut self, now: Now) {
        let Some(bus) = &mut self.bus else { return };
        bus.now_ms = now.ms;
        if now.ms >= bus.alive_ms {
            bus.alive_ms = now.ms + bus.lease_ms / 5;
            bus.alive_due = true;
            let dropped = bus.queue.expire(now.ms);
            bus.note_dropped(dropped, now.ms);
            bus.check_reach(&mut self.random, now.ms);
        }
        self.expire_nodes(now);
    }

    pub(super) fn bus_has_shrunk(&mut self) -> bool {
        self.bus.as_mut().is_some_and(|bus| bus.queue.take_gave_back())
    }

    pub(super) fn next_bus_ms(&self) -> Option<u64> {
        self.bus.as_ref().and_then(|bus| bus.next_ms())
    }

    /// Says how many subscribers and connections there are where that has changed.
    fn publish_changes(&mut self) {
        let Some(bus) = &mut self.bus else { return };
        for index in std::mem::take(&mut bus.changed_apps) {
            let app = &self.apps[index as usize];
            let (id, count) = (app.settings.id.as_str(), app.connections);
            bus.publish(&Item::Connections { app: id.into(), count });
        }
        for (index, name) in std::mem::take(&mut bus.changed) {
            let app = &mut self.apps[index as usize];
            let channel = app.channel_mut(&name);
            let count = channel.map_or(0, |channel| {
                channel.is_changed = false;
                channel.members.len() as u32
            });
            let app = app.settings.id.as_str();
            bus.publish(&Item::Channel { app: app.into(), channel: (&*name).into(), count });
        }
    }
}
