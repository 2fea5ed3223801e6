//! What goes to the inbox of a single node: requests, retransmissions, and full syncs. Each node
//! receives a chunk and then requests the next, so that the slowest part of the way sets the pace.
//! The contents of a full sync are in `cluster/full_sync`.

use super::full_sync::FullSync;
use super::nodes::{Node, Requests};
use super::outgoing::{OutgoingSync, Resend};
use super::{Bus, line};
use crate::proto::envelope::{self, AfterPart, CHUNK_BYTES, Item, NodeId, Transfer};

impl Bus {
    /// Retransmits a chunk of envelopes, with numbers from `from` to before `end`, to the inbox of
    /// the node at this index.
    pub(in crate::hub) fn retransmit_to(&mut self, at: usize, from: u64, end: u64) {
        let (first, next) = self.queue.range();
        self.alive_pending |= from < first;
        let Some(node) = self.nodes.get(at) else { return };
        // A repeated request for envelopes that are yet to be written changes nothing.
        if !node.resend.numbers.contains(&from) {
            node.resend = Resend { numbers: from.max(first)..next.min(end), bytes: 0 };
        }
    }

    /// Whether envelopes for inboxes are yet to be written.
    pub(in crate::hub) fn resends_to_inboxes(&self) -> bool {
        self.nodes.iter().any(|(_, node)| !node.resend.numbers.is_empty())
    }

    /// Writes retransmissions to inboxes, one envelope for each node in turn, while the window has
    /// room.
    pub(in crate::hub) fn write_resends(&mut self, now_ms: u64) {
        while self.resends_to_inboxes() {
            for at in self.nodes.indexes() {
                if !self.session.has_room_to_resend() {
                    return;
                }
                self.write_resend(at, now_ms);
            }
        }
    }

    fn write_resend(&mut self, at: usize, now_ms: u64) {
        let Some(node) = self.nodes.get(at) else { return };
        let (id, resend) = (node.id, &mut node.resend);
        // Envelopes that all other nodes have acknowledged, or that were too old, are gone.
        resend.numbers.start = resend.numbers.start.max(self.queue.range().0);
        let Some(number) = resend.numbers.next() else { return };
        let Some(text) = self.queue.text(number) else { return };
        resend.bytes += text.len();
        let is_end = resend.bytes >= CHUNK_BYTES || resend.numbers.is_empty();
        self.session.publish_to(id, text, now_ms);
        if is_end {
            resend.numbers = 0..0;
            self.write_to(id, &[Item::RetransmissionEnd { next: number + 1 }], now_ms);
        }
    }

