//! An orderly stop: the server closes its connections spread over `drain_window_ms`, because each
//! client that reconnects makes the application authorize its channels again. The state of a stop
//! is in `drain`.
//!
//! The close code decides when a client reconnects (protocol section 4.3). Within `drain_linger_ms`
//! of the end it is 4100: the client reconnects after a second, to the next server. Earlier it is
//! 4200: the client reconnects at once, to this server, which defers the handshake until the end
//! and then closes it with 4100. If the port were closed, the client would wait for fifteen
//! seconds. Some clients give up after a few lost connections, so most should lose one and not two.

use std::collections::HashSet;

use super::Hub;
use super::drain::{Drain, RESTARTING};
use super::ids::{ConnId, Now};
use super::peer::{CloseMode, Phase};
use super::staggered::Staggered;

impl<T> Hub<T> {
    /// Begins to close every connection. From now on new WebSocket clients get close code 4100,
    /// which makes them reconnect a second later, and HTTP responses have `Connection: close`.
    pub fn drain(&mut self, now: Now) {
        if self.connections.drain.as_ref().is_none_or(|drain| drain.is_partial) {
            self.begin_drain(self.connections.ids(), false, now);
        }
    }

    /// Begins to close these connections, which cannot be kept; all others stay open.
    pub fn drain_some(&mut self, ids: Vec<ConnId>, now: Now) {
        self.begin_drain(ids, true, now);
    }

    fn begin_drain(&mut self, ids: Vec<ConnId>, is_partial: bool, now: Now) {
        let deferred =
            self.connections.drain.take().map(|before| before.deferred).unwrap_or_default();
        let closing = HashSet::with_hasher(*self.pubsub.by_id.hasher());
        let (started_ms, left) = (now.ms, Staggered::new(ids, now.ms));
        let (last_close_ms, has_queued_all) = (None, false);
        self.connections.drain = Some(Drain {
            started_ms,
            left,
            is_partial,
            last_close_ms,
            deferred,
            has_queued_all,
            closing,
        });
        self.continue_drain(now);
        self.drop_slow(now);
    }

    /// Cancels the stop. Deferred connections are closed with 4100 now, as nothing else would close
    /// them.
    pub fn stop_draining(&mut self, now: Now) {
        let deferred = self.connections.drain.take().map(|drain| drain.deferred);
        self.close_deferred(deferred.unwrap_or_default(), now);
        self.drop_slow(now);
    }

    /// Closes the connections that are due, and ends the stop if it is time.
    pub(super) fn continue_drain(&mut self, now: Now) {
        let Some(drain) = &mut self.connections.drain else { return };
        let due = drain.left.take_due(self.connections.limits.drain_window_ms.into(), now.ms);
        due.into_iter().for_each(|id| self.close_for_drain(id, now));
        self.end_draining(now);
    }

    /// Queues the last close frames once the end of the stop is reached.
    fn end_draining(&mut self, now: Now) {
        let Some(drain) = &self.connections.drain else { return };
        if drain.has_queued_all
            || !drain.left.is_done()
            || now.ms < self.connections.expected_end_ms(drain)
        {
            return;
        }
        let open = self.connections.ids();
        let Some(drain) = &mut self.connections.drain else { return };
        drain.has_queued_all = true;
        drain.closing.extend(open);
        let deferred = std::mem::take(&mut drain.deferred);
        self.close_deferred(deferred, now);
    }

    /// Closes the deferred connections, so that their clients reconnect a second later.
    fn close_deferred(&mut self, deferred: Vec<ConnId>, now: Now) {
        for id in deferred {
            let waits = self.connections.get(id).is_some_and(|peer| {
                matches!(&peer.phase, Phase::Closing(c) if matches!(c.mode, CloseMode::Deferred))
            });
            if waits {
                self.close_with(id, 4100, RESTARTING, now);
            }
        }
    }

    fn close_for_drain(&mut self, id: ConnId, now: Now) {
        match self.connections.get(id).map(|peer| &peer.phase) {
            Some(Phase::Open(_)) => {
                let is_near = self.connections.is_near_end(now);
                self.close_with(id, if is_near { 4100 } else { 4200 }, RESTARTING, now);
                if let Some(drain) = &mut self.connections.drain {
                    drain.last_close_ms = Some(now.ms);
                }
            }
            Some(Phase::Request(request)) if request.is_idle() => {
                self.connections.retire_request(id, CloseMode::AfterOutbox, now);
            }
            // A request whose bytes are arriving may still complete.
            Some(Phase::Request(_)) => {
                let close_ms = u64::from(self.connections.limits.close_timeout_ms);
                self.connections.shorten_deadline(id, now.ms + close_ms);
            }
            Some(Phase::Viewing(_)) => self.connections.end_feed(id, now),
            _ => {}
        }
    }
}
