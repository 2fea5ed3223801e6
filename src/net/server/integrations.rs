//! The integrations with systemd and Laravel. Each is optional, and none delays a client: blocking
//! work runs on threads of its own.

use crate::config::Limits;
use crate::hub::{Counters, Now};
use crate::net::pulse::Pulse;
use crate::net::restart_key::Watch;
use crate::net::systemd::SdNotify;

/// The integrations of a server; `None` for each that is not in use.
#[derive(Default)]
pub(super) struct Integrations {
    /// Notifies systemd of the state of the server.
    pub systemd: Option<SdNotify>,
    /// Feeds the messages card of Laravel Pulse.
    pub pulse: Option<Pulse>,
    /// Watches for `php artisan reverb:restart`.
    pub restart_key: Option<Watch>,
}

impl Integrations {
    /// Notifies the watchdog and reports to Pulse, if that is due.
    pub(super) fn turn(&mut self, counters: &Counters, now: Now) {
        if let Some(systemd) = &mut self.systemd {
            systemd.turn(now.ms);
        }
        if let Some(pulse) = &mut self.pulse {
            pulse.turn(counters, now);
        }
    }

    /// Applies new limits.
    pub(super) fn set_limits(&mut self, limits: &Limits) {
        self.pulse.iter_mut().for_each(|pulse| pulse.set_limits(limits));
        self.restart_key.iter().for_each(|watch| watch.set_limits(limits));
    }

    /// Notifies systemd that the server is ready.
    pub(super) fn ready(&self) {
        self.systemd.iter().for_each(SdNotify::ready);
    }

    /// Notifies systemd that a reload begins.
    pub(super) fn reloading(&self) {
        self.systemd.iter().for_each(SdNotify::reloading);
    }

    /// Notifies systemd that the server stops within `at_most_ms`.
    pub(super) fn stopping(&self, at_most_ms: u64) {
        self.systemd.iter().for_each(|systemd| systemd.stopping(at_most_ms));
    }
}
