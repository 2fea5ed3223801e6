//! The addresses of host names for the HTTP client. Connections to one name share a lookup, and a
//! recent answer is used again: a server that closes its connection after each response must not
//! cost a lookup for each request. The threads are in `resolve`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::Waker;

use crate::hub::Now;
use crate::net::resolve::Resolver;

/// Lookups in progress and recent answers.
pub(in crate::net) struct Names {
    waker: Arc<Waker>,
    /// By name and port.
    entries: HashMap<(String, u16), Entry>,
    /// How many of the entries are pending.
    pending: usize,
}

enum Entry {
    Pending(Resolver),
    Known { addresses: Vec<SocketAddr>, until_ms: u64 },
}

impl Names {
    /// The waker wakes the poller after each answer.
    pub(in crate::net) fn new(waker: &Arc<Waker>) -> Self {
        Names { waker: Arc::clone(waker), entries: HashMap::new(), pending: 0 }
    }

    /// The addresses of a name, or why there are none. `None` until the answer has arrived: call
    /// again each time the poller was woken.
    pub(in crate::net) fn look_up(
        &mut self,
        host: &str,
        port: u16,
        now: Now,
    ) -> Option<Result<Vec<SocketAddr>, String>> {
        let key = (host.to_owned(), port);
        match self.entries.get_mut(&key) {
            Some(Entry::Known { addresses, until_ms }) if now.ms < *until_ms => {
                Some(Ok(addresses.clone()))
            }
            Some(Entry::Known { .. }) | None => self.begin(key, now),
            Some(Entry::Pending(resolver)) => {
                let answer = resolver.take_answer()?;
                self.pending -= 1;
                match &answer {
                    Ok(addresses) => {
                        let (addresses, until_ms) = (addresses.clone(), now.ms + KEPT_MS);
                        self.entries.insert(key, Entry::Known { addresses, until_ms });
                    }
                    Err(_) => drop(self.entries.remove(&key)),
                }
                Some(answer)
            }
        }
    }

    fn begin(&mut self, key: (String, u16), now: Now) -> Option<Result<Vec<SocketAddr>, String>> {
        // The end of another lookup wakes the poller, and the caller tries again.
        if self.pending >= PENDING_MAX {
            return None;
        }
        if self.entries.len() >= ENTRIES_MAX {
            self.entries.retain(|_, entry| match entry {
                Entry::Pending(_) => true,
                Entry::Known { until_ms, .. } => now.ms < *until_ms,
            });
        }
        let mut resolver = Resolver::new(&self.waker);
        if let Err(error) = resolver.look_up(&key.0, key.1) {
            return Some(Err(error.to_string()));
        }
        self.entries.insert(key, Entry::Pending(resolver));
        self.pending += 1;
        None
    }
}

/// How long an answer is used, in milliseconds. Name servers allow more for most names; a webhook
/// that moves to another address is reached after this time.
const KEPT_MS: u64 = 5_000;
/// The most lookups at once, each on a thread of its own. A lookup takes milliseconds, or up to
/// half a minute if a name server does not respond.
const PENDING_MAX: usize = 64;
/// The number of entries from which expired ones are removed.
const ENTRIES_MAX: usize = 1_024;
