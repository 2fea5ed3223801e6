//! What comes from other nodes: who speaks, whether it is their turn, and what follows from it.
//! What is said of channels and users is in `facts`.

use std::ops::Range;

use super::super::Hub;
use super::super::api::Sent;
use super::super::channel::{Access, Kind};
use super::super::node_set::PLACES;
use super::super::peer::{Now, SocketId};
use super::nodes::{NODES_MAX, Node};
use super::{Bus, FullSync, Unfinished};
use crate::proto::envelope::{self, Event, Item, NodeId, ParseError};

impl<T> Hub<T> {
    /// Handles a message from the Redis channel, except its first `done` items, which were handled
    /// before. Items that exceed this turn's share of work (`work_max`) are held.
    pub(super) fn receive_envelope(&mut self, text: Vec<u8>, done: usize, work_max: u64, now: Now) {
        let Some(bus) = &mut self.bus else { return };
        let envelope = match envelope::parse(&text) {
            Ok(envelope) if envelope.node == bus.id => return bus.link.echoed(),
            Ok(envelope) => envelope,
            Err(why) => return bus.note_foreign(why, now.ms),
        };
        let at = match done {
            0 => bus.meet(envelope.node, envelope.seq, now.ms),
            // The node was known when the envelope was received; it may have expired since.
            _ => bus
                .nodes
                .find(envelope.node)
                .filter(|at| bus.nodes.get(*at).is_some_and(|n| n.is_here)),
        };
        let Some(at) = at else { return };
        self.peers.work.add_bytes(text.len());
        if let Some(seq) = envelope.seq.filter(|_| done == 0) {
            match bus.turn(at, seq, now.ms) {
                Turn::Next => {}
                Turn::Early => {
                    let node = envelope.node;
                    drop(envelope);
                    return bus.early.keep(node, seq, text);
                }
                Turn::Past => return,
            }
        }
        for (handled, raw) in envelope.items.iter().enumerate().skip(done) {
            if handled > done && self.is_bus_share_over(work_max) {
                drop(envelope);
                return self.hold_envelope(text, handled);
            }
            match (Item::read(raw.get()), envelope.seq) {
                // What stood behind it, of a node that is not here any more, would stay for good.
                (Some(Item::Goodbye), Some(_)) => return self.receive_goodbye(at, now),
                (Some(item), Some(_)) => self.act_on(at, item, now),
                (Some(item), None) => self.receive_unsequenced(at, &item, now),
                // A later release may have said it.
                (None, _) => self.bus.iter_mut().for_each(|bus| bus.counters.foreign += 1),
            }
        }
        if let Some(bus) = &mut self.bus
            && let Some(node) = bus.nodes.get(at)
            && node.next.is_some()
            && !node.is_synced
            && !node.has_left
            && at < PLACES
        {
            node.request_full_sync(now.ms);
        }
    }

    fn hold_envelope(&mut self, text: Vec<u8>, items: usize) {
        if let Some(bus) = &mut self.bus {
            bus.unfinished = Some(Unfinished { text, items });
        }
    }

    /// Forgets what was at nodes that have been silent for too long, and in time the nodes.
    pub(super) fn expire_nodes(&mut self, now: Now) {
        let Some(bus) = &mut self.bus else { return };
        let (lease_ms, memory_ms) = (bus.lease_ms, bus.memory_ms);
        let silent = bus.nodes.iter().filter(|(_, node)| now.ms >= node.last_seen_ms + lease_ms);
        let silent: Vec<usize> = silent.map(|(at, _)| at).collect();
        for at in silent {
            let Some(bus) = &mut self.bus else { return };
            let Some(node) = bus.nodes.get(at) else { continue };
            if node.is_here {
                (node.is_here, node.is_synced, node.is_syncing) = (false, false, false);
                node.unacknowledged_ms = None;
                let id = node.id;
                bus.early.forget(id);
                let others = bus.nodes.here();
                log::warn!(
                    "node {id} was not heard of for {lease_ms} ms (limits.node_lease_ms): its \
                     connections and users do not count any more; other nodes: {others}"
                );
                if others == 0 {
                    log::warn!("the API answers for this node alone");
                }
                self.forget_facts(at, false, now);
            } else if now.ms >= node.last_seen_ms + lease_ms + memory_ms {
                bus.nodes.remove(at);
            }
        }
    }

