//! Writes to Redis: new envelopes, retransmissions, and items outside the sequence. Queued
//! envelopes are in `queue`, what goes to a single node in `transfer`.

use super::{Bus, Node, line};
use crate::proto::envelope::{self, Item, WebhookItem};

impl Bus {
    /// Writes as much as the window to Redis has room for. Retransmissions and new envelopes each
    /// get half of the window, so that neither waits for the other to complete.
    pub(in crate::hub) fn write(&mut self, now_ms: u64) {
        if self.session.is_sharded() {
            let is_plain = |(_, node): (usize, &Node)| node.is_live && !node.is_sharded;
            self.session.set_has_plain_nodes(self.nodes.iter().any(is_plain));
        }
        // After a login, this node sends one heartbeat and waits until it receives it back. If it
        // receives nothing from Redis, further heartbeats would contain no new acknowledgements,
        // and the other nodes would conclude that their messages are lost, and reconnect.
        if self.session.is_up() && !self.session.awaits_first_echo() {
            self.write_requests(now_ms);
            if let Some(text) = self.take_unsequenced(now_ms) {
                self.session.announce(line(text), now_ms);
                self.session.expect_echo(now_ms);
            }
        }
        let resends = !self.queue.retransmissions().is_empty() || self.resends_to_inboxes();
        while self.session.has_room(resends) {
            let Some(text) = self.queue.take() else { break };
            self.session.publish(text, now_ms);
        }
        while self.session.has_room_to_resend() {
            let Some(text) = self.queue.take_retransmission() else { break };
            self.session.retransmit(text, now_ms);
        }
        self.write_resends(now_ms);
    }

    /// Takes the pending items that need no sequence number (heartbeat, acknowledgements,
    /// requests), as one envelope.
    pub(in crate::hub) fn take_unsequenced(&mut self, now_ms: u64) -> Option<String> {
        let (mut items, opens_inbox) = (Vec::new(), self.session.has_inbox());
        if std::mem::take(&mut self.hello_pending) {
            items.push(Item::Hello);
        }
        let is_heartbeat = std::mem::take(&mut self.alive_pending);
        if is_heartbeat {
            let (first, next) = self.queue.range();
            let (up_ms, end) = (now_ms - self.started_ms, self.queue.next());
            let sharded = self.session.is_sharded();
            items.push(Item::Alive { first, next, up_ms, end, inbox: opens_inbox, sharded });
            items.extend(self.sends_webhooks.then_some(Item::Webhook(WebhookItem::Sends)));
        }
        let mut silent = 0;
        for node in self.nodes.iter_mut() {
            if let Some(next) = node.next.filter(|_| is_heartbeat && node.is_live) {
                items.push(Item::Ack { node: node.id, next });
            }
            let opens_to_node = self.session.opens_inbox_to(node);
            node.take_requests(opens_to_node, now_ms, &mut items);
            if is_heartbeat && !node.is_live && !node.has_left && silent < SILENT_MAX {
                silent += 1;
                let silent_ms = now_ms.saturating_sub(node.last_seen_ms);
                items.push(Item::Suspect { node: node.id, silent_ms });
            }
        }
        if items.is_empty() {
            return None;
        }
        Some(envelope::envelope(self.id, None, &envelope::list(&items)))
    }
}

/// The most silent nodes listed in a heartbeat, so that forged ids do not make it long.
const SILENT_MAX: usize = 64;
