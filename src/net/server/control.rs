//! Carries out the requests of signals and stoppers: reload configuration and certificates, hand
//! the process over to a newer binary, stop. How a request reaches the event loop is in
//! `net/control`.

mod change_apps;
mod reconfigure;
mod replace;

use super::Server;
use super::handover::IS_STOPPING;
use crate::config::Limits;
use crate::hub::Now;
use crate::net::control::Requests;

impl Server {
    /// Handles the requests that have arrived since the last call.
    pub(super) fn handle_control(&mut self, now: Now) {
        if !std::mem::take(&mut self.control.is_ready) {
            return;
        }
        let requests = self.control.take();
        if requests.reload {
            self.integrations.reloading();
            self.read_configuration(now);
            self.tls.iter_mut().for_each(|tls| tls.reload(now));
            self.redis.iter_mut().for_each(|redis| redis.reload(now));
            self.integrations.ready();
        }
        match requests.is_stop() {
            _ if !requests.handover => {}
            false => self.begin_handover(now),
            true => self.handover.outcome.send(Err(IS_STOPPING)),
        }
        if requests.is_stop() {
            self.stop_as_requested(&requests, now);
        }
    }

    /// Stops. After the first request the server asks its clients to reconnect, after the second it
    /// ends at once.
    fn stop_as_requested(&mut self, requests: &Requests, now: Now) {
        self.stop_requests += requests.stops;
        if self.stop_requests > 1 {
            self.end_ms = Some(now.ms);
        } else if self.end_ms.is_none() {
            self.stop(now);
        }
    }

    /// Asks the clients to reconnect.
    fn stop(&mut self, now: Now) {
        if self.handover.stage.take().is_some() {
            self.handover.outcome.send(Err(IS_STOPPING));
        }
        log::info!("stopping: asking {} connections to reconnect", self.hub.connections());
        let Limits { drain_window_ms, close_timeout_ms, .. } = self.configuration.current.limits;
        let drain_ms = drain_window_ms + close_timeout_ms;
        self.end_ms = Some(now.ms + u64::from(drain_ms));
        self.integrations.stopping(drain_ms.into());
        self.hub.drain(now);
    }

    /// Whether a stopping server has ended.
    pub(super) fn has_ended(&self, now: Now) -> bool {
        self.end_ms.is_some_and(|end_ms| now.ms >= end_ms || self.hub.is_drained())
    }
}