    /// Does what an item of a sequence says.
    fn act_on(&mut self, at: usize, item: Item<'_>, now: Now) {
        match item {
            Item::Event(event) => self.receive_event(at, &event, now),
            Item::Terminate { app, user } => {
                if let Some(&app) = self.by_id.get(&*app) {
                    self.end_connections(app, &user, now);
                }
            }
            Item::SyncBegin { kept } => {
                if self.begin_sync(at, kept) {
                    self.mark_stale(at);
                }
            }
            Item::SyncEnd => self.receive_sync_end(at, now),
            item => self.apply_fact(at, &item, now),
        }
    }

    fn receive_goodbye(&mut self, at: usize, now: Now) {
        self.forget_facts(at, false, now);
        let Some(bus) = &mut self.bus else { return };
        let Some(node) = bus.nodes.get(at) else { return };
        node.leave();
        let id = node.id;
        bus.early.forget(id);
        log::info!("node {id} has left; other nodes: {}", bus.nodes.here());
    }

    /// Passes an event of another node on to the subscribers here.
    fn receive_event(&mut self, at: usize, event: &Event<'_>, now: Now) {
        let Some(&app) = self.by_id.get(&*event.app) else { return };
        let Some(bus) = &mut self.bus else { return };
        let from = bus.nodes.get(at).map_or(NodeId(0), |node| node.id);
        // An event with an impossible clock counts as published now: the publish time is unknown,
        // so it replaces the cached event. Each node gives it a version of its own.
        let clock = match bus.believe(event.clock, from, now) {
            true => event.clock,
            false => bus.version(now).0,
        };
        let version = (clock > 0).then_some((clock, from.0));
        let except = event.except.as_deref().and_then(SocketId::parse);
        let &Event { name, data, order, .. } = event;
        let user = event.user.as_deref();
        for channel in &event.channels {
            if !self.is_name(channel) || !is_deliverable(event, channel) {
                self.bus.iter_mut().for_each(|bus| bus.counters.foreign += 1);
                continue;
            }
            let sent = Sent { name, channel, data, user, order, version };
            self.deliver(app, &sent, except, now);
        }
    }

    /// Whether the full sync that the node begins is the wanted one: one without the events of
    /// cache channels may be for another node.
    fn begin_sync(&mut self, at: usize, kept: bool) -> bool {
        let node = self.bus.as_mut().and_then(|bus| bus.nodes.get(at));
        let wants = |node: &&mut Node| !node.is_synced && (kept || !node.wants_cache);
        let Some(node) = node.filter(wants) else { return false };
        node.is_syncing = true;
        true
    }

    fn receive_sync_end(&mut self, at: usize, now: Now) {
        let Some(bus) = &mut self.bus else { return };
        let Some(node) = bus.nodes.get(at).filter(|node| node.is_syncing) else { return };
        (node.is_synced, node.is_syncing, node.wants_cache) = (true, false, false);
        self.forget_facts(at, true, now);
    }

    fn receive_unsequenced(&mut self, at: usize, item: &Item<'_>, now: Now) {
        let Some(bus) = &mut self.bus else { return };
        match *item {
            Item::Hello => bus.alive_due = true,
            Item::Alive { first, next, up_ms, end } => {
                bus.expect_acknowledgement(at, now.ms);
                bus.receive_alive(at, first, next..end, up_ms, now.ms);
            }
            Item::Ack { node, next } if node == bus.id => {
                if let Some(node) = bus.nodes.get(at) {
                    (node.acknowledged, node.unacknowledged_ms) = (next, None);
                }
                if let Some(next) = bus.nodes.acknowledged_by_all() {
                    bus.queue.forget_before(next);
                }
            }
            Item::Ack { node, .. } => bus.note_silent(node, 0, now.ms),
            Item::Suspect { node, .. } if node == bus.id => bus.link.ask_role(now.ms),
            Item::Suspect { node, silent_ms } => bus.note_silent(node, silent_ms, now.ms),
            Item::Nack { node, next } if node == bus.id => bus.retransmit(next, now.ms),
            Item::SyncRequest { node, kept } if node == bus.id => match &bus.full_sync {
                Some(_) => bus.next_full_sync = Some(kept || bus.next_full_sync == Some(true)),
                None => bus.full_sync = Some(FullSync::new(kept)),
            },
            _ => {}
        }
    }
}

