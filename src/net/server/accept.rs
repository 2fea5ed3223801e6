//! Those who come: accepted from within a budget, and handed to the hub.

use std::net::SocketAddr;

use mio::net::TcpStream;

use super::Server;
use crate::config::Bound;
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

    /// When connections that could not be accepted are accepted again: not by a server that leaves
    /// them to the next.
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
            let listen = &mut self.listens[at];
            if !listen.ready {
                return;
            }
            match listen.accept(now.ms) {
                Ok((stream, _)) if listen.is_for_metrics => self.take_in_watcher(stream, now),
                Ok((stream, address)) => {
                    if std::mem::take(&mut listen.cut_short) {
                        let (per_turn, ip) =
                            (self.limits.accepts_per_turn, address.map(|a| a.ip()));
                        self.hub.hit(Bound::AcceptsPerTurn, per_turn.into(), ip, now);
                    }
                    self.take_in(stream, address, now);
                }
                Err(NotAccepted::Exhausted { untold, error }) => {
                    self.hub.counters_mut().accept_failures += 1;
                    let Some(untold) = untold else { return };
                    let connections = self.hub.connections();
                    log::error!(
                        "cannot accept connections beside the {connections} there are: {error}; \
                         those who come wait until some have gone (tried {untold} times more since \
                         the last such line)"
                    );
                }
                Err(NotAccepted::None) => return,
            }
        }
        self.listens[at].cut_short = true;
    }

    /// Takes a client in. There is no TLS on sockets that are files: whoever is at the other end
    /// is on this machine.
    fn take_in(&mut self, stream: TcpStream, address: Option<SocketAddr>, now: Now) {
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

/// How many connections there is room for with so many files open.
pub(crate) fn connections_within(open_files: u64) -> u64 {
    open_files.saturating_sub(RESERVED_FILES).max(1)
}

/// Descriptors that are not counted as room for connections: the loop's own, the log, and publishers,
/// who are answered on connections that are not kept when there is no room.
const RESERVED_FILES: u64 = 64;
