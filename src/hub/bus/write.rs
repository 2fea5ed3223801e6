//! Writes to Redis: new envelopes, retransmissions, and items outside the sequence. Queued
//! envelopes are in `queue`.

use super::Bus;
use crate::proto::envelope::{self, Item, WebhookItem};

impl Bus {
    /// Writes as much as the window to Redis has room for. Retransmissions and new envelopes each
    /// get half of the window, so that neither waits for the other to complete.
    pub(in crate::hub) fn write(&mut self, now_ms: u64) {
        // After a login, this node sends one heartbeat and waits until it receives it back. If it
        // receives nothing from Redis, further heartbeats would contain no new acknowledgements,
        // and the other nodes would conclude that their messages are lost, and reconnect.
        if self.session.is_up()
            && !self.session.awaits_first_echo()
            && let Some(text) = self.take_unsequenced(now_ms)
        {
            let command = self.session.command(&text);
            self.session.publish(command, now_ms);
            self.session.expect_echo(now_ms);
        }
        while self.session.has_room(!self.queue.retransmissions().is_empty()) {
            let Some(command) = self.queue.take() else { break };
            self.session.publish(command, now_ms);
        }
        while self.session.has_room_to_retransmit() {
            let Some(command) = self.queue.take_retransmission() else { break };
            self.session.retransmit(command, now_ms);
        }
    }

    /// Takes the pending items that need no sequence number (heartbeat, acknowledgements,
    /// requests), as one envelope.
    pub(in crate::hub) fn take_unsequenced(&mut self, now_ms: u64) -> Option<String> {
        let mut items = Vec::new();
        if std::mem::take(&mut self.hello_pending) {
            items.push(Item::Hello);
        }
        let is_heartbeat = std::mem::take(&mut self.alive_pending);
        if is_heartbeat {
            let (first, next) = self.queue.range();
            let (up_ms, end) = (now_ms - self.started_ms, self.queue.next());
            items.push(Item::Alive { first, next, up_ms, end });
            items.extend(self.sends_webhooks.then_some(Item::Webhook(WebhookItem::Sends)));
        }
        let mut silent = 0;
        for node in self.nodes.iter_mut() {
            let requests = std::mem::take(&mut node.requests);
            if let Some(next) = node.next {
                if is_heartbeat && node.is_live {
                    items.push(Item::Ack { node: node.id, next });
                }
                if requests.retransmission {
                    items.push(Item::Nack { node: node.id, next });
                }
            }
            if is_heartbeat && !node.is_live && !node.has_left && silent < SILENT_MAX {
                silent += 1;
                let silent_ms = now_ms.saturating_sub(node.last_seen_ms);
                items.push(Item::Suspect { node: node.id, silent_ms });
            }
            if requests.full_sync {
                items.push(Item::SyncRequest { node: node.id, with_cache: node.wants_cache });
            }
        }
        if items.is_empty() {
            return None;
        }
        let mut written = String::new();
        for (n, item) in items.iter().enumerate() {
            written.push_str(if n == 0 { "" } else { "," });
            item.write(&mut written);
        }
        Some(envelope::envelope(self.id, None, &written))
    }
}

/// The most silent nodes listed in a heartbeat, so that forged ids do not make it long.
const SILENT_MAX: usize = 64;
