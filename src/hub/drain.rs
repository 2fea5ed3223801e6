//! Stopping in order: every client is told 4200, which has it reconnect, not all at once: each of
//! them will ask the application for its channels again.

use super::Hub;
use super::peer::{ConnId, Goodbye, Now, Phase};

/// A stop that has begun.
#[derive(Debug)]
pub(crate) struct Drain {
    started_ms: u64,
    /// Those who have not been told yet.
    left: std::vec::IntoIter<ConnId>,
    /// How many there were.
    total: usize,
    /// When the next of them are told.
    next_ms: u64,
    /// When a WebSocket client was last told, if one was.
    told_ms: Option<u64>,
}

/// How often the next of them are told, in milliseconds: eighty times in two seconds.
const STEP_MS: u64 = 25;

impl<T> Hub<T> {
    /// Begins to close every connection. From now on new WebSocket clients are told 4100, which
    /// has them come back a second later, and requests are answered with `Connection: close`.
    pub fn drain(&mut self, now: Now) {
        if self.drain.is_some() {
            return;
        }
        let left = self.peers.ids().into_iter();
        let total = left.len();
        let (started_ms, next_ms) = (now.ms, now.ms);
        self.drain = Some(Drain { started_ms, left, total, next_ms, told_ms: None });
        self.go_on_draining(now);
    }

    /// Whether [`Hub::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    /// Whether the stop is over: everybody has gone, and those who came back at once have been
    /// told to come later.
    pub fn is_drained(&self, now: Now) -> bool {
        let lingers = |drain: &Drain| self.linger_end_ms(drain).is_some_and(|end| now.ms < end);
        self.peers.len() == 0 && self.drain.as_ref().is_some_and(|drain| !lingers(drain))
    }

    pub(super) fn go_on_draining(&mut self, now: Now) {
        let Some(drain) = &mut self.drain else { return };
        let window_ms = u64::from(self.limits.drain_window_ms);
        if now.ms < drain.next_ms {
            return;
        }
        drain.next_ms = now.ms + STEP_MS;
        let elapsed_ms = now.ms.saturating_sub(drain.started_ms);
        let still = match window_ms.saturating_sub(elapsed_ms) {
            0 => 0,
            // Few are told at once; nobody gains from spreading them.
            _ if drain.total <= AT_ONCE => 0,
            left_ms => (drain.total as u64 * left_ms / window_ms) as usize,
        };
        let now_many = drain.left.len().saturating_sub(still);
        let told: Vec<ConnId> = drain.left.by_ref().take(now_many).collect();
        for id in told {
            self.tell_to_go(id, now);
        }
    }

    fn tell_to_go(&mut self, id: ConnId, now: Now) {
        match self.peers.get(id).map(|peer| &peer.phase) {
            Some(Phase::Open(_)) => {
                self.close_with(id, 4200, "Server is restarting", now);
                if let Some(drain) = &mut self.drain {
                    drain.told_ms = Some(now.ms);
                }
            }
            Some(Phase::Request(request)) if request.buffer.is_empty() => {
                self.retire(id, Goodbye::Said, now);
            }
            // A request that is on its way may still arrive.
            Some(Phase::Request(_)) => {
                let close_ms = u64::from(self.limits.close_timeout_ms);
                self.hurry_request(id, now.ms + close_ms);
            }
            _ => {}
        }
    }

    pub(super) fn next_drain_ms(&self, now: Now) -> Option<u64> {
        let drain = self.drain.as_ref()?;
        if drain.left.len() == 0 {
            return self.linger_end_ms(drain).filter(|end_ms| *end_ms > now.ms);
        }
        Some(drain.next_ms)
    }

    fn linger_end_ms(&self, drain: &Drain) -> Option<u64> {
        Some(drain.told_ms? + u64::from(self.limits.drain_linger_ms))
    }
}

/// Connections that are closed in one step.
const AT_ONCE: usize = 10;
