//! Accepts pending connections, within a budget per turn, and hands them to the hub.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use mio::net::TcpStream;

use super::Server;
use crate::config::LimitKind;
use crate::hub::{ConnId, Now, Port};
use crate::net::listen::Accepted;
use crate::net::socket::Socket;
use crate::net::tls::Tls;

impl Server {
    /// Accepts up to `accepts_per_turn` pending connections per listening socket, so that a burst
    /// of them does not delay open connections. Returns how many there were.
    pub(super) fn accept(&mut self, now: Now) -> u32 {
        match self.handover.leaves_new_connections() {
            true => 0,
            false => (0..self.listeners.sockets.len()).map(|at| self.accept_at(at, now)).sum(),
        }
    }

    /// When to retry after a failed accept. `None` if none failed, or if pending connections are
    /// left to the successor.
    pub(super) fn next_accept_ms(&self) -> Option<u64> {
        self.listeners.next_retry_ms().filter(|_| !self.handover.leaves_new_connections())
    }

    fn accept_at(&mut self, index: usize, now: Now) -> u32 {
        let listen = &mut self.listeners.sockets[index];
        if listen.retry_ms.is_some_and(|retry_ms| retry_ms <= now.ms) {
            (listen.ready, listen.retry_ms) = (true, None);
        }
        let per_turn = self.configuration.current.limits.accepts_per_turn;
        for accepted_before in 0..per_turn {
            let listen = &mut self.listeners.sockets[index];
            if !listen.ready {
                return accepted_before;
            }
            let reserved_from = self.descriptors.reserved_from(listen.port);
            let connections = self.hub.connections() as u64;
            let has_room = self.descriptors.has_room(reserved_from, connections, &self.control);
            let accepted = match has_room {
                true => listen.accept(now.ms),
                false => listen.put_off(now.ms),
            };
            if let Accepted::Connection(stream, _) = &accepted {
                self.descriptors.accepted(stream.as_raw_fd(), reserved_from);
            }
            match accepted {
                Accepted::Connection(stream, address) if listen.port != Port::Clients => {
                    let port = listen.port;
                    self.open_for_operator(stream, address, port, now);
                }
                Accepted::Connection(stream, address) => {
                    if std::mem::take(&mut listen.cut_short) {
                        let (limit, ip) =
                            (LimitKind::AcceptsPerTurn, address.map(|address| address.ip()));
                        self.hub.limit_exceeded_from(limit, per_turn.into(), ip, now);
                    }
                    self.open_connection(stream, address, now);
                }
                Accepted::Exhausted(error) => {
                    self.hub.counters_mut().process.accept_failures += 1;
                    if let Some(retries) = listen.exhausted.admit(now.ms) {
                        log::error!(
                            "accept failed with {connections} connections open: {error}; new \
                             connections stay in the backlog until some are closed: raise the \
                             open-file limit (LimitNOFILE= of systemd, `ulimit -n`) or lower \
                             limits.connections ({retries} more failures since the last such line)"
                        );
                    }
                }
                Accepted::NonePending => return accepted_before,
            }
        }
        self.listeners.sockets[index].cut_short = true;
        per_turn
    }

    /// Opens a client's connection. Connections to Unix sockets never use TLS, because the client
    /// is on this machine.
    fn open_connection(&mut self, stream: TcpStream, address: Option<SocketAddr>, now: Now) {
        let tls = self.tls.as_ref().zip(address);
        let tls = tls.map(|(tls, address)| Box::new(tls.session(address)));
        self.open(stream, address, tls, now);
    }

    /// Opens a connection to the metrics port or the console, if fewer than
    /// `limits.metrics_connections` or `limits.console_connections` are open. The limits keep
    /// descriptors free for clients.
    fn open_for_operator(
        &mut self,
        stream: TcpStream,
        address: Option<SocketAddr>,
        port: Port,
        now: Now,
    ) {
        let limits = &self.configuration.current.limits;
        let max = match port {
            Port::Console => limits.console_connections,
            _ => limits.metrics_connections,
        };
        let Some(open) = self.listeners.connections_to(port) else { return };
        open.retain(|id| self.hub.port(*id) == Some(port));
        if open.len() < max as usize {
            // The limit of connections from one address is for clients.
            let id = self.open(stream, None, None, now);
            self.hub.set_port(id, port);
            self.listeners.connections_to(port).into_iter().for_each(|open| open.push(id));
        } else if port == Port::Console {
            let ip = address.map(|address| address.ip());
            self.hub.limit_exceeded_from(LimitKind::ConsoleConnections, max.into(), ip, now);
        }
    }

    fn open(
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
