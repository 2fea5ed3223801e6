//! Requests from signals and stoppers: to reload the configuration and the certificates, to hand
//! over to a newer binary, and to stop.

use super::Server;
use super::replace::IS_STOPPING;
use crate::config::Limits;
use crate::hub::Now;
use crate::net::systemd::SdNotify;

impl Server {
    /// Handles the requests that have arrived since the last call.
    pub(super) fn handle_control(&mut self, now: Now) {
        let requests = self.stops.take();
        if requests.reload {
            self.notices.iter().for_each(SdNotify::reloading);
            self.read_configuration(now);
            self.secure.iter_mut().for_each(|secure| secure.reload(now));
            self.redis.iter_mut().for_each(|redis| redis.reload(now));
            self.notices.iter().for_each(SdNotify::ready);
        }
        match requests.stops {
            _ if !requests.handover => {}
            0 => self.begin_to_reload(now),
            _ => self.outcome.tell(IS_STOPPING),
        }
        self.stop(requests.stops, now);
    }

    pub(super) fn stop(&mut self, asked: usize, now: Now) {
        if asked == 0 {
            return;
        }
        if asked > 1 || self.end_ms.is_some() {
            self.end_ms = Some(now.ms);
            return;
        }
        if self.reload.take().is_some() {
            self.outcome.tell(IS_STOPPING);
        }
        log::info!("stopping: telling {} connections to reconnect", self.hub.connections());
        let Limits { drain_window_ms, close_timeout_ms, .. } = self.limits;
        let drain_ms = drain_window_ms + close_timeout_ms;
        self.end_ms = Some(now.ms + u64::from(drain_ms));
        self.notices.iter().for_each(|notices| notices.stopping(drain_ms.into()));
        self.hub.drain(now);
    }

    pub(super) fn has_ended(&self, now: Now) -> bool {
        self.end_ms.is_some_and(|end_ms| now.ms >= end_ms || self.hub.is_drained())
    }
}
