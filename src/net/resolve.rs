//! Resolves host names on threads, because the system's resolver blocks until the name servers
//! answer. Each lookup has a thread of its own, so no name waits for another. The callers limit
//! their number: Redis and each webhook look up one name at a time.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, OnceLock};

use mio::Waker;

use super::threads;
use crate::config::HostPort;

/// Looks up one name at a time.
pub(super) struct Resolver {
    waker: Arc<Waker>,
    /// The host that is being looked up, and its answer until [`Resolver::look_up`] returns it.
    pending: Option<(HostPort, Arc<OnceLock<Answer>>)>,
}

/// The addresses, or why there are none.
type Answer = Result<Vec<SocketAddr>, String>;

impl Resolver {
    /// A resolver that wakes the poller when the answer has arrived. A poller has one waker, so all
    /// resolvers share it.
    pub(super) fn new(waker: &Arc<Waker>) -> Self {
        Resolver { waker: Arc::clone(waker), pending: None }
    }

    /// The addresses of a host, once they are found; call it again when the poller was woken. A
    /// pending lookup of the same host belongs to the previous attempt to connect, so its answer is
    /// recent enough. If another host is being looked up, this one is next.
    pub(super) fn look_up(&mut self, host: &HostPort) -> io::Result<Option<Answer>> {
        if let Some((pending, answer)) = &self.pending {
            let Some(answer) = answer.get() else { return Ok(None) };
            if pending == host {
                let answer = answer.clone();
                self.pending = None;
                return Ok(Some(answer));
            }
        }
        self.begin(host)?;
        Ok(None)
    }

    fn begin(&mut self, host: &HostPort) -> io::Result<()> {
        let answer = Arc::new(OnceLock::new());
        let (result, waker, host) = (Arc::clone(&answer), Arc::clone(&self.waker), host.clone());
        self.pending = Some((host.clone(), answer));
        let resolve = move || {
            let found = (host.host.as_str(), host.port).to_socket_addrs();
            let found = found.map(|found| found.take(ADDRESSES_MAX).collect());
            // `set` cannot fail, because only this line calls it. `wake` fails if the event loop
            // has ended.
            let _ = result.set(found.map_err(|error| error.to_string()));
            let _ = waker.wake();
        };
        let started = threads::start("resolver", Box::new(resolve));
        started.map(drop).inspect_err(|_| self.pending = None)
    }
}

/// The most addresses used of an answer, which may have any number. No host has as many.
const ADDRESSES_MAX: usize = 64;
