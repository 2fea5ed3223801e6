//! Giving the process to a newer binary while clients stay: first it is asked whether it would serve
//! with the configuration there is, then those leave who cannot be handed over, then it is executed.
//! Until that very moment, and if it fails, this one serves.

use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::{Interest, Token};

use super::Server;
use crate::config::{Config, Limits};
use crate::hub::{ConnId, Now, state_version, version_of};
use crate::net::clock::Clock;
use crate::net::error::BindError;
use crate::net::listen::Listen;
use crate::net::socket::Socket;
use crate::net::successor::{self, HandedOver, Inheritable, Successor, Trial};
use crate::net::sys::{self, Inherited};
use crate::net::systemd::SdNotify;

/// Why a stopping server rejects a reload.
pub(super) const IS_STOPPING: &str = "it was asked to stop";

/// A reload that has begun.
pub(super) enum Reload {
    /// The new binary is asked.
    Trial(Trial),
    /// Those leave who cannot be handed over; all of them, if the new binary reads another state.
    Leaving { left: Vec<ConnId>, all: bool, is_last: bool, end_ms: u64 },
}

impl Server {
    /// Goes on with what another process has left to this one.
    ///
    /// # Errors
    ///
    /// Those of [`Server::bind`]; the state cannot be read.
    pub(crate) fn take_over(
        handed: &HandedOver,
        inherited: &mut Inherited,
        config: &Config,
        seed: [u8; 32],
    ) -> Result<Self, BindError> {
        let age_us = sys::monotonic_us().saturating_sub(handed.clock_us);
        let now = Instant::now();
        let clock = Clock(now.checked_sub(Duration::from_micros(age_us)).unwrap_or(now));
        let metrics = config.server.metrics;
        let mut server = Server::with(clock, config, seed, |_| {
            let listens = handed.listens.iter().map(|(descriptor, letter)| {
                Listen::take_over(inherited.take(*descriptor)?, *letter)
            });
            let mut listens = listens.collect::<io::Result<Vec<Listen>>>()?;
            let wanted =
                |at| metrics.is_some_and(|wanted| wanted.port() == 0 || Some(wanted) == at);
            listens.retain(|listen| !listen.is_for_metrics || wanted(listen.address()));
            let is_bound = listens.iter().any(|listen| listen.is_for_metrics);
            if let Some(address) = metrics.filter(|_| !is_bound) {
                // No reason to leave the clients alone that are here.
                match Listen::bind_metrics(address) {
                    Ok(listen) => listens.push(listen),
                    Err(error) => log::error!("cannot serve metrics on {address}: {error}"),
                }
            }
            Ok(listens)
        })?;
        server.has_taken_over = true;
        if let Some(state) = handed.read_state(inherited)? {
            let written = version_of(&state).unwrap_or_default();
            let now = server.clock.now();
            let taken = server.hub.restore(state, now, |descriptor| {
                let socket = inherited.take(i32::try_from(descriptor).ok()?).ok()?;
                Some(Socket::new(mio::net::TcpStream::from_std(socket.into()), None))
            });
            let version = state_version();
            taken.map_err(|_| match written == version {
                true => io::Error::other("the state that was handed over is not whole"),
                false => io::Error::other(format!(
                    "the state that was handed over is of version {written:?}, and this binary \
                     reads {version}: it was exchanged in the middle of a reload"
                )),
            })?;
        }
        for id in server.hub.ids() {
            server.watch(id);
            if server.hub.is_for_metrics(id) {
                server.watchers.push(id);
            }
        }
        log::info!("took over {} connections", server.hub.connections());
        Ok(server)
    }

    /// Has the poller watch a connection.
    pub(super) fn watch(&mut self, id: ConnId) {
        let Some(socket) = self.hub.io(id) else { return };
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = Token(id.0 as usize);
        // What has come already is told by the poller's first event, at the next turn.
        if let Err(error) = self.poll.registry().register(&mut socket.stream, token, interest) {
            log::error!("cannot watch a connection: {error}");
            self.to_reap.push(id);
        }
    }

    /// What is executed when this server is asked to give way. Without it that cannot be asked.
    pub fn succeed_by(&mut self, successor: Option<Successor>) {
        self.successor = successor;
    }

    /// Begins to give way, unless it does already, or stops.
    pub(super) fn begin_to_reload(&mut self, now: Now) {
        if self.end_ms.is_some() {
            return self.outcome.tell(IS_STOPPING);
        }
        // The result of the reload in progress answers both requests.
        if self.reload.is_some() {
            return;
        }
        let Some(successor) = &self.successor else {
            return self.stay("no successor binary is known");
        };
        self.notices.iter().for_each(SdNotify::reloading);
        let deadline_ms = now.ms + u64::from(self.limits.reload_check_timeout_ms);
        match Trial::begin(successor, self.poll.registry(), deadline_ms) {
            Ok(trial) => self.reload = Some(Reload::Trial(trial)),
            Err(why) => self.stay(&why),
        }
    }

