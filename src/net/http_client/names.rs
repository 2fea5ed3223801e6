//! The addresses of host names for the HTTP client. Connections to one name share a lookup, and a
//! recent answer is used again: a server that closes its connection after each response must not
//! cost a lookup for each request. The threads are in `resolve`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::Waker;

use crate::config::HostPort;
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
    Pending { resolver: Resolver, since_ms: u64 },
    Known { answer: Answer, until_ms: u64 },
}

/// The addresses of a name, or why there are none.
type Answer = Result<Vec<SocketAddr>, String>;

impl Names {
    /// The waker wakes the poller after each answer.
    pub(in crate::net) fn new(waker: &Arc<Waker>) -> Self {
        Names { waker: Arc::clone(waker), entries: HashMap::new(), pending: 0 }
    }

    /// The addresses of a name, or why there are none. `None` until the answer has arrived: call
    /// again each time the poller was woken.
    pub(in crate::net) fn look_up(&mut self, host: &str, port: u16, now: Now) -> Option<Answer> {
        let key = (host.to_owned(), port);
        self.collect(&key, now);
        match self.entries.get(&key) {
            Some(Entry::Known { answer, until_ms }) if now.ms < *until_ms => Some(answer.clone()),
            Some(Entry::Pending { .. }) => None,
            Some(Entry::Known { .. }) | None => self.begin(key, now),
        }
    }

    /// Keeps the answer of a pending lookup, if it has arrived.
    fn collect(&mut self, key: &(String, u16), now: Now) {
        let Some(Entry::Pending { resolver, since_ms }) = self.entries.get_mut(key) else { return };
        let host = HostPort { host: key.0.clone(), port: key.1 };
        let answer = match resolver.look_up(&host) {
            Ok(None) => return,
            Ok(Some(answer)) => answer,
            Err(error) => Err(error.to_string()),
        };
        // The request that began the lookup may have ended long ago.
        let is_recent = now.ms < *since_ms + RECENT_MS;
        let kept_ms = if answer.is_ok() { KEPT_MS } else { ERROR_KEPT_MS };
        let until_ms = if is_recent { now.ms + kept_ms } else { now.ms };
        self.pending -= 1;
        self.entries.insert(key.clone(), Entry::Known { answer, until_ms });
    }

    fn begin(&mut self, key: (String, u16), now: Now) -> Option<Answer> {
        if self.pending >= PENDING_MAX {
            let keys: Vec<_> = self.entries.keys().cloned().collect();
            keys.iter().for_each(|key| self.collect(key, now));
        }
        // The end of another lookup wakes the poller, and the caller tries again.
        if self.pending >= PENDING_MAX {
            return None;
        }
        if self.entries.len() >= ENTRIES_MAX {
            self.entries.retain(|_, entry| match entry {
                Entry::Pending { .. } => true,
                Entry::Known { until_ms, .. } => now.ms < *until_ms,
            });
        }
        let mut resolver = Resolver::new(&self.waker);
        let host = HostPort { host: key.0.clone(), port: key.1 };
        if let Err(error) = resolver.look_up(&host) {
            return Some(Err(error.to_string()));
        }
        self.entries.insert(key, Entry::Pending { resolver, since_ms: now.ms });
        self.pending += 1;
        None
    }
}

/// How long an answer is used, in milliseconds. Name servers allow more for most names; a webhook
/// that moves to another address is reached after this time.
const KEPT_MS: u64 = 5_000;
/// How long an error is used: for the other connections to the name, and less than the pause of a
/// second before a request is sent again.
const ERROR_KEPT_MS: u64 = 500;
/// The time after which the answer of a lookup is not used: name servers respond within half a
/// minute, or not at all.
const RECENT_MS: u64 = 60_000;
/// The most lookups at once, each on a thread of its own. A lookup takes milliseconds, or up to
/// half a minute if a name server does not respond.
const PENDING_MAX: usize = 64;
/// The number of entries from which expired ones are removed.
const ENTRIES_MAX: usize = 1_024;
