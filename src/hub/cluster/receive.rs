//! Messages from other nodes: checks the sequence of envelopes and handles their items. Items about
//! channels and users are applied in `remote_state`.

use super::super::Hub;
use super::super::bus::{FullSync, Node, SequenceCheck, Unfinished};
use super::super::channel::{Access, Kind};
use super::super::ids::{Now, SocketId};
use super::super::node_set::PLACES;
use super::super::publish::ChannelEvent;
use crate::proto::envelope::{
    self, AfterPart, Envelope, Event, Item, NodeId, Transfer, WebhookItem,
};

impl<T> Hub<T> {
    /// Handles a message from the Redis channel or the inbox of this node. In an earlier call, its
    /// first `done` items were handled already. At least one item is handled; when the work has
    /// reached `work_end`, the others are held for the next turn.
    pub(in crate::hub) fn receive_envelope(
        &mut self,
        text: Vec<u8>,
        done: usize,
        work_end: u64,
        now: Now,
    ) {
        let Some(bus) = &mut self.pubsub.bus else { return };
        let envelope = match envelope::parse(&text) {
            Ok(envelope) if envelope.node == bus.id => return bus.session.echoed(),
            Ok(envelope) => envelope,
            Err(why) => return bus.count_foreign(why, now.ms),
        };
        let at = match done {
            0 => {
                let happenings = &mut self.connections.happenings;
                let was_live = happenings.feed().is_none() || bus.is_live(envelope.node);
                let at = bus.identify_node(envelope.node, envelope.seq, now.ms);
                if at.is_some() && !was_live {
                    happenings.node(envelope.node, true);
                }
                at
            }
            // The node was known when the envelope was received; it may have expired since.
            _ => bus
                .nodes
                .find(envelope.node)
                .filter(|at| bus.nodes.get(*at).is_some_and(|n| n.is_live)),
        };
        let Some(at) = at else { return };
        self.connections.work.add_bytes(text.len());
        if let Some(seq) = envelope.seq.filter(|_| done == 0) {
            match bus.check_sequence(at, seq, now.ms) {
                SequenceCheck::Next => {}
                SequenceCheck::Early => {
                    let node = envelope.node;
                    drop(envelope);
                    return bus.early.hold(node, seq, text);
                }
                SequenceCheck::Ignored => return,
            }
        }
        let after_part = match part(&envelope) {
            Some((part, _)) if done == 0 && !self.accept_part(at, part, now) => return,
            part => part.map(|(_, then)| then),
        };
        let begin = done.max(usize::from(after_part.is_some()));
        for (handled, raw) in envelope.items.iter().enumerate().skip(begin) {
            if handled > done && self.is_bus_share_over(work_end) {
                drop(envelope);
                return self.hold_envelope(text, handled);
            }
            match (Item::read(raw.get()), envelope.seq) {
                // Items after a goodbye are ignored: the facts of a departed node are removed here
                // and never again.
                (Some(Item::Goodbye), Some(_)) => return self.receive_goodbye(at, now),
                (Some(item), Some(_)) => self.handle_sequenced(at, item, now),
                (Some(item), None) if after_part.is_some() => {
                    self.pubsub.apply_fact(&mut self.connections, at, &item, now);
                }
                (Some(item), None) => self.handle_unsequenced(at, &item, now),
                // A later release may have sent an item that this one does not know.
                (None, _) => self.pubsub.bus.iter_mut().for_each(|bus| bus.counters.foreign += 1),
            }
        }
        match after_part {
            Some(AfterPart::End) => self.receive_sync_end(at, now),
            Some(AfterPart::Pause) => {
                let node = self.pubsub.bus.as_mut().and_then(|bus| bus.nodes.get(at));
                node.into_iter().for_each(|node| node.requests.next_part = true);
            }
            Some(AfterPart::More) | None => {}
        }
        // The state of the node is incomplete: it is new, or envelopes of it are missing. Without a
        // place its state is not stored.
        if let Some(bus) = &mut self.pubsub.bus
            && let Some(node) = bus.nodes.get(at)
            && node.next.is_some()
            && !node.is_synced
            && !node.has_left
            && at < PLACES
        {
            node.request_full_sync(now.ms);
        }
    }

    /// Holds an envelope of which this many items were handled.
    fn hold_envelope(&mut self, text: Vec<u8>, handled: usize) {
        if let Some(bus) = &mut self.pubsub.bus {
            bus.unfinished = Some(Unfinished { text, handled });
        }
    }

