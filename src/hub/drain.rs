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
use super::peer::{CloseMode, Closing, ConnId, Now, Phase};
use super::random::Hashing;
use super::staggered::Staggered;

/// A stop that has begun.
#[derive(Debug)]
pub(crate) struct Drain {
    started_ms: u64,
    /// Connections without a close frame yet.
    left: Staggered,
    /// Whether all other connections stay open.
    is_partial: bool,
    /// When the last close frame was sent to a WebSocket client, if one was.
    told_ms: Option<u64>,
    /// Clients that reconnected during the stop and wait for its end.
    deferred: Vec<ConnId>,
    /// Whether all close frames are queued, those of the deferred clients included.
    is_over: bool,
    /// Open connections of the moment `is_over` became true. The stop waits for these alone: later
    /// clients get 4100 at once, and there may always be another one.
    closing: HashSet<ConnId, Hashing>,
}

impl<T> Hub<T> {
    /// Begins to close every connection. From now on new WebSocket clients get close code 4100, which
    /// makes them reconnect a second later, and requests are answered with `Connection: close`.
    pub fn drain(&mut self, now: Now) {
        if self.drain.as_ref().is_none_or(|drain| drain.is_partial) {
            self.begin_to_drain(self.peers.ids(), false, now);
        }
    }

    /// The same for these connections alone, which cannot stay while the others do.
    pub fn drain_some(&mut self, ids: Vec<ConnId>, now: Now) {
        self.begin_to_drain(ids, true, now);
    }

    fn begin_to_drain(&mut self, ids: Vec<ConnId>, is_partial: bool, now: Now) {
        let deferred = self.drain.take().map(|before| before.deferred).unwrap_or_default();
        let closing = HashSet::with_hasher(*self.by_id.hasher());
        let (started_ms, left) = (now.ms, Staggered::new(ids, now.ms));
        let (told_ms, is_over) = (None, false);
        self.drain =
            Some(Drain { started_ms, left, is_partial, told_ms, deferred, is_over, closing });
        self.continue_drain(now);
        self.drop_slow(now);
    }

    /// Cancels the stop: the server continues. Deferred connections are closed with 4100 now, as
    /// nothing else closes them.
    pub fn stop_draining(&mut self, now: Now) {
        let deferred = self.drain.take().map(|drain| drain.deferred);
        self.close_deferred(deferred.unwrap_or_default(), now);
        self.drop_slow(now);
    }

    /// Whether the close frames of all connections are queued.
    pub fn has_queued_closes(&self) -> bool {
        self.drain.as_ref().is_some_and(|drain| drain.is_over)
    }

    /// Whether [`Hub::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    /// Whether the stop is over: every connection has closed, deferred ones included.
    pub fn is_drained(&self) -> bool {
        self.drain.as_ref().is_some_and(|drain| drain.is_over && drain.closing.is_empty())
    }

    /// A connection has closed.
    pub(super) fn note_closed(&mut self, id: ConnId) {
        if let Some(drain) = &mut self.drain {
            drain.closing.remove(&id);
        }
    }

    /// Accepts a WebSocket that connects while the server stops.
    pub(super) fn defer(&mut self, id: ConnId, now: Now) {
        let end_ms = self.drain.as_ref().map_or(0, |drain| self.expected_end_ms(drain));
        let is_soon = now.ms + PATIENCE_MS >= end_ms;
        let (Some(drain), Some(peer)) = (&mut self.drain, self.peers.get_mut(id)) else { return };
        if drain.is_over || !is_soon {
            return self.close_with(id, 4100, RESTARTING, now);
        }
        let deadline_ms = end_ms + u64::from(self.limits.close_timeout_ms);
        let mode = CloseMode::Deferred;
        let end_ms = deadline_ms;
        let is_for_metrics = false;
        peer.phase =
            Phase::Closing(Closing { deadline_ms, end_ms, left_bytes: 0, mode, is_for_metrics });
        drain.deferred.push(id);
    }

    pub(super) fn continue_drain(&mut self, now: Now) {
        let Some(drain) = &mut self.drain else { return };
        let told = drain.left.take_due(self.limits.drain_window_ms.into(), now.ms);
        told.into_iter().for_each(|id| self.close_for_drain(id, now));
        self.end_draining(now);
    }

    fn end_draining(&mut self, now: Now) {
        let Some(drain) = &self.drain else { return };
        if drain.is_over || !drain.left.is_over() || now.ms < self.expected_end_ms(drain) {
            return;
        }
        let Some(drain) = &mut self.drain else { return };
        drain.is_over = true;
        drain.closing.extend(self.peers.ids());
        let deferred = std::mem::take(&mut drain.deferred);
        self.close_deferred(deferred, now);
    }

    /// Closes the deferred connections, so that their clients reconnect a second later.
    fn close_deferred(&mut self, deferred: Vec<ConnId>, now: Now) {
        for id in deferred {
            let waits = self.peers.get(id).is_some_and(|peer| {
                matches!(&peer.phase, Phase::Closing(c) if matches!(c.mode, CloseMode::Deferred))
            });
            if waits {
                self.close_with(id, 4100, RESTARTING, now);
            }
        }
    }

    fn close_for_drain(&mut self, id: ConnId, now: Now) {
        match self.peers.get(id).map(|peer| &peer.phase) {
            Some(Phase::Open(_)) => {
                let is_near = self.is_near_the_end(now);
                self.close_with(id, if is_near { 4100 } else { 4200 }, RESTARTING, now);
                if let Some(drain) = &mut self.drain {
                    drain.told_ms = Some(now.ms);
                }
            }
            Some(Phase::Request(request)) if request.is_idle() => {
                self.retire(id, CloseMode::AfterOutbox, now);
            }
            // A request that is on its way may still arrive.
            Some(Phase::Request(_)) => {
                let close_ms = u64::from(self.limits.close_timeout_ms);
                self.hurry_request(id, now.ms + close_ms);
            }
            _ => {}
        }
    }

    pub(super) fn next_drain_ms(&self) -> Option<u64> {
        let drain = self.drain.as_ref().filter(|drain| !drain.is_over)?;
        drain.left.next_ms().or_else(|| Some(self.expected_end_ms(drain)))
    }

    /// Whether a client that returns a second from now finds the next server.
    fn is_near_the_end(&self, now: Now) -> bool {
        let linger_ms = u64::from(self.limits.drain_linger_ms);
        // The listening socket of a server that gives way in part stays: there is no wait to spare.
        let drain = self.drain.as_ref().filter(|drain| !drain.is_partial);
        let is_near = |drain: &Drain| now.ms + linger_ms >= self.expected_end_ms(drain);
        linger_ms > 0 && drain.is_some_and(is_near)
    }

    /// When the deferred clients get their close frames, after the last of the others.
    fn expected_end_ms(&self, drain: &Drain) -> u64 {
        let linger_ms = u64::from(self.limits.drain_linger_ms);
        let window_end_ms = drain.started_ms + u64::from(self.limits.drain_window_ms);
        match drain.told_ms {
            None if drain.left.is_over() => drain.started_ms,
            Some(told_ms) if drain.is_partial && drain.left.is_over() => told_ms + linger_ms,
            _ if drain.is_partial => window_end_ms + linger_ms,
            _ if drain.left.is_at_once() => drain.started_ms,
            _ => window_end_ms,
        }
    }
}

const RESTARTING: &str = "Server is restarting";
/// How long a handshake may be deferred, in milliseconds: pusher-js gives up a connection on which
/// nothing arrives for ten seconds.
const PATIENCE_MS: u64 = 5_000;
