//! Those who come: accepted from within a budget, and handed to the hub.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use mio::net::TcpStream;

use super::Server;
use crate::config::{LimitKind, Limits};
use crate::hub::{ConnId, Now};
use crate::net::listen::NotAccepted;
use crate::net::socket::Socket;
use crate::net::tls::Tls;

impl Server {
    /// Accepts those who wait, so many a turn and address: those who are in have a turn as well.
    pub(super) fn accept(&mut self, now: Now) {
        let count = if self.is_about_to_go() { 0 } else { self.listens.len() };
        (0..count).for_each(|at| self.accept_at(at, now));
    }

    /// When to retry connections that could not be accepted. `None` if there are none, or if this
    /// server leaves them to its successor.
    pub(super) fn next_accept_ms(&self) -> Option<u64> {
        let retries = self.listens.iter().filter_map(|listen| listen.retry_ms);
        retries.min().filter(|_| !self.is_about_to_go())
    }

    fn accept_at(&mut self, at: usize, now: Now) {
        let listen = &mut self.listens[at];
        if listen.retry_ms.is_some_and(|retry_ms| retry_ms <= now.ms) {
            (listen.ready, listen.retry_ms) = (true, None);
        }
        for _ in 0..self.limits.accepts_per_turn {
            if !self.listens[at].ready {
                return;
            }
            let files_max = self.files.max(self.listens[at].is_for_metrics);
            let has_room = self.has_room_below(files_max);
            let listen = &mut self.listens[at];
            let accepted = match has_room {
                true => listen.accept(now.ms),
                false => Err(listen.put_off(now.ms)),
            };
            if let Ok((stream, _)) = &accepted {
                self.files.is_tight |= stream.as_raw_fd() as u64 >= files_max;
            }
            match accepted {
                Ok((stream, _)) if listen.is_for_metrics => self.take_in_watcher(stream, now),
                Ok((stream, address)) => {
                    if std::mem::take(&mut listen.cut_short) {
                        let (per_turn, ip) =
                            (self.limits.accepts_per_turn, address.map(|a| a.ip()));
                        self.hub.limit_exceeded_from(
                            LimitKind::AcceptsPerTurn,
                            per_turn.into(),
                            ip,
                            now,
                        );
                    }
                    self.open_websocket(stream, address, now);
                }
                Err(NotAccepted::Exhausted { untold, error }) => {
                    self.hub.counters_mut().accept_failures += 1;
                    let Some(untold) = untold else { return };
                    let connections = self.hub.connections();
                    log::error!(
                        "accept failed with {connections} connections open: {error}; new \
                         connections stay in the backlog until some are closed: raise the \
                         open-file limit (LimitNOFILE= of systemd, `ulimit -n`) or lower \
                         limits.connections (tried {untold} times more since the last such line)"
                    );
                }
                Err(NotAccepted::None) => return,
            }
        }
        self.listens[at].cut_short = true;
    }

    /// Whether a descriptor below this number is free; the others are reserved ([`SPARE_FILES`]).
    /// With far fewer connections open the answer needs no system call, unless `is_tight` is set.
    fn has_room_below(&self, files_max: u64) -> bool {
        let is_near = self.hub.connections() as u64 + NEAR_FILES >= files_max;
        if !is_near && !self.files.is_tight {
            return true;
        }
        // A copy takes the lowest number that is free, as a connection would.
        let copy = self.stop_writer.as_fd().try_clone_to_owned();
        copy.is_ok_and(|copy| (copy.as_raw_fd() as u64) < files_max)
    }

    /// Descriptors have become free: what waits in the backlog is accepted at the next turn.
    pub(super) fn retry_accepting(&mut self, now: Now) {
        let retries = self.listens.iter_mut().filter_map(|listen| listen.retry_ms.as_mut());
        retries.for_each(|retry_ms| *retry_ms = now.ms + 1);
    }

    /// Takes a client in. There is no TLS on sockets that are files: whoever is at the other end
    /// is on this machine.
    fn open_websocket(&mut self, stream: TcpStream, address: Option<SocketAddr>, now: Now) {
        let secure = self.secure.as_ref().zip(address);
        let tls = secure.map(|(secure, address)| Box::new(secure.session(address)));
        self.keep(stream, address, tls, now);
    }

    /// Takes in one who asks for figures, as long as they are few: nobody who can reach that port
    /// takes the room of clients.
    fn take_in_watcher(&mut self, stream: TcpStream, now: Now) {
        self.watchers.retain(|id| self.hub.is_for_metrics(*id));
        if self.watchers.len() < self.limits.metrics_connections as usize {
            let id = self.keep(stream, None, None, now);
            self.hub.serve_metrics(id);
            self.watchers.push(id);
        }
    }

    fn keep(
        &mut self,
        stream: TcpStream,
        address: Option<SocketAddr>,
        tls: Option<Box<Tls>>,
        now: Now,
    ) -> ConnId {
        let address = address.map(|address| address.ip());
        let id = self.hub.open(Socket::new(stream, tls), address, now);
        self.watch(id);
        id
    }
}

/// The open-file limit of this process, and the part of it that clients may use.
pub(super) struct Files {
    open_files: u64,
    /// Set once a connection has been given a reserved descriptor: the process has many descriptors
    /// that are not connections, so the server checks for room before each accept.
    is_tight: bool,
}

impl Files {
    pub(super) fn new(open_files: u64) -> Self {
        Files { open_files, is_tight: false }
    }

    /// Sets `limits.connections`, where it is 0, to the number of connections there is room for.
    pub(super) fn bound(&self, limits: &mut Limits) {
        if limits.connections == 0 {
            let room = connections_within(self.open_files);
            limits.connections = u32::try_from(room).unwrap_or(u32::MAX);
        }
    }

    /// The lowest descriptor number that is reserved; connections get lower ones.
    fn max(&self, is_for_metrics: bool) -> u64 {
        let spare = SPARE_FILES.min(self.open_files / 4);
        let spare = if is_for_metrics { spare - spare / 3 } else { spare };
        self.open_files - spare
    }
}

/// How many connections there is room for with so many files open.
pub(crate) fn connections_within(open_files: u64) -> u64 {
    open_files.saturating_sub(RESERVED_FILES).max(1)
}

/// Descriptors that do not count as room for connections: about 16 of the event loop, the 24 of
/// [`SPARE_FILES`], and 24 for connections beyond `limits.connections`, which the server answers
/// and closes.
const RESERVED_FILES: u64 = 64;
/// Descriptors that no client gets. A reload takes six, Redis with its resolver four, and
/// certificates, the check of `reverb:restart` and Pulse one each. The metrics port may use a
/// third.
const SPARE_FILES: u64 = 24;
/// The server checks for a free descriptor from this many connections below the limit on: an
/// allowance for descriptors that are not connections.
const NEAR_FILES: u64 = 1_024;