impl Bus {
    /// Whether the clock of another node's event is plausible. If so, it raises this node's clock,
    /// so that later events of this node are newer. An event with a clock far in the future would
    /// stay the newest forever.
    pub(super) fn believe(&mut self, clock: u64, from: NodeId, now: Now) -> bool {
        let believed = clock <= now.unix_s.saturating_add(CLOCKS_APART_S) << 20;
        if believed {
            self.clock = self.clock.max(clock);
            return true;
        }
        self.counters.foreign += 1;
        let text = format!(
            "the clock of node {from} is more than a day ahead of this machine's: cache channels \
             keep its events by when they arrive; set the clocks of both machines"
        );
        self.warnings.warn(now.ms, text);
        false
    }

    /// The number of the node that speaks, made known if it was not.
    pub(super) fn meet(&mut self, id: NodeId, seq: Option<u64>, now_ms: u64) -> Option<usize> {
        let Some(at) = self.nodes.find(id).or_else(|| self.nodes.add(id, now_ms)) else {
            let text = format!(
                "there are more than {NODES_MAX} other nodes: what node {id} publishes is ignored"
            );
            self.warnings.warn(now_ms, text);
            return None;
        };
        let at = self.nodes.promote(at);
        let node = self.nodes.get(at)?;
        // What comes of one that has left came twice, unless it is news: then the goodbye was not
        // its own.
        if node.has_left && seq.is_none_or(|seq| node.next.is_some_and(|next| seq < next)) {
            return None;
        }
        node.has_left = false;
        node.last_seen_ms = now_ms;
        if !node.is_here {
            node.is_here = true;
            (self.hello_due, self.alive_due) = (true, true);
            log::info!("node {id} is here; other nodes: {}", self.nodes.here());
            if at >= PLACES {
                let text = format!(
                    "there are more than {PLACES} other nodes: events of node {id} are delivered, \
                     but its connections and users do not count here; run fewer and larger nodes"
                );
                self.warnings.warn(now_ms, text);
            }
        }
        Some(at)
    }

    /// Where this envelope is in its node's sequence. If an earlier one is missing, the node is
    /// asked to retransmit it.
    pub(super) fn turn(&mut self, at: usize, seq: u64, now_ms: u64) -> Turn {
        let is_first_link = self.links == 1;
        let Some(node) = self.nodes.get(at) else { return Turn::Past };
        let next = match node.next {
            Some(next) => next,
            // On its first connection this node has missed nothing. Later, the other node may have
            // started during an outage, and all of its envelopes are wanted: its next `Alive`
            // contains its age and decides.
            None if is_first_link => seq,
            None => return Turn::Past,
        };
        if seq > next {
            node.request_retransmission(seq, now_ms);
            return Turn::Early;
        }
        if seq < next {
            self.counters.duplicates += 1;
            return Turn::Past;
        }
        node.next = seq.checked_add(1);
        self.counters.received += 1;
        self.early.advance(node.id);
        Turn::Next
    }

    /// Takes an early envelope that is now the next of its node.
    pub(super) fn take_early(&mut self) -> Option<Vec<u8>> {
        let id = self.early.due()?;
        let next = self.nodes.find(id).and_then(|at| self.nodes.get(at)).and_then(|node| node.next);
        match next {
            Some(next) => self.early.take(id, next),
            None => {
                self.early.forget(id);
                None
            }
        }
    }

    /// Somebody knows a node that was never heard here: when it comes back it may ask for what is
    /// said now, so that is kept.
    fn note_silent(&mut self, node: NodeId, silent_ms: u64, now_ms: u64) {
        let is_news = node != self.id && self.nodes.find(node).is_none();
        if is_news && silent_ms < self.lease_ms + self.memory_ms {
            self.nodes.add_silent(node, now_ms.saturating_sub(silent_ms));
        }
    }

