//! Host names to addresses on a thread of its own, as the system's resolver waits for servers
//! that may be away. At most one thread at a time, however often it is asked.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, OnceLock};
use std::thread;

use mio::{Registry, Token, Waker};

/// Looks up one name at a time.
pub(super) struct Resolver {
    waker: Arc<Waker>,
    /// What was asked and not taken yet.
    asked: Option<Arc<OnceLock<Answer>>>,
}

/// The addresses, or why there are none.
type Answer = Result<Vec<SocketAddr>, String>;

impl Resolver {
    /// One that wakes the loop with this token when an answer is there.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        Ok(Resolver { waker: Arc::new(Waker::new(registry, token)?), asked: None })
    }

    /// Asks for the addresses of a name. If an answer is still to come, or was not taken, that
    /// one will do: it is not older than the last attempt to connect.
    pub(super) fn ask(&mut self, host: &str, port: u16) -> io::Result<()> {
        if self.asked.is_some() {
            return Ok(());
        }
        let answer = Arc::new(OnceLock::new());
        let (told, waker, host) = (Arc::clone(&answer), Arc::clone(&self.waker), host.to_owned());
        let thread = thread::Builder::new().name("resolver".to_owned());
        thread.spawn(move || {
            let found = (host.as_str(), port).to_socket_addrs();
            let found = found.map(|found| found.take(ADDRESSES_MAX).collect());
            // It is set here alone, and a loop that has ended need not wake.
            let _ = told.set(found.map_err(|error| error.to_string()));
            let _ = waker.wake();
        })?;
        self.asked = Some(answer);
        Ok(())
    }

    /// The answer, once it is there.
    pub(super) fn take_answer(&mut self) -> Option<Answer> {
        let answer = self.asked.as_ref()?.get()?.clone();
        self.asked = None;
        Some(answer)
    }
}

/// More than a name of Redis has; a name server may say anything.
const ADDRESSES_MAX: usize = 64;
