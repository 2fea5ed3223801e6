//! An orderly stop: the server closes its connections spread over `drain_window_ms`, because each
//! client that reconnects makes the application authorize its channels again.
//!
//! The close code decides when a client reconnects (protocol section 4.3). Within `drain_linger_ms`
//! of the end it is 4100: the client reconnects after a second, to the next server. Earlier it is
//! 4200: the client reconnects at once, to this server, which defers the handshake until the end and
//! then closes it with 4100. A client that finds the port closed would wait for fifteen seconds.
//! Some clients give up after a few lost connections, so most should lose one and not two.

use std::collections::HashSet;

use super::Hub;
use super::drain::{Drain, RESTARTING};
use super::ids::{ConnId, Now};
use super::peer::{CloseMode, Phase};
use super::staggered::Staggered;

impl<T> Hub<T> {
    /// Begins to close every connection. From now on new WebSocket clients get close code 4100, which
    /// makes them reconnect a second later, and requests are answered with `Connection: close`.
    pub fn drain(&mut self, now: Now) {
        if self.connections.drain.as_ref().is_none_or(|drain| drain.is_partial) {
            self.begin_to_drain(self.connections.ids(), false, now);
        }
    }

    /// The same for these connections alone, which cannot stay while the others do.
    pub fn drain_some(&mut self, ids: Vec<ConnId>, now: Now) {
        self.begin_to_drain(ids, true, now);
    }

    fn begin_to_drain(&mut self, ids: Vec<ConnId>, is_partial: bool, now: Now) {
        let deferred =
            self.connections.drain.take().map(|before| before.deferred).unwrap_or_default();
        let closing = HashSet::with_hasher(*self.pubsub.by_id.hasher());
        let (started_ms, left) = (now.ms, Staggered::new(ids, now.ms));
        let (told_ms, is_over) = (None, false);
        self.connections.drain =
            Some(Drain { started_ms, left, is_partial, told_ms, deferred, is_over, closing });
        self.continue_drain(now);
        self.drop_slow(now);
    }

    /// Cancels the stop: the server continues. Deferred connections are closed with 4100 now, as
    /// nothing else closes them.
    pub fn stop_draining(&mut self, now: Now) {
        let deferred = self.connections.drain.take().map(|drain| drain.deferred);
        self.close_deferred(deferred.unwrap_or_default(), now);
        self.drop_slow(now);
    }

    pub(super) fn continue_drain(&mut self, now: Now) {
        let Some(drain) = &mut self.connections.drain else { return };
        let told = drain.left.take_due(self.connections.limits.drain_window_ms.into(), now.ms);
        told.into_iter().for_each(|id| self.close_for_drain(id, now));
        self.end_draining(now);
    }

    fn end_draining(&mut self, now: Now) {
        let Some(drain) = &self.connections.drain else { return };
        if drain.is_over
            || !drain.left.is_over()
            || now.ms < self.connections.expected_end_ms(drain)
        {
            return;
        }
        let open = self.connections.ids();
        let Some(drain) = &mut self.connections.drain else { return };
        drain.is_over = true;
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
                let is_near = self.connections.is_near_the_end(now);
                self.close_with(id, if is_near { 4100 } else { 4200 }, RESTARTING, now);
                if let Some(drain) = &mut self.connections.drain {
                    drain.told_ms = Some(now.ms);
                }
            }
            Some(Phase::Request(request)) if request.is_idle() => {
                self.connections.retire_request(id, CloseMode::AfterOutbox, now);
            }
            // A request that is on its way may still arrive.
            Some(Phase::Request(_)) => {
                let close_ms = u64::from(self.connections.limits.close_timeout_ms);
                self.connections.hurry_request(id, now.ms + close_ms);
            }
            _ => {}
        }
    }
}