    /// Writes an envelope without a sequence number to the inbox of a node.
    fn write_to(&mut self, node: NodeId, items: &[Item<'_>], now_ms: u64) {
        let text = envelope::envelope(self.id, None, &envelope::list(items));
        self.session.publish_to(node, line(text), now_ms);
    }

    /// Writes the requests to each node that has an inbox. The others are in the next heartbeat.
    pub(in crate::hub) fn write_requests(&mut self, now_ms: u64) {
        if !self.session.reaches_inboxes() {
            return;
        }
        for at in self.nodes.indexes() {
            let Some(node) = self.nodes.get(at).filter(|node| node.has_inbox) else { continue };
            let (id, mut items) = (node.id, Vec::new());
            let opens_inbox = self.session.opens_inbox_to(node);
            node.take_requests(opens_inbox, now_ms, &mut items);
            if !items.is_empty() {
                self.write_to(id, &items, now_ms);
            }
        }
    }

    /// Whether this node may publish to the inbox of the node at this index.
    pub(in crate::hub) fn reaches_inbox_at(&mut self, at: usize) -> bool {
        self.nodes.get(at).is_some_and(|node| self.session.reaches_inbox_of(node))
    }

    /// Begins or continues a full sync to the inbox of the node at this index.
    pub(in crate::hub) fn sync_to(&mut self, at: usize, with_cache: bool, next: Transfer) {
        let Some(node) = self.nodes.get(at) else { return };
        match &mut node.outgoing {
            Some(outgoing) if outgoing.next == next => outgoing.bytes_left = CHUNK_BYTES,
            // The request is repeated, or it is for a part that is lost: after some time the other
            // node begins again.
            Some(outgoing) if outgoing.next.id == next.id => {}
            _ if next.part > 0 => {}
            outgoing => {
                let progress = FullSync::new(with_cache);
                *outgoing =
                    Some(Box::new(OutgoingSync { next, progress, bytes_left: CHUNK_BYTES }));
            }
        }
    }

    /// The index of a node to whose inbox a part of a full sync can be written now.
    pub(in crate::hub) fn next_to_sync(&self) -> Option<usize> {
        if !self.session.has_room_to_resend() {
            return None;
        }
        let waits = |node: &Node| node.outgoing.as_ref().is_some_and(|it| it.bytes_left > 0);
        let next = |from: usize| self.nodes.iter().find(|(at, node)| *at >= from && waits(node));
        next(self.synced_last + 1).or_else(|| next(0)).map(|(at, _)| at)
    }

    /// Takes the full sync to the inbox of the node at this index; [`Bus::write_part`] returns it.
    pub(in crate::hub) fn take_outgoing(&mut self, at: usize) -> Option<Box<OutgoingSync>> {
        self.nodes.get(at)?.outgoing.take()
    }

    /// Writes a part of a full sync to the inbox of the node at this index; `facts` are its items.
    pub(in crate::hub) fn write_part(
        &mut self,
        at: usize,
        facts: &str,
        mut outgoing: Box<OutgoingSync>,
        is_complete: bool,
        now_ms: u64,
    ) {
        self.synced_last = at;
        let Some(node) = self.nodes.get(at) else { return };
        outgoing.bytes_left = outgoing.bytes_left.saturating_sub(facts.len());
        let then = match is_complete {
            true => AfterPart::End,
            false if outgoing.bytes_left == 0 => AfterPart::Pause,
            false => AfterPart::More,
        };
        let mut items = envelope::list(&[Item::SyncPart { transfer: outgoing.next, then }]);
        if !facts.is_empty() {
            items.push(',');
            items.push_str(facts);
        }
        outgoing.next.part += 1;
        let id = node.id;
        node.outgoing = Some(outgoing).filter(|_| !is_complete);
        let text = envelope::envelope(self.id, None, &items);
        self.session.publish_to(id, line(text), now_ms);
    }

    /// A new session with Redis begins: what was written to inboxes may be lost, and what other nodes
    /// wrote to this node's as well.
    pub(in crate::hub) fn restart_transfers(&mut self) {
        for node in self.nodes.iter_mut() {
            node.resend = Resend::default();
            if let Some(outgoing) = &mut node.outgoing {
                outgoing.restart();
            }
            if node.incoming.is_some() {
                node.forget_sync();
                node.sync_request_ms = None;
            }
        }
    }

    /// Redis does not permit messages to inboxes. The other nodes repeat their requests.
    pub(in crate::hub) fn drop_transfers(&mut self) {
        for node in self.nodes.iter_mut() {
            (node.resend, node.outgoing) = (Resend::default(), None);
        }
    }

    /// Whether a part of a full sync from the node at this index is the next one. Part 0 begins the
    /// full sync, or begins it again.
    pub(in crate::hub) fn accept_part(&mut self, at: usize, part: Transfer, now_ms: u64) -> bool {
        let Some(node) = self.nodes.get(at) else { return false };
        let Some(expected) = node.incoming.filter(|expected| expected.id == part.id) else {
            return false;
        };
        if part.part > expected.part {
            // A part is lost.
            node.forget_sync();
            node.sync_request_ms = None;
            return false;
        }
        if part.part > 0 && part.part < expected.part {
            return false;
        }
        node.incoming = Some(Transfer { id: part.id, part: part.part + 1 });
        (node.is_syncing, node.sync_request_ms) = (true, Some(now_ms));
        true
    }

    /// A part of a full sync was too long, because of a cached event. Requests the rest without
    /// cached events.
    pub(in crate::hub) fn skip_part(&mut self, at: usize, now_ms: u64) {
        let Some(node) = self.nodes.get(at).filter(|node| node.incoming.is_some()) else { return };
        node.incoming = None;
        (node.is_syncing, node.wants_cache, node.sync_request_ms) = (false, false, None);
        node.request_full_sync(now_ms);
    }
}

impl Node {
    /// Takes the requests to this node, as items. With `opens_inbox`, it may answer in the inbox.
    pub(in crate::hub) fn take_requests(
        &mut self,
        opens_inbox: bool,
        now_ms: u64,
        items: &mut Vec<Item<'_>>,
    ) {
        let Requests { retransmission, full_sync, next_part } = std::mem::take(&mut self.requests);
        let (node, with_cache) = (self.id, self.wants_cache);
        if let Some(next) = self.next.filter(|_| retransmission) {
            // Those from the end on have arrived, and are held.
            let end = self.missing_range.map_or(u64::MAX, |range| range.end());
            items.push(Item::Nack { node, next, inbox: opens_inbox.then_some(end) });
        }
        if full_sync {
            // The time tells this full sync from earlier ones: they are requested at least a
            // millisecond apart.
            let first = Transfer { id: now_ms.max(1), part: 0 };
            self.incoming = Some(first).filter(|_| opens_inbox);
            items.push(Item::SyncRequest { node, with_cache, transfer: self.incoming });
        } else if next_part && self.incoming.is_some() {
            items.push(Item::SyncRequest { node, with_cache, transfer: self.incoming });
        }
    }

    /// A chunk of retransmitted envelopes has arrived: requests the next if some are still missing.
    pub(in crate::hub) fn request_next_chunk(&mut self, now_ms: u64) {
        if let (Some(range), Some(next)) = (&mut self.missing_range, self.next)
            && range.advance(next, now_ms)
        {
            self.requests.retransmission = true;
        }
    }
}
