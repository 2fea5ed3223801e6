//! What happens at the deadline of a connection (protocol section 3.2): a late request is rejected,
//! a silent client is pinged, a closing connection whose client does not read is dropped; and which
//! clients are authorized. `wheel` finds the connections to check.

use super::Connections;
use crate::hub::ids::{ConnId, Now, Tick};
use crate::hub::peer::{CloseMode, Liveness, Mark, Phase};
use crate::proto::http::HttpError;
use crate::proto::{message, websocket};

impl<T> Connections<T> {
    /// Whether the last tick used up its units before it had checked all due connections.
    pub(in crate::hub) fn has_due_connections(&self) -> bool {
        self.has_due_left
    }

    /// The next connection in an expired slot of the wheel, with the tick of the slot.
    pub(in crate::hub) fn next_due(&mut self, now: Now) -> Option<(Tick, ConnId)> {
        loop {
            if let Some((tick, ids)) = &mut self.due
                && let Some(id) = ids.next()
            {
                return Some((*tick, id));
            }
            self.due = None;
            let (tick, ids) = self.wheel.expire(now.ms)?;
            self.due = Some((tick, ids.into_iter()));
        }
    }

    /// Drops a closing connection at its deadline. If the client has read some of the outbox since
    /// the last check, the deadline is extended, up to `end_ms`.
    pub(in crate::hub) fn check_closing(&mut self, id: ConnId, now: Now) {
        let step_ms = u64::from(self.limits.close_timeout_ms);
        let Some(peer) = self.get_mut(id) else { return };
        let left_bytes = peer.outbox.bytes();
        let Phase::Closing(closing) = &mut peer.phase else { return };
        if now.ms >= closing.deadline_ms
            && left_bytes > 0
            && left_bytes < closing.left_bytes
            && now.ms < closing.end_ms
        {
            closing.deadline_ms = closing.end_ms.min(now.ms + step_ms);
            closing.left_bytes = left_bytes;
        }
        let deadline_ms = closing.deadline_ms;
        match now.ms < deadline_ms {
            true => self.arm(id, deadline_ms),
            false => self.retire_request(id, CloseMode::Now, now),
        }
    }

    /// Closes an HTTP connection whose deadline has passed: with status 408 if a request has begun,
    /// otherwise without a response.
    pub(in crate::hub) fn end_request(&mut self, id: ConnId, has_begun: bool, now: Now) {
        if !has_begun {
            return self.retire_request(id, CloseMode::Now, now);
        }
        let limit = self.limits.request_timeout_ms;
        let text = format!(
            "The request did not arrive within {limit} milliseconds (limits.request_timeout_ms)."
        );
        self.refuse(id, HttpError::new(408, text), now);
    }

    /// Pings a WebSocket that has been silent for `interval_ms`. Returns whether to prune the
    /// connection: its client has not answered the pings in time.
    pub(in crate::hub) fn check_subscriber(
        &mut self,
        id: ConnId,
        interval_ms: u64,
        now: Now,
    ) -> bool {
        let grace_ms = u64::from(self.limits.pong_timeout_ms);
        let Some(peer) = self.get_mut(id) else { return false };
        let last_seen_ms = peer.last_seen_ms;
        let Some(subscriber) = peer.subscriber_mut() else { return false };
        // Any input after a ping counts as its answer.
        let last_ping_ms = match subscriber.liveness {
            Liveness::Pinged { at_ms } | Liveness::PingedTwice { at_ms } => Some(now.before(at_ms)),
            Liveness::Quiet => None,
        };
        if last_ping_ms.is_none_or(|at_ms| last_seen_ms >= at_ms) {
            let due_ms = last_seen_ms + interval_ms;
            if now.ms < due_ms {
                subscriber.liveness = Liveness::Quiet;
                self.arm(id, due_ms);
                return false;
            }
            subscriber.liveness = Liveness::Pinged { at_ms: now.ms as u32 };
            self.queue(id, websocket::ping());
            self.arm(id, now.ms + grace_ms / 2);
            return false;
        }
        let ping_ms = last_ping_ms.unwrap_or_default();
        match subscriber.liveness {
            Liveness::Pinged { at_ms } if now.ms >= ping_ms + grace_ms / 2 => {
                subscriber.liveness = Liveness::PingedTwice { at_ms };
                self.queue(id, message::ping());
                self.arm(id, ping_ms + grace_ms);
            }
            Liveness::PingedTwice { .. } if now.ms >= ping_ms + grace_ms => return true,
            Liveness::Pinged { .. } => self.arm(id, ping_ms + grace_ms / 2),
            Liveness::PingedTwice { .. } => self.arm(id, ping_ms + grace_ms),
            Liveness::Quiet => {}
        }
        false
    }

    /// The client has signed in, or joined a private or presence channel.
    pub(in crate::hub) fn set_authorized(&mut self, id: ConnId) {
        if let Some(peer) = self.get_mut(id) {
            peer.marks.set(Mark::Authorized);
        }
    }

    /// Whether the client should have been authorized by now, if its app allows it `timeout_s`.
    pub(in crate::hub) fn is_authorization_late(
        &self,
        id: ConnId,
        timeout_s: u32,
        now: Now,
    ) -> bool {
        self.authorization_due_ms(id, timeout_s, now).is_some_and(|due_ms| due_ms <= now.ms)
    }

    /// Sets the deadline of a client that must be authorized, unless it has an earlier one.
    pub(in crate::hub) fn arm_authorization(
        &mut self,
        id: ConnId,
        timeout_s: Option<u32>,
        now: Now,
    ) {
        let due_ms = timeout_s.and_then(|s| self.authorization_due_ms(id, s, now));
        if let Some(due_ms) = due_ms {
            self.arm_by(id, due_ms.max(now.ms));
        }
    }

    fn authorization_due_ms(&self, id: ConnId, timeout_s: u32, now: Now) -> Option<u64> {
        let peer = self.get(id).filter(|peer| !peer.marks.has(Mark::Authorized))?;
        Some(now.before(peer.subscriber()?.opened_ms) + u64::from(timeout_s) * 1_000)
    }
}
