//! The console: a page that shows in a browser what the server does, and the requests of the page.
//! It has a port of its own.
//!
//! ```text
//! request --> guard: Host, Origin, session --> routes --> document, overview, channels,
//!                                                   channel, signature, actions
//! server  --> samples: a ring of the last ten minutes
//! ```
//!
//! What the page shows live is the feed (`hub/feed`), with the lines of all apps. The secret of an app
//! is in no response but that to the request which has made it.

mod actions;
mod admin;
mod channel;
mod channels;
mod document;
mod guard;
mod overview;
mod responses;
mod routes;
mod samples;
mod signature;

use std::time::Duration;

pub use admin::AppRequest;
pub use guard::ConsoleKeys;

use super::Hub;
use super::ids::Now;
use crate::config::Config;
use admin::Admin;
use guard::Guard;
use samples::Samples;

/// Whether there can be a console: without the feature the configuration has none, and the compiler
/// leaves out what only a console needs.
pub(super) const HAS_CONSOLE: bool = cfg!(feature = "console");

/// The console of a server.
pub(super) struct Console {
    guard: Guard,
    samples: Samples,
    /// Requests about apps.
    admin: Admin,
    /// Whether it may publish, disconnect clients and change apps.
    may_write: bool,
}

impl<T> Hub<T> {
    /// Opens the console: from now on its port answers requests, and the hub keeps samples.
    pub fn open_console(&mut self, keys: &ConsoleKeys, config: &Config, now: Now) {
        if HAS_CONSOLE {
            self.console = Some(Box::new(Console {
                guard: Guard::new(keys, config),
                samples: Samples::new(now),
                admin: Admin::default(),
                may_write: config.server.console.write,
            }));
        }
    }

    /// When [`Hub::sample`] is next due, if there is a console.
    pub fn next_sample_ms(&self) -> Option<u64> {
        self.console.as_deref().filter(|_| HAS_CONSOLE).map(|it| it.samples.next_ms())
    }

    /// Adds a sample of the server's state to the ring of the console. `memory_bytes` is the memory
    /// that the process uses.
    pub fn sample(&mut self, memory_bytes: u64, now: Now) {
        let Some(console) = self.console.as_deref_mut().filter(|_| HAS_CONSOLE) else { return };
        console.samples.add(&self.connections, &self.pubsub, memory_bytes, now);
    }

    /// Counts a turn of the event loop that took this long.
    pub fn end_turn(&mut self, took: Duration) {
        self.connections.counters.turns.count(took);
        let answered = std::mem::take(&mut self.connections.answered);
        if let Some(console) = self.console.as_deref_mut().filter(|_| HAS_CONSOLE) {
            console.samples.count_turn(answered, took);
        }
    }
}