    /// Goes on with it at the end of a turn.
    pub(super) fn go_on_reloading(&mut self, now: Now) {
        match &mut self.reload {
            None => {}
            Some(Reload::Trial(trial)) => match trial.outcome(now.ms) {
                None => {}
                Some(Ok(version)) => self.begin_to_leave(&version, now),
                Some(Err(why)) => self.stay(&why),
            },
            Some(Reload::Leaving { left, all, is_last, end_ms }) => {
                left.retain(|id| self.hub.io(*id).is_some());
                let (all, has_gone) = (*all, left.is_empty());
                if now.ms >= *end_ms || (has_gone && (*is_last || self.hub.is_drained())) {
                    self.give_way(all, now);
                } else if !all && self.hub.has_queued_closes() && !*is_last {
                    // Those who came back meanwhile were told to come again, and take that with
                    // them. Nobody is accepted any more: whoever comes now waits for the new one.
                    let (end_ms, left) = (*end_ms, self.secure_ids());
                    self.reload = Some(Reload::Leaving { left, all, is_last: true, end_ms });
                }
            }
        }
    }

    /// When it goes on if nothing happens.
    pub(super) fn next_reload_ms(&self) -> Option<u64> {
        match self.reload.as_ref()? {
            Reload::Trial(trial) => Some(trial.deadline_ms),
            Reload::Leaving { end_ms, .. } => Some(*end_ms),
        }
    }

    /// Whether whoever comes now is left to the new binary.
    pub(super) fn is_about_to_go(&self) -> bool {
        matches!(self.reload, Some(Reload::Leaving { is_last: true, .. }))
    }

    fn secure_ids(&mut self) -> Vec<ConnId> {
        let mut ids = self.hub.ids();
        ids.retain(|id| self.hub.io(*id).is_some_and(|socket| socket.tls.is_some()));
        ids
    }

    /// Has those leave who cannot be handed over: sessions of TLS, of which the new binary knows
    /// nothing, or all if it reads another state.
    fn begin_to_leave(&mut self, version: &str, now: Now) {
        let Limits { drain_window_ms, drain_linger_ms, close_timeout_ms, .. } = self.limits;
        let end_ms = now.ms + u64::from(drain_window_ms + drain_linger_ms + close_timeout_ms);
        let all = version != state_version();
        let left = if all { self.hub.ids() } else { self.secure_ids() };
        if all {
            log::info!(
                "the new binary reads another state ({version}, not {}): telling {} connections to \
                 reconnect",
                state_version(),
                left.len()
            );
            self.hub.drain(now);
        } else if left.is_empty() {
            return self.give_way(false, now);
        } else {
            self.hub.drain_some(left.clone(), now);
        }
        self.reload = Some(Reload::Leaving { left, all, is_last: false, end_ms });
    }

    /// Executes the new binary. Comes back if that fails, or if it was asked to stop meanwhile.
    fn give_way(&mut self, all: bool, now: Now) {
        let gone = if all { self.hub.ids() } else { self.secure_ids() };
        self.to_reap.extend(gone);
        self.reap(now);
        let why = match self.hand_over(all, now) {
            Ok(Some(error)) | Err(error) => error.to_string(),
            Ok(None) => return,
        };
        self.stay(&format!("cannot execute the new binary: {why}"));
    }

    /// The error of an `exec` that came back; `None` if there was something more urgent.
    fn hand_over(&mut self, all: bool, now: Now) -> io::Result<Option<io::Error>> {
        let Some(successor) = &self.successor else { return Ok(None) };
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
                Some(successor::state_file(&state)?)
            }
        };
        let listens: Vec<_> = self.listens.iter().map(Listen::handed_over).collect();
        let state = state.as_ref().map(|state| state.as_raw_fd());
        descriptors.extend(state.into_iter().chain(listens.iter().map(|(it, _)| *it)));
        let inheritable = Inheritable::new(descriptors)?;
        let asked = self.stops.take();
        if asked.stops > 0 {
            drop(inheritable);
            self.stop(asked.stops, now);
            return Ok(None);
        }
        let clock_us = sys::monotonic_us() - self.clock.0.elapsed().as_micros() as u64;
        let error = successor.execute(&HandedOver { clock_us, state, listens });
        drop(inheritable);
        Ok(Some(error))
    }

    /// Serves on.
    fn stay(&mut self, why: &str) {
        log::error!("reload: {why}; this server goes on as it was");
        if matches!(self.reload, Some(Reload::Leaving { .. })) {
            self.hub.stop_draining(self.clock.now());
        }
        self.reload = None;
        self.notices.iter().for_each(SdNotify::ready);
        self.outcome.tell(why);
    }
}