    /// Handles silent nodes in two steps: after the lease, a node is no longer live and its facts
    /// are removed; after the retention time, the node is forgotten.
    pub(in crate::hub) fn expire_nodes(&mut self, now: Now) {
        let Some(bus) = &mut self.pubsub.bus else { return };
        let (lease_ms, retention_ms) = (bus.lease_ms, bus.retention_ms);
        let silent = bus.nodes.iter().filter(|(_, node)| now.ms >= node.last_seen_ms + lease_ms);
        let silent: Vec<usize> = silent.map(|(at, _)| at).collect();
        for at in silent {
            let Some(bus) = &mut self.pubsub.bus else { return };
            let Some(node) = bus.nodes.get(at) else { continue };
            if node.is_live {
                node.forget_sync();
                (node.is_live, node.unacknowledged_ms) = (false, None);
                let id = node.id;
                bus.early.drop_node(id);
                let others = bus.nodes.live_count();
                log::warn!(
                    "node {id} timed out after {lease_ms} ms of silence (limits.node_lease_ms): its \
                     connections and users no longer count; other nodes: {others}"
                );
                if others == 0 {
                    log::warn!("no other node is connected: API responses cover this node only");
                }
                self.connections.happenings.node(id, false);
                self.pubsub.remove_all_facts(&mut self.connections, at, now);
                // A node that has never known these facts may become the owner of their channels.
                let webhooks = self.connections.happenings.webhooks_mut();
                webhooks.into_iter().for_each(|webhooks| webhooks.report_changes());
            } else if now.ms >= node.last_seen_ms + lease_ms + retention_ms {
                bus.nodes.remove(at);
            }
        }
    }

    /// Handles an item of an envelope with a sequence number.
    fn handle_sequenced(&mut self, at: usize, item: Item<'_>, now: Now) {
        match item {
            Item::Event(event) => self.receive_event(at, &event, now),
            Item::Terminate { app, user } => {
                if let Some(&app) = self.pubsub.by_id.get(&*app) {
                    self.pubsub.end_connections(&mut self.connections, app, &user, now);
                }
            }
            Item::TerminateOne { app, socket_id } => {
                if let Some(&app) = self.pubsub.by_id.get(&*app)
                    && let Some(socket_id) = SocketId::parse(&socket_id)
                {
                    self.pubsub.end_connection(&mut self.connections, app, socket_id, now);
                }
            }
            Item::SyncBegin { with_cache } => {
                if self.begin_sync(at, with_cache) {
                    self.pubsub.mark_stale(at);
                }
            }
            // The end of a full sync to all nodes does not end one to the inbox of this node.
            Item::SyncEnd => {
                let node = self.pubsub.bus.as_mut().and_then(|bus| bus.nodes.get(at));
                if node.is_some_and(|node| node.incoming.is_none()) {
                    self.receive_sync_end(at, now);
                }
            }
            Item::Webhook(item) => self.receive_webhook_item(&item),
            item => self.pubsub.apply_fact(&mut self.connections, at, &item, now),
        }
    }

    fn receive_goodbye(&mut self, at: usize, now: Now) {
        self.pubsub.remove_all_facts(&mut self.connections, at, now);
        let Some(bus) = &mut self.pubsub.bus else { return };
        let Some(node) = bus.nodes.get(at) else { return };
        node.leave();
        let id = node.id;
        bus.early.drop_node(id);
        self.connections.happenings.node(id, false);
        log::info!("node {id} has left; other nodes: {}", bus.nodes.live_count());
    }

    /// Delivers an event of another node to the subscribers of this node.
    fn receive_event(&mut self, at: usize, event: &Event<'_>, now: Now) {
        let Some(&app) = self.pubsub.by_id.get(&*event.app) else { return };
        let Some(bus) = &mut self.pubsub.bus else { return };
        let from = bus.nodes.get(at).map_or(NodeId(0), |node| node.id);
        // If the clock of the event is impossible, its publish time is unknown: use the time of
        // arrival, so that the event replaces the cached one. The nodes then have different
        // versions of this event.
        let clock = match bus.accept_clock(event.clock, from, now) {
            true => event.clock,
            false => bus.version(now).0,
        };
        // Client events have no clock and are not cached.
        let version = (clock > 0).then_some((clock, from.0));
        let except = event.except.as_deref().and_then(SocketId::parse);
        let &Event { name, data, order, .. } = event;
        let user = event.user.as_deref();
        for channel in &event.channels {
            if !self.pubsub.is_name(channel) || !is_deliverable(event, channel) {
                self.pubsub.bus.iter_mut().for_each(|bus| bus.counters.foreign += 1);
                continue;
            }
            let sent = ChannelEvent { name, channel, data, user, order, version };
            self.pubsub.deliver(&mut self.connections, app, &sent, except, now);
        }
    }

    /// Begins to receive a full sync of a node. Returns `false` if this node does not need it: it
    /// is in sync already, or it needs cached events and the sync has none. Such a sync was
    /// requested by another node; all nodes receive it.
    fn begin_sync(&mut self, at: usize, with_cache: bool) -> bool {
        let node = self.pubsub.bus.as_mut().and_then(|bus| bus.nodes.get(at));
        let wants = |node: &&mut Node| !node.is_synced && (with_cache || !node.wants_cache);
        let Some(node) = node.filter(wants) else { return false };
        // It replaces one to the inbox of this node, whose facts become stale.
        (node.is_syncing, node.incoming) = (true, None);
        true
    }

