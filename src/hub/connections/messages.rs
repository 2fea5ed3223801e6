//! WebSocket connections: error messages to clients, and the rate limit of client events. Handling
//! of messages is in `subscriber`.

use super::Connections;
use crate::hub::client_error::ClientError;
use crate::hub::feed::Refusal;
use crate::hub::ids::{ConnId, Now};
use crate::proto::message;
use crate::proto::websocket::{self, Item};

impl<T> Connections<T> {
    /// Whether a connection has used up its client events for the current second: as many as
    /// `limit`, if that is not 0.
    pub(in crate::hub) fn is_over_event_rate(&self, id: ConnId, limit: u32, now: Now) -> bool {
        let subscriber = self.subscriber(id);
        subscriber.is_some_and(|subscriber| {
            let (count, second) = subscriber.client_events;
            limit > 0 && second == second_of(now) && u32::from(count) >= limit
        })
    }

    /// Counts a client event against the rate limit.
    pub(in crate::hub) fn count_event(&mut self, id: ConnId, now: Now) {
        if let Some(subscriber) = self.subscriber_mut(id) {
            let (count, second) = subscriber.client_events;
            let before = if second == second_of(now) { count } else { 0 };
            subscriber.client_events = (before.saturating_add(1), second_of(now));
        }
    }

    /// Sends a message back to its sender.
    pub(in crate::hub) fn echo_back(&mut self, id: ConnId, item: &Item<'_>) {
        let frame = match item {
            Item::Text(text) => websocket::text(text),
            Item::Binary(bytes) => websocket::binary(bytes),
            _ => return,
        };
        // In the form that a channel with this one member would get.
        let frame = self.compress_for(&[id], &frame, None).unwrap_or(frame);
        self.queue(id, frame);
    }

    /// Reports that a message was handled.
    pub(in crate::hub) fn notify_received(&mut self, id: ConnId, text: &str) {
        if let Some(subscriber) = self.slab.get(id.0 as usize).and_then(|peer| peer.subscriber()) {
            self.happenings.message_received(subscriber.app, subscriber.source(), text);
        }
    }

    /// Sends an error to a client; the connection stays open.
    pub(in crate::hub) fn send_error(&mut self, id: ConnId, error: &ClientError, now: Now) {
        if let Some(limit) = error.limit {
            self.limit_exceeded(id, limit, now);
        }
        self.report_refused(id, error);
        log::debug!("rejected a message: {}", error.detail);
        self.queue(id, message::error(error.code, &error.message));
        if let Some((channel, kind, error, status)) = &error.subscription {
            self.queue(id, message::subscription_error(channel, kind, error, *status));
        }
    }

    /// Reports that a message of a WebSocket was rejected.
    fn report_refused(&mut self, id: ConnId, error: &ClientError) {
        let Some(peer) = self.slab.get(id.0 as usize) else { return };
        let Some(subscriber) = peer.subscriber() else { return };
        if self.happenings.wants_errors(subscriber.app) {
            let refusal = Refusal {
                socket_id: Some(subscriber.socket_id),
                address: peer.address,
                channel: error.subscription.as_ref().map(|(channel, ..)| &**channel),
                code: error.code,
                reason: &error.to_string(),
                expected: error.expected.as_deref(),
            };
            self.happenings.refused(subscriber.app, &refusal);
        }
    }
}

/// The current second, truncated to 16 bits. It repeats after 18 hours (65,536 s); it is compared
/// with the second of the last client event only.
fn second_of(now: Now) -> u16 {
    (now.ms / 1_000) as u16
}
