//! Resolves host names on threads, because the system's resolver blocks until the name servers
//! answer. Each lookup has a thread of its own, so no name waits for another. The callers limit
//! their number: Redis and each webhook look up one name at a time.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, OnceLock};
use std::thread;

use mio::Waker;

/// Looks up one name at a time.
pub(super) struct Resolver {
    waker: Arc<Waker>,
    /// The lookup in progress, or its answer until [`Resolver::take_answer`] returns it.
    pending: Option<Arc<OnceLock<Answer>>>,
}

/// The addresses, or why there are none.
type Answer = Result<Vec<SocketAddr>, String>;

impl Resolver {
    /// A resolver that wakes the poller when the answer has arrived. A poller has one waker, so all
    /// resolvers share it.
    pub(super) fn new(waker: &Arc<Waker>) -> Self {
        Resolver { waker: Arc::clone(waker), pending: None }
    }

    /// Begins a lookup of the addresses of a name, unless one is pending. A pending lookup belongs
    /// to the previous attempt to connect, so its answer is recent enough.
    pub(super) fn look_up(&mut self, host: &str, port: u16) -> io::Result<()> {
        if self.pending.is_some() {
            return Ok(());
        }
        let answer = Arc::new(OnceLock::new());
        let (result, waker, host) = (Arc::clone(&answer), Arc::clone(&self.waker), host.to_owned());
        let thread = thread::Builder::new().name("resolver".to_owned());
        thread.spawn(move || {
            let found = (host.as_str(), port).to_socket_addrs();
            let found = found.map(|found| found.take(ADDRESSES_MAX).collect());
            // `set` cannot fail, because only this line calls it. `wake` fails if the event loop
            // has ended.
            let _ = result.set(found.map_err(|error| error.to_string()));
            let _ = waker.wake();
        })?;
        self.pending = Some(answer);
        Ok(())
    }

    /// The answer, once it has arrived.
    pub(super) fn take_answer(&mut self) -> Option<Answer> {
        let answer = self.pending.as_ref()?.get()?.clone();
        self.pending = None;
        Some(answer)
    }
}

/// The most addresses used of an answer, which may have any number. No host has as many.
const ADDRESSES_MAX: usize = 64;