    /// `left` is what the node has yet to say, or to say again.
    fn receive_alive(&mut self, at: usize, first: u64, left: Range<u64>, up_ms: u64, now_ms: u64) {
        let next = left.start;
        let (age_ms, lease_ms) = (now_ms - self.started_ms, self.lease_ms);
        let Some(node) = self.nodes.get(at) else { return };
        let id = node.id;
        let is_younger = up_ms < age_ms && self.links > 1;
        let expected = *node.next.get_or_insert(if is_younger { first } else { next });
        let missing = first.saturating_sub(expected);
        if missing > 0 {
            node.next = Some(first);
        }
        // Whoever said that there was more was not the node itself.
        let was_lied_about = node.is_ahead(left.end, now_ms, lease_ms);
        if was_lied_about {
            node.next = Some(next);
        }
        if missing > 0 || was_lied_about {
            (node.is_synced, node.is_syncing, node.wants_cache) = (false, false, true);
        }
        if expected.max(first) < next {
            node.request_retransmission(next, now_ms);
        }
        self.early.advance(id);
        if missing > 0 {
            self.counters.missing = self.counters.missing.saturating_add(missing);
            let text = format!(
                "{missing} envelopes of node {id} are missing: it could not keep them long enough \
                 (its limits.bus_queue_bytes, REDIS_TIMEOUT)"
            );
            self.warnings.warn(now_ms, text);
        }
    }

    /// Retransmits the envelopes from this number on, unless they are on their way already.
    fn retransmit(&mut self, from: u64, now_ms: u64) {
        let left = self.queue.retransmissions();
        let (before, at_ms) = &self.last_retransmission;
        // Several nodes may request the same envelopes before the first retransmission arrives.
        let pause_ms = match left.is_empty() && !self.link.is_retransmitting() {
            true => RETRANSMIT_PAUSE_MS,
            false => RETRANSMIT_PAUSE_BUSY_MS,
        };
        let is_on_its_way = before.contains(&from) && (*at_ms..at_ms + pause_ms).contains(&now_ms);
        if left.contains(&from) || is_on_its_way {
            return;
        }
        self.queue.retransmit(from);
        self.last_retransmission = (from..self.queue.retransmissions().end, now_ms);
        if from < self.queue.range().0 {
            self.alive_due = true;
        }
    }

    fn note_foreign(&mut self, why: ParseError, now_ms: u64) {
        self.counters.foreign += 1;
        self.warnings.warn(
            now_ms,
            match why {
                ParseError::NotAnEnvelope => {
                    "something that is none of these nodes publishes on the Redis channel \
                     (REVERB_SCALING_CHANNEL); what it says is passed over"
                }
                ParseError::UnknownVersion => {
                    "a node of a release too different to understand speaks on the Redis channel; \
                     what it says is passed over"
                }
            },
        );
    }
}

/// Where an envelope is in its node's sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is the next one.
    Next,
    /// An earlier one is missing.
    Early,
    /// It was received before, or its position is not known yet.
    Past,
}

/// Whether a node may send this event to this channel. A client event may have no reserved name,
/// which the client's node has checked; an API event may have only that of a user's channel.
fn is_deliverable(event: &Event<'_>, channel: &str) -> bool {
    let is_of_client = event.clock == 0 || event.user.is_some();
    match Kind::of(channel).access {
        Access::Internal => false,
        Access::User => !is_of_client,
        Access::Public | Access::Private | Access::Presence => true,
    }
}

/// Milliseconds within which a retransmission reaches the nodes that requested it.
const RETRANSMIT_PAUSE_MS: u64 = 200;
/// The same while another retransmission fills the link to Redis ahead of it.
const RETRANSMIT_PAUSE_BUSY_MS: u64 = 2_000;
/// Seconds by which another node's clock may be ahead: more than a wrong time zone accounts for,
/// and few enough that an event with a wrong clock is replaceable after a day.
const CLOCKS_APART_S: u64 = 86_400;
