//! Checks the connections whose deadline has passed: late requests, silent clients, closing
//! connections (protocol section 3.2). The deadlines are set in `connections`.
//!
//! A client that has been silent for the app's `ping_interval` gets a control ping, which every
//! browser and library answers without involving the script. Half-way through `pong_timeout_ms` a
//! `pusher:ping` follows, for libraries that hide control frames. When `pong_timeout_ms` has
//! passed, the connection is closed with 4201.
//!
//! A client that is not authorized within the app's `authorization_timeout` is closed with 4009.

use super::Hub;
use super::app_limits::Bound;
use super::ids::{ConnId, Now, Tick};
use super::origins::Origin;
use super::peer::{CloseMode, Phase, Source};
use crate::config::LimitKind;

/// Milliseconds until a held request is checked again.
const HELD_CHECK_MS: u64 = 1_000;

impl<T> Hub<T> {
    /// Checks the connections whose slot of the wheel has expired. A tick spends at most a quarter
    /// of a turn's units on them, regardless of what the turn has used before; the next tick checks
    /// the rest.
    pub(super) fn check_due(&mut self, now: Now) {
        let work_end = self.connections.work.side_work_end();
        self.connections.has_due_left = false;
        while let Some((tick, id)) = self.connections.next_due(now) {
            // The entry has fired; `MAX` lets any new deadline replace it.
            if let Some(peer) = self.connections.get_mut(id)
                && peer.armed == tick
            {
                peer.armed = Tick::MAX;
                self.check_deadline(id, now);
            }
            self.connections.work.add(1);
            if self.connections.work.done() >= work_end {
                self.connections.has_due_left = true;
                break;
            }
        }
        for app in self.pubsub.apps.iter_mut() {
            app.cache.expire(now.ms);
        }
    }

    fn check_deadline(&mut self, id: ConnId, now: Now) {
        let Some(peer) = self.connections.get(id) else { return };
        match &peer.phase {
            Phase::Request(request) => {
                let idle_ms =
                    peer.last_seen_ms + u64::from(self.connections.limits.keep_alive_timeout_ms);
                if request.is_held && now.ms < idle_ms {
                    // The held request may be complete, so its own deadline does not apply yet.
                    return self.connections.arm(id, idle_ms.min(now.ms + HELD_CHECK_MS));
                }
                if request.is_held {
                    // The client has neither read a response nor sent anything for that long.
                    return self.connections.retire_request(id, CloseMode::Now, now);
                }
                let deadline_ms = request.deadline_ms.unwrap_or(idle_ms);
                let (has_begun, is_late) =
                    (!request.buffer.is_empty(), request.deadline_ms.is_some());
                if now.ms < deadline_ms {
                    return self.connections.arm(id, deadline_ms);
                }
                if is_late {
                    self.connections.limit_exceeded(id, LimitKind::RequestTimeout, now);
                }
                self.connections.end_request(id, has_begun, now);
            }
            Phase::Open(subscriber) => {
                let app = subscriber.app;
                let interval_s = self.pubsub.apps[app].settings.ping_interval_s;
                let bound = self.pubsub.app_bound(app, LimitKind::AppAuthorization);
                if let Some(bound) = &bound
                    && self.connections.is_authorization_late(id, bound.max, now)
                {
                    return self.close_unauthorized(id, bound, now);
                }
                if self.connections.check_subscriber(id, u64::from(interval_s) * 1_000, now) {
                    return self.prune(id, now);
                }
                self.connections.arm_authorization(id, bound.map(|bound| bound.max), now);
            }
            Phase::Viewing(_) => self.connections.check_viewer(id, now),
            Phase::Closing(_) => self.connections.check_closing(id, now),
        }
    }

    fn close_unauthorized(&mut self, id: ConnId, bound: &Bound, now: Now) {
        self.connections.limit_exceeded(id, bound.exceeded, now);
        let (max, setting) = (bound.max, bound.setting());
        let reason = format!("not signed in or in a private channel after {max} s ({setting})");
        self.close_with(id, 4009, &reason, now);
    }

    fn prune(&mut self, id: ConnId, now: Now) {
        if let Some(subscriber) = self.connections.subscriber(id) {
            let (app, socket_id) = (subscriber.app, subscriber.socket_id);
            let origin = subscriber.origin.clone();
            log::debug!("{socket_id} pruned: no pong received");
            let source = Source { socket_id, origin: origin.as_ref().map(Origin::as_str) };
            self.connections.happenings.connection_pruned(app, source);
        }
        self.close_with(id, 4201, "Pong reply not received in time", now);
    }
}
