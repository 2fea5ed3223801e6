//! The listening sockets of a server, and the connections to its metrics port and its console. A
//! single socket is in `listen`; what happens to an accepted connection is in `accept`.

use std::net::SocketAddr;

use crate::hub::{ConnId, Port};
use crate::net::listen::Listen;

/// The listening sockets. None is added or removed, because tokens contain the index of a socket.
pub(super) struct Listeners {
    /// All sockets, the metrics port and the console among them.
    pub sockets: Vec<Listen>,
    /// The connections to the metrics port. Closed ones are removed before the next one is added.
    pub metrics_connections: Vec<ConnId>,
    /// The connections to the console, likewise.
    pub console_connections: Vec<ConnId>,
}

impl Listeners {
    pub(super) fn new(sockets: Vec<Listen>) -> Self {
        Listeners { sockets, metrics_connections: Vec::new(), console_connections: Vec::new() }
    }

    /// The sockets for clients.
    pub(super) fn for_clients(&self) -> impl Iterator<Item = &Listen> {
        self.sockets.iter().filter(|listen| listen.port == Port::Clients)
    }

    /// The address of the metrics port, if there is one.
    pub(super) fn metrics_address(&self) -> Option<SocketAddr> {
        self.sockets.iter().filter(|it| it.port == Port::Metrics).find_map(Listen::address)
    }

    /// The socket of the console, if there is one.
    pub(super) fn console(&self) -> Option<&Listen> {
        self.sockets.iter().find(|listen| listen.port == Port::Console)
    }

    /// The connections to a port that has few.
    pub(super) fn connections_to(&mut self, port: Port) -> Option<&mut Vec<ConnId>> {
        match port {
            Port::Clients => None,
            Port::Metrics => Some(&mut self.metrics_connections),
            Port::Console => Some(&mut self.console_connections),
        }
    }

    /// Whether connections may be pending that can be accepted now.
    pub(super) fn has_work(&self) -> bool {
        self.sockets.iter().any(Listen::has_work)
    }

    /// When to retry after a failed accept.
    pub(super) fn next_retry_ms(&self) -> Option<u64> {
        self.sockets.iter().filter_map(|listen| listen.retry_ms).min()
    }

    /// Makes the next turn retry a failed accept, because descriptors have become free.
    pub(super) fn retry_soon(&mut self, now_ms: u64) {
        let retries = self.sockets.iter_mut().filter_map(|listen| listen.retry_ms.as_mut());
        retries.for_each(|retry_ms| *retry_ms = now_ms + 1);
    }
}