    /// Begins to handle a part of a full sync. Returns whether it is the next one.
    fn accept_part(&mut self, at: usize, part: Transfer, now: Now) -> bool {
        let Some(bus) = &mut self.pubsub.bus else { return false };
        let is_next = bus.accept_part(at, part, now.ms);
        if is_next && part.part == 0 {
            self.pubsub.mark_stale(at);
        }
        is_next
    }

    fn receive_sync_end(&mut self, at: usize, now: Now) {
        let Some(bus) = &mut self.pubsub.bus else { return };
        let Some(node) = bus.nodes.get(at).filter(|node| node.is_syncing) else { return };
        (node.is_synced, node.is_syncing, node.wants_cache) = (true, false, false);
        node.incoming = None;
        self.pubsub.remove_stale_facts(&mut self.connections, at, now);
    }

    /// Handles an item of an envelope without a sequence number, which may be lost or repeated.
    fn handle_unsequenced(&mut self, at: usize, item: &Item<'_>, now: Now) {
        let Some(bus) = &mut self.pubsub.bus else { return };
        match *item {
            Item::Hello => bus.alive_pending = true,
            Item::Alive { first, next, up_ms, end, inbox, sharded } => {
                // Inboxes of the two kinds have different names.
                let is_usable = inbox && sharded == bus.session.is_sharded();
                if let Some(node) = bus.nodes.get(at) {
                    (node.has_inbox, node.is_sharded) = (is_usable, sharded);
                }
                bus.expect_acknowledgement(at, now.ms);
                if let Some(node) = bus.nodes.get(at) {
                    let started_ms = Some(now.ms.saturating_sub(up_ms));
                    (node.sends_webhooks, node.started_ms) = (false, started_ms);
                }
                bus.receive_alive(at, first, next..end, up_ms, now.ms);
            }
            Item::Webhook(WebhookItem::Sends) => {
                bus.nodes.get(at).into_iter().for_each(|node| node.sends_webhooks = true);
            }
            Item::Ack { node, next } if node == bus.id => {
                if let Some(node) = bus.nodes.get(at) {
                    (node.acknowledged, node.unacknowledged_ms) = (next, None);
                }
                if let Some(next) = bus.nodes.acknowledged_by_all() {
                    bus.queue.drop_before(next);
                }
            }
            // The acknowledged node is live for the sender, but may be unknown here.
            Item::Ack { node, .. } => bus.add_silent_node(node, 0, now.ms),
            Item::Suspect { node, .. } if node == bus.id => bus.session.ask_role(now.ms),
            Item::Suspect { node, silent_ms } => bus.add_silent_node(node, silent_ms, now.ms),
            Item::Nack { node, next, inbox } if node == bus.id => {
                let is_reached = bus.reaches_inbox_at(at);
                match inbox.filter(|_| is_reached) {
                    Some(end) => bus.retransmit_to(at, next, end),
                    None => bus.retransmit(next, now.ms),
                }
            }
            Item::RetransmissionEnd { .. } => {
                bus.nodes.get(at).into_iter().for_each(|node| node.request_next_chunk(now.ms));
            }
            Item::SyncRequest { node, with_cache, transfer } if node == bus.id => {
                let is_reached = bus.reaches_inbox_at(at);
                match (transfer.filter(|_| is_reached), &bus.full_sync) {
                    (Some(next), _) => bus.sync_to(at, with_cache, next),
                    (None, Some(_)) => {
                        bus.next_full_sync = Some(with_cache || bus.next_full_sync == Some(true));
                    }
                    (None, None) => bus.full_sync = Some(FullSync::new(with_cache)),
                }
            }
            _ => {}
        }
    }
}

/// The part of a full sync that this envelope is, and what follows it.
fn part(envelope: &Envelope<'_>) -> Option<(Transfer, AfterPart)> {
    match envelope.seq.is_none().then(|| Item::read(envelope.items.first()?.get()))?? {
        Item::SyncPart { transfer, then } => Some((transfer, then)),
        _ => None,
    }
}

/// Whether an event of another node is valid for this channel. The node that publishes an event has
/// checked this already: client events never go to reserved channels; API events may go to user
/// channels, but not to internal ones.
fn is_deliverable(event: &Event<'_>, channel: &str) -> bool {
    let is_of_client = event.clock == 0 || event.user.is_some();
    match Kind::of(channel).access {
        Access::Internal => false,
        Access::User => !is_of_client,
        Access::Public | Access::Private | Access::Presence => true,
    }
}
