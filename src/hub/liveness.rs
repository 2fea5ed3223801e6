//! Deadlines: of requests, of silent clients, of closing connections (protocol section 3.2).
//!
//! A client that has been silent for the app's `ping_interval` gets a control ping, which every
//! browser and library answers without its script. Half-way through `pong_timeout_ms` a
//! `pusher:ping` follows, for clients that hide control frames. At its end the connection is
//! closed with 4201.

use super::Hub;
use super::peer::{CloseMode, ConnId, Liveness, Now, Phase};
use super::wheel::Tick;
use crate::config::LimitKind;
use crate::proto::http::HttpError;
use crate::proto::{message, websocket};

/// Milliseconds until a held request is checked again.
const HELD_CHECK_MS: u64 = 1_000;

impl<T> Hub<T> {
    /// Checks the connections whose slot of the wheel has expired. A tick spends at most a quarter
    /// of a turn's units on them, regardless of what the turn has done before; the next tick checks
    /// the rest.
    pub(super) fn check_due(&mut self, now: Now) {
        let units_max = self.peers.work.side_work_end();
        self.is_due_cut_short = false;
        while let Some((tick, id)) = self.next_due(now) {
            // The entry has fired; `MAX` lets any new deadline replace it.
            if let Some(peer) = self.peers.get_mut(id)
                && peer.armed == tick
            {
                peer.armed = Tick::MAX;
                self.check_deadline(id, now);
            }
            self.peers.work.add(1);
            if self.peers.work.done() >= units_max {
                self.is_due_cut_short = true;
                break;
            }
        }
        for app in &mut self.apps {
            app.cache.expire(now.ms);
        }
    }

    /// Whether the last tick used up its units, so that connections may be left to check.
    pub(super) fn has_due_connections(&self) -> bool {
        self.is_due_cut_short
    }

    fn next_due(&mut self, now: Now) -> Option<(Tick, ConnId)> {
        loop {
            if let Some((tick, ids)) = &mut self.due
                && let Some(id) = ids.next()
            {
                return Some((*tick, id));
            }
            self.due = None;
            let (tick, ids) = self.peers.wheel.expire(now.ms)?;
            self.due = Some((tick, ids.into_iter()));
        }
    }

    fn check_deadline(&mut self, id: ConnId, now: Now) {
        let Some(peer) = self.peers.get(id) else { return };
        match &peer.phase {
            Phase::Request(request) => {
                let idle_ms = peer.last_seen_ms + u64::from(self.limits.keep_alive_timeout_ms);
                if request.is_held && now.ms < idle_ms {
                    // The request may be complete: its deadline is checked when the hub resumes it.
                    return self.peers.arm(id, idle_ms.min(now.ms + HELD_CHECK_MS));
                }
                if request.is_held {
                    // The client has neither read an answer nor sent anything for that long.
                    return self.retire(id, CloseMode::Now, now);
                }
                let deadline_ms = request.deadline_ms.unwrap_or(idle_ms);
                let (begun, waits) = (!request.buffer.is_empty(), request.deadline_ms.is_some());
                if now.ms < deadline_ms {
                    return self.peers.arm(id, deadline_ms);
                }
                if waits {
                    self.limit_exceeded(id, LimitKind::RequestTimeout, now);
                }
                self.end_request(id, begun, now);
            }
            Phase::Open(_) => self.check_subscriber(id, now),
            Phase::Closing(_) => self.check_closing(id, now),
        }
    }

    /// A peer that takes what waits for it, if slowly, is given more time, up to a bound.
    fn check_closing(&mut self, id: ConnId, now: Now) {
        let step_ms = u64::from(self.limits.close_timeout_ms);
        let Some(peer) = self.peers.get_mut(id) else { return };
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
            true => self.peers.arm(id, deadline_ms),
            false => self.retire(id, CloseMode::Now, now),
        }
    }

    /// A connection without a request is dropped in silence; half a request is told why.
    fn end_request(&mut self, id: ConnId, begun: bool, now: Now) {
        if !begun {
            return self.retire(id, CloseMode::Now, now);
        }
        let limit = self.limits.request_timeout_ms;
        let text = format!(
            "The request did not arrive within {limit} milliseconds (limits.request_timeout_ms)."
        );
        self.refuse(id, HttpError::new(408, text), now);
    }

    fn check_subscriber(&mut self, id: ConnId, now: Now) {
        let grace_ms = u64::from(self.limits.pong_timeout_ms);
        let Some(peer) = self.peers.get_mut(id) else { return };
        let last_seen_ms = peer.last_seen_ms;
        let Some(subscriber) = peer.subscriber_mut() else { return };
        let app = &self.apps[subscriber.app as usize];
        let interval_ms = u64::from(app.settings.ping_interval_s) * 1_000;
        // Whoever was heard of after it was asked has answered, whatever it said.
        let asked = match subscriber.liveness {
            Liveness::Pinged { at_ms } | Liveness::AskedTwice { at_ms } => Some(at_ms),
            Liveness::Quiet => None,
        };
        if asked.is_none_or(|at_ms| last_seen_ms >= at_ms) {
            let due_ms = last_seen_ms + interval_ms;
            if now.ms < due_ms {
                subscriber.liveness = Liveness::Quiet;
                return self.peers.arm(id, due_ms);
            }
            subscriber.liveness = Liveness::Pinged { at_ms: now.ms };
            self.peers.queue(id, websocket::ping());
            return self.peers.arm(id, now.ms + grace_ms / 2);
        }
        match subscriber.liveness {
            Liveness::Pinged { at_ms } if now.ms >= at_ms + grace_ms / 2 => {
                subscriber.liveness = Liveness::AskedTwice { at_ms };
                self.peers.queue(id, message::ping());
                self.peers.arm(id, at_ms + grace_ms);
            }
            Liveness::AskedTwice { at_ms } if now.ms >= at_ms + grace_ms => self.prune(id, now),
            Liveness::Pinged { at_ms } => self.peers.arm(id, at_ms + grace_ms / 2),
            Liveness::AskedTwice { at_ms } => self.peers.arm(id, at_ms + grace_ms),
            Liveness::Quiet => {}
        }
    }

    fn prune(&mut self, id: ConnId, now: Now) {
        if let Some(subscriber) = self.peers.get(id).and_then(|peer| peer.subscriber()) {
            let (app, socket_id) = (subscriber.app as usize, subscriber.socket_id);
            log::debug!("{socket_id} pruned: it answered no ping");
            if let Some(listener) = &mut self.peers.listener {
                listener.connection_pruned(&self.peers.app_ids[app], socket_id);
            }
        }
        self.close_with(id, 4201, "Pong reply not received in time", now);
    }
}
