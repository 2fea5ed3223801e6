//! Every deadline of the event loop, by name: what fires, and when. The loop sleeps until the
//! earliest. A deadline that stayed in the past after a turn would keep the loop from sleeping.

use super::Server;
use crate::hub::Now;
use crate::net::pulse::Pulse;
use crate::net::redis::Redis;
use crate::net::systemd::SdNotify;
use crate::net::tls::TlsAcceptor;

/// The work that the loop does at a certain time rather than on an event of the poller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deadline {
    /// Any of the hub's own deadlines (`hub/deadlines.rs`).
    Hub,
    /// The server retries connections that it could not accept for lack of descriptors.
    Accept,
    /// The server checks whether the certificate files have changed.
    Certificates,
    /// The server notifies systemd's watchdog that the loop runs.
    Watchdog,
    /// The server reports message counts to Laravel Pulse.
    Pulse,
    /// A request to a webhook times out, or its idle connection is closed.
    Webhooks,
    /// The current stage of a handover times out: the check of the new binary, or closing the
    /// connections that cannot be handed over.
    Reload,
    /// A stopping server ends, even if connections are left.
    Stop,
    /// The server asks the next sentinel, or gives up connecting to the server it has named.
    Redis,
    /// The server returns the memory of closed connections to the system.
    Trim,
    /// The console gets its next sample.
    Samples,
}

impl Deadline {
    const ALL: [Deadline; 11] = [
        Deadline::Hub,
        Deadline::Accept,
        Deadline::Certificates,
        Deadline::Watchdog,
        Deadline::Pulse,
        Deadline::Webhooks,
        Deadline::Reload,
        Deadline::Stop,
        Deadline::Redis,
        Deadline::Trim,
        Deadline::Samples,
    ];
}

impl Server {
    /// When the earliest deadline fires, if there is one.
    pub(super) fn next_deadline_ms(&self) -> Option<u64> {
        Deadline::ALL.into_iter().filter_map(|deadline| self.deadline_ms(deadline)).min()
    }

    /// Asserts that every deadline that was due has fired.
    pub(super) fn assert_none_is_overdue(&self, now: Now) {
        if cfg!(debug_assertions) {
            for deadline in Deadline::ALL {
                let due_ms = self.deadline_ms(deadline);
                let of_hub = || self.hub.overdue(now).unwrap_or_default();
                assert!(
                    due_ms.is_none_or(|due_ms| due_ms > now.ms),
                    "{deadline:?} was due at {due_ms:?} and has not fired by {} ({})",
                    now.ms,
                    of_hub()
                );
            }
        }
    }

    fn deadline_ms(&self, deadline: Deadline) -> Option<u64> {
        match deadline {
            Deadline::Hub => self.hub.next_tick_ms(),
            Deadline::Accept => self.next_accept_ms(),
            Deadline::Certificates => self.tls.as_ref().map(TlsAcceptor::next_check_ms),
            Deadline::Watchdog => self.integrations.systemd.as_ref().and_then(SdNotify::next_ms),
            Deadline::Pulse => self.integrations.pulse.as_ref().map(Pulse::next_ms),
            Deadline::Webhooks => self.webhooks.next_ms(),
            Deadline::Reload => self.handover.next_ms(),
            Deadline::Stop => self.end_ms,
            Deadline::Redis => self.redis.as_ref().and_then(Redis::next_ms),
            Deadline::Trim => self.trim_ms,
            Deadline::Samples => self.hub.next_sample_ms(),
        }
    }
}
