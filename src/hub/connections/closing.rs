//! How connections close, one at a time and when the server stops. The caller removes the
//! memberships of a closed connection.

use super::Connections;
use crate::hub::drain::{DEFER_MAX_MS, Drain};
use crate::hub::ids::{ConnId, Now};
use crate::hub::peer::{CloseMode, Closing, Mark, Phase, Subscriber, Viewing};
use crate::hub::port::Port;
use crate::hub::work::Lane;
use crate::proto::websocket;

impl<T> Connections<T> {
    /// Whether the close frames of all connections are queued.
    pub(in crate::hub) fn has_queued_closes(&self) -> bool {
        self.drain.as_ref().is_some_and(|drain| drain.has_queued_all)
    }

    /// Whether an orderly stop has begun.
    pub(in crate::hub) fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    /// Whether the stop is over: every connection has closed, deferred ones included.
    pub(in crate::hub) fn is_drained(&self) -> bool {
        self.drain.as_ref().is_some_and(|drain| drain.has_queued_all && drain.closing.is_empty())
    }

    /// Records that a connection has closed: [`Connections::is_drained`] no longer waits for it.
    pub(in crate::hub) fn record_closed(&mut self, id: ConnId) {
        if let Some(drain) = &mut self.drain {
            drain.closing.remove(&id);
        }
    }

    /// Defers the handshake of a client that connects while the server stops until the end of the
    /// stop. Returns `false` if the stop has ended or its end is too far away; the caller then
    /// closes the connection.
    pub(in crate::hub) fn defer(&mut self, id: ConnId, now: Now) -> bool {
        let end_ms = self.drain.as_ref().map_or(0, |drain| self.expected_end_ms(drain));
        let is_soon = now.ms + DEFER_MAX_MS >= end_ms;
        let peer = self.slab.get_mut(id.0 as usize);
        let (Some(drain), Some(peer)) = (&mut self.drain, peer) else { return true };
        if drain.has_queued_all || !is_soon {
            return false;
        }
        let deadline_ms = end_ms + u64::from(self.limits.close_timeout_ms);
        let mode = CloseMode::Deferred;
        let end_ms = deadline_ms;
        peer.phase = Phase::Closing(Closing {
            deadline_ms,
            end_ms,
            left_bytes: 0,
            mode,
            port: Port::Clients,
            app: peer.app(),
        });
        drain.deferred.push(id);
        true
    }

    /// When the stop has its next step, if one is in progress.
    pub(in crate::hub) fn next_drain_ms(&self) -> Option<u64> {
        let drain = self.drain.as_ref().filter(|drain| !drain.has_queued_all)?;
        drain.left.next_ms().or_else(|| Some(self.expected_end_ms(drain)))
    }

    /// Whether a client that reconnects a second from now reaches the next server.
    pub(in crate::hub) fn is_near_end(&self, now: Now) -> bool {
        let linger_ms = u64::from(self.limits.drain_linger_ms);
        // After a partial stop this server keeps listening, so no client needs to wait for another.
        let drain = self.drain.as_ref().filter(|drain| !drain.is_partial);
        let is_near = |drain: &Drain| now.ms + linger_ms >= self.expected_end_ms(drain);
        linger_ms > 0 && drain.is_some_and(is_near)
    }

    /// When the deferred clients get their close frames: after all other clients.
    pub(in crate::hub) fn expected_end_ms(&self, drain: &Drain) -> u64 {
        let linger_ms = u64::from(self.limits.drain_linger_ms);
        let window_end_ms = drain.started_ms + u64::from(self.limits.drain_window_ms);
        match drain.last_close_ms {
            None if drain.left.is_done() => drain.started_ms,
            Some(last_close_ms) if drain.is_partial && drain.left.is_done() => {
                last_close_ms + linger_ms
            }
            _ if drain.is_partial => window_end_ms + linger_ms,
            _ if drain.left.is_at_once() => drain.started_ms,
            _ => window_end_ms,
        }
    }

    /// Begins to close a connection. Returns the subscriber if it was a WebSocket: the caller must
    /// remove its memberships before anything else happens to its channels.
    #[must_use]
    pub(in crate::hub) fn retire(
        &mut self,
        id: ConnId,
        mode: CloseMode,
        now: Now,
    ) -> Option<Subscriber> {
        let deadline_ms = now.ms + u64::from(self.limits.close_timeout_ms);
        let end_ms = now.ms + u64::from(self.limits.keep_alive_timeout_ms);
        let peer = self.get_mut(id)?;
        let was_paused = peer.marks.take(Mark::Paused);
        if matches!(mode, CloseMode::Now) {
            self.clear_outbox(id);
        }
        let peer = self.get_mut(id)?;
        let left_bytes = peer.outbox.bytes();
        let port = self.port(id).unwrap_or_default();
        let peer = self.get_mut(id)?;
        let app = peer.app();
        let closing = Closing { deadline_ms, end_ms, left_bytes, mode, port, app };
        let mut subscriber = None;
        match std::mem::replace(&mut peer.phase, Phase::Closing(closing)) {
            Phase::Open(open) => {
                _ = self.schedule.take_held(id);
                subscriber = Some(open);
            }
            // A connection that is retired twice keeps its first deadline.
            Phase::Closing(first) => {
                if let Phase::Closing(closing) = &mut peer.phase {
                    (closing.deadline_ms, closing.end_ms) = (first.deadline_ms, first.end_ms);
                }
            }
            Phase::Request(request) => self.release(&request),
            Phase::Viewing(Viewing { app, .. }) => self.remove_viewer(app, id),
        }
        self.touch(id);
        self.arm_by(id, deadline_ms);
        if was_paused {
            // Its socket may have become readable while it was paused: this input must be read and
            // discarded.
            self.schedule_in(id, Lane::Light);
        }
        subscriber
    }

    /// Begins to close a connection that is not a WebSocket.
    pub(in crate::hub) fn retire_request(&mut self, id: ConnId, mode: CloseMode, now: Now) {
        let ended = self.retire(id, mode, now);
        debug_assert!(ended.is_none(), "a WebSocket must be closed together with its memberships");
    }

    /// Queues a close frame, and counts its code.
    pub(in crate::hub) fn queue_close(&mut self, id: ConnId, code: u16, reason: &str) {
        self.counters.closes.count(code);
        self.queue(id, websocket::close(code, reason));
    }
}
