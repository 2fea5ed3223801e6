//! The port for whoever watches over the server: a second listener in the same loop, for a few
//! connections that the hub serves figures to. It speaks no TLS.

use std::io;
use std::net::SocketAddr;

use mio::{Interest, Registry};

use super::{METRICS, Server};
use crate::hub::{ConnId, Now};
use crate::net::listen::{Listen, NotAccepted};

/// The second listener.
pub(super) struct Metrics {
    pub listen: Listen,
    /// Its connections, and some that have gone since.
    ids: Vec<ConnId>,
}

impl Metrics {
    pub(super) fn bind(address: SocketAddr, registry: &Registry) -> io::Result<Self> {
        let mut listen = Listen::bind(&address.ip().to_string(), address.port())?;
        registry.register(&mut listen.socket, METRICS, Interest::READABLE)?;
        Ok(Metrics { listen, ids: Vec::new() })
    }
}

impl Server {
    /// Accepts those who come to it, as long as they are few: nobody who can reach that port takes
    /// the room of clients.
    pub(super) fn accept_watchers(&mut self, now: Now) {
        let Some(mut metrics) = self.metrics.take() else { return };
        let connections_max = self.limits.metrics_connections as usize;
        metrics.listen.ready |= metrics.listen.retry_ms.is_some_and(|retry_ms| retry_ms <= now.ms);
        for _ in 0..connections_max {
            if !metrics.listen.ready {
                break;
            }
            match metrics.listen.accept(now.ms) {
                Ok((stream, address)) => {
                    metrics.ids.retain(|id| self.hub.is_for_metrics(*id));
                    if metrics.ids.len() < connections_max {
                        let id = self.keep(stream, address, None, now);
                        self.hub.serve_metrics(id);
                        metrics.ids.push(id);
                    }
                }
                Err(NotAccepted::Exhausted { .. }) => self.hub.counters_mut().accept_failures += 1,
                Err(NotAccepted::None) => {}
            }
        }
        self.metrics = Some(metrics);
    }
}
