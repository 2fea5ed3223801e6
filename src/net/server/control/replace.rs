//! Hands the process over to a newer binary while clients stay connected, in three steps:
//!
//! 1. The new binary runs as a child, to check that it can serve with the current configuration.
//! 2. The connections that cannot be handed over are closed.
//! 3. The process executes the new binary.
//!
//! Until then, and if a step fails, the old binary serves.

use std::convert::Infallible;
use std::io;
use std::os::fd::AsRawFd;

use crate::config::Limits;
use crate::config::render::kept_apps;
use crate::hub::{ConnId, Now, state_version};
use crate::net::listen::Listen;
use crate::net::server::Server;
use crate::net::server::handover::{IS_STOPPING, Leaving, Stage};
use crate::net::successor::{self, HandedOver, Inheritable, Trial};
use crate::net::sys;

impl Server {
    /// Begins a handover, unless one is in progress or the server stops.
    pub(in crate::net::server) fn begin_handover(&mut self, now: Now) {
        if self.end_ms.is_some() {
            return self.handover.outcome.send(Err(IS_STOPPING));
        }
        // The result of the handover in progress answers both requests.
        if self.handover.stage.is_some() {
            return;
        }
        let Some(successor) = &self.handover.successor else {
            return self.stay(NO_SUCCESSOR);
        };
        self.integrations.reloading();
        let deadline_ms =
            now.ms + u64::from(self.configuration.current.limits.reload_check_timeout_ms);
        match Trial::begin(successor, self.poll.registry(), deadline_ms) {
            Ok(trial) => self.handover.stage = Some(Stage::Trial(trial)),
            Err(why) => self.stay(&why),
        }
    }

    /// Continues the handover in progress, at the end of a turn.
    pub(in crate::net::server) fn continue_handover(&mut self, now: Now) {
        // The new binary would carry out again what this one has not answered.
        let must_answer = self.hub.has_app_requests();
        match &mut self.handover.stage {
            None => {}
            Some(Stage::Trial(trial)) if must_answer && now.ms < trial.deadline_ms => {}
            Some(Stage::Trial(trial)) => match trial.outcome(now.ms) {
                None => {}
                Some(Ok(version)) => self.disconnect_some(&version, now),
                Some(Err(why)) => self.stay(&why),
            },
            Some(Stage::Leaving(leaving)) => {
                leaving.left.retain(|id| self.hub.io(*id).is_some());
                let Leaving { all, is_last, end_ms, .. } = *leaving;
                let are_gone = leaving.left.is_empty() && (is_last || self.hub.is_drained());
                let is_over = are_gone && !must_answer;
                if now.ms >= end_ms || is_over {
                    self.replace(all, now);
                } else if !all && self.hub.has_queued_closes() && !is_last {
                    // Also closes TLS connections that were opened since. From now on new ones stay
                    // in the backlog for the new binary.
                    let leaving = Leaving { left: self.tls_ids(), all, is_last: true, end_ms };
                    self.handover.stage = Some(Stage::Leaving(leaving));
                }
            }
        }
    }

    /// The connections with TLS, whose sessions cannot be handed over.
    fn tls_ids(&mut self) -> Vec<ConnId> {
        let mut ids = self.hub.ids();
        ids.retain(|id| self.hub.io(*id).is_some_and(|socket| socket.tls.is_some()));
        ids
    }

    /// Begins to close the connections that cannot be handed over: those with TLS, or all if the
    /// new binary reads another version of the state.
    fn disconnect_some(&mut self, version: &str, now: Now) {
        let Limits { drain_window_ms, drain_linger_ms, close_timeout_ms, .. } =
            self.configuration.current.limits;
        let end_ms = now.ms + u64::from(drain_window_ms + drain_linger_ms + close_timeout_ms);
        let all = version != state_version();
        let left = if all { self.hub.ids() } else { self.tls_ids() };
        if all {
            log::info!(
                "reload: the new binary reads state version {version}, not {}: disconnecting {} \
                 connections",
                state_version(),
                left.len()
            );
            self.hub.drain(now);
        } else if left.is_empty() {
            return self.replace(false, now);
        } else {
            self.hub.drain_some(left.clone(), now);
        }
        let leaving = Leaving { left, all, is_last: false, end_ms };
        self.handover.stage = Some(Stage::Leaving(leaving));
    }

    /// Executes the new binary. Returns if that fails, or if a stop was requested.
    fn replace(&mut self, all: bool, now: Now) {
        let gone = if all { self.hub.ids() } else { self.tls_ids() };
        self.queues.to_close.extend(gone);
        self.close_queued(now);
        let Err(not_executed) = self.execute(all, now);
        match not_executed {
            NotExecuted::Stopping => {}
            NotExecuted::Failed(error) => {
                self.stay(&format!("cannot execute the new binary: {error}"));
            }
        }
    }

    /// Saves the state and executes the new binary. Does not return on success.
    fn execute(&mut self, all: bool, now: Now) -> Result<Infallible, NotExecuted> {
        let Some(successor) = &self.handover.successor else {
            return Err(io::Error::other(NO_SUCCESSOR).into());
        };
        let mut descriptors = Vec::new();
        let state = match all {
            true => None,
            false => {
                let state = self.hub.save(now, |_, socket| {
                    let descriptor = socket.stream.as_raw_fd();
                    descriptors.push(descriptor);
                    descriptor as u64
                });
                let state = state.map_err(|_| io::Error::other("the state cannot be written"))?;
                // After `save`, which completes the open batches.
                self.webhooks.finish_spool(&mut self.hub);
                Some(successor::state_file(&state)?)
            }
        };
        let apps = self.apps_of_bad_files();
        let apps = match apps.is_empty() {
            true => None,
            false => Some(successor::state_file(kept_apps(&apps).as_bytes())?),
        };
        let listens: Vec<_> = self.listeners.sockets.iter().map(Listen::handed_over).collect();
        let state = state.as_ref().map(|state| state.as_raw_fd());
        let apps = apps.as_ref().map(|apps| apps.as_raw_fd());
        descriptors.extend(state.into_iter().chain(apps).chain(listens.iter().map(|(it, _)| *it)));
        let inheritable = Inheritable::new(descriptors)?;
        let requests = self.control.take();
        if requests.is_stop() {
            drop(inheritable);
            self.stop_as_requested(&requests, now);
            return Err(NotExecuted::Stopping);
        }
        let clock_us = sys::monotonic_us() - self.clock.0.elapsed().as_micros() as u64;
        let error = successor.execute(&HandedOver { clock_us, state, apps, listens });
        drop(inheritable);
        Err(error.into())
    }

    /// Ends the handover; this process continues to serve.
    fn stay(&mut self, why: &str) {
        log::error!("reload: {why}; this process continues to serve");
        if matches!(self.handover.stage, Some(Stage::Leaving(_))) {
            self.hub.stop_draining(self.clock.now());
        }
        self.handover.stage = None;
        self.integrations.ready();
        self.handover.outcome.send(Err(why));
    }
}

/// Why the new binary was not executed.
enum NotExecuted {
    /// A stop was requested, and the server has begun to stop.
    Stopping,
    /// A system call failed.
    Failed(io::Error),
}

impl From<io::Error> for NotExecuted {
    fn from(error: io::Error) -> Self {
        NotExecuted::Failed(error)
    }
}

const NO_SUCCESSOR: &str = "no successor binary is known";
