//! Webhooks: HTTP requests by which the application learns what happens in the hub (protocol
//! section 15). The hub decides which events are sent, when, and in which order; the owner of the
//! sockets sends the requests.
//!
//! ```text
//! happenings --> events --> hook: an open batch --> endpoint: a queue for each URL --> requests
//!                  |                                     |
//!                  +--> changes: unreported states      +--> spool
//! ```
//!
//! An event is formatted, filtered and added to the open batch of each webhook that covers it. A
//! batch is complete after `batch_ms`, with a hundred events, or with 64 KiB. Its body does not change
//! afterwards, so every attempt to send it has the same signature.

mod apps;
mod calls;
mod changes;
mod counts;
mod delivery;
mod endpoint;
mod endpoints;
mod events;
mod hook;
mod interval;
mod metrics;
mod misses;
mod owners;
mod request;
mod shared;
mod snapshot;
mod spool;
mod states;
mod timers;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::rc::Rc;

use super::counters::counters;
use super::ids::Now;
use super::random::Random;
use super::sample::Sample;
use super::wall_clock::WallClock;
use crate::config::{Config, Limits, WebhookEvent, WebhookEvents};
use crate::proto::auth::Signer;
use crate::proto::spool::SpoolRecord;
use changes::Changes;
pub(in crate::hub) use changes::{Reported, Subject};
use endpoint::Endpoint;
use endpoints::Endpoints;
use hook::Hook;
use interval::Interval;
use misses::Misses;
use owners::Owners;
pub use request::{EndpointId, WebhookOutcome, WebhookRequest};
pub(in crate::hub) use shared::{Cluster, Report};
pub(crate) use timers::Timers;

/// The webhooks of all apps.
pub(in crate::hub) struct Webhooks {
    /// By the index of the app.
    apps: Vec<AppHooks>,
    /// The index of each app.
    by_app: BTreeMap<Rc<str>, u32>,
    /// Those of an app follow each other.
    hooks: Vec<Hook>,
    /// How many of them were replaced or removed.
    unused_hooks: u32,
    endpoints: Endpoints,
    /// The id of the next endpoint.
    next_endpoint: u32,
    /// When open batches are complete, with the index of the webhook. An entry with another time
    /// than the batch has is outdated.
    complete: Timers,
    /// When endpoints are tried again.
    retries: Timers,
    /// Endpoints that may send.
    ready: VecDeque<u32>,
    /// The bytes that wait, for all URLs.
    bytes: usize,
    changes: Changes,
    /// Whether the last tick used up its units before it had checked all changes that are due.
    has_due_left: bool,
    owners: Owners,
    /// Whether there may be other nodes.
    is_shared: bool,
    /// Since when Redis is connected.
    up_since_ms: Option<u64>,
    /// Reports for the other nodes.
    to_publish: Vec<Report>,
    misses: Misses,
    /// When the numbers of messages are reported; `None` if no webhook covers them.
    counts: Option<Interval>,
    /// Seconds between two of these reports.
    counts_interval_s: u32,
    /// Records for the spool; `None` without one.
    spool: Option<VecDeque<SpoolRecord>>,
    /// The id of the next batch.
    next_delivery: u128,
    /// Units of work that were not counted yet.
    units: u64,
    limits: Limits,
    now: Now,
    wall: WallClock,
    /// Reused for each event.
    scratch: String,
}

/// The webhooks of an app.
struct AppHooks {
    id: Rc<str>,
    /// The key of the app.
    key: String,
    signer: Signer,
    /// The events of all of its webhooks.
    events: WebhookEvents,
    hooks: Range<u32>,
    /// The received and sent messages that are reported, of each second.
    samples: [Sample<1_000>; 2],
    /// The messages sent and received up to the last report of their number.
    counted: [u64; 2],
    /// Events that wait.
    waiting: u64,
    counters: WebhookCounters,
}

counters! {
    /// The counters of webhooks of one app.
    pub struct WebhookCounters {
        /// Events that a webhook has acknowledged.
        sent: "reverb_webhook_events_sent_total", "Events that a webhook has acknowledged.";
        /// Events that were dropped.
        dropped: "reverb_webhook_events_dropped_total", "Events dropped for lack of room or after 290 s.";
        /// Requests.
        requests: "reverb_webhook_requests_total", "Requests to webhooks.";
        /// Requests after a failure.
        retried: "reverb_webhook_retries_total", "Requests to webhooks that repeat a failed one.";
        /// The duration of all requests in milliseconds.
        request_ms: "", "";
    }
}

/// Whether there can be webhooks: without the feature, [`Webhooks::new`] never returns any, and the
/// compiler leaves out what only they need.
pub(in crate::hub) const HAS_WEBHOOKS: bool = cfg!(feature = "webhooks");

impl Webhooks {
    /// The webhooks of a configuration, if it has any, or if apps may be added.
    pub(in crate::hub) fn new(
        config: &Config,
        random: &mut Random,
        is_shared: bool,
        now: Now,
    ) -> Option<Box<Self>> {
        let may_have = config.apps.iter().any(|app| !app.webhooks.is_empty());
        if !HAS_WEBHOOKS || !(may_have || config.server.apps_dir.is_some()) {
            return None;
        }
        let (hashing, limits) = (random.hashing(), config.limits.clone());
        let mut webhooks = Box::new(Webhooks {
            apps: Vec::new(),
            by_app: BTreeMap::new(),
            hooks: Vec::new(),
            unused_hooks: 0,
            endpoints: Endpoints::default(),
            next_endpoint: 0,
            complete: Timers::default(),
            retries: Timers::default(),
            ready: VecDeque::new(),
            bytes: 0,
            changes: Changes::new(hashing, limits.webhook_changes as usize),
            has_due_left: false,
            owners: Owners::default(),
            is_shared,
            up_since_ms: None,
            to_publish: Vec::new(),
            misses: Misses::new(hashing),
            counts: None,
            counts_interval_s: config.server.pulse_interval_s,
            spool: config.server.webhook_spool.as_ref().map(|_| VecDeque::new()),
            next_delivery: u128::from(random.number()) << 64,
            units: 0,
            limits,
            now,
            wall: WallClock::new(now),
            scratch: String::new(),
        });
        webhooks.owners.is_unsettled = is_shared;
        (0..).zip(&config.apps).for_each(|(index, app)| webhooks.set_app(index, app));
        Some(webhooks)
    }

    /// The endpoint of a URL; it is added if there is none yet.
    fn endpoint_of(&mut self, url: &crate::config::Url) -> u32 {
        if let Some(id) = self.endpoints.of_url(url) {
            return id;
        }
        let id = self.next_endpoint;
        self.next_endpoint += 1;
        self.endpoints.insert(Endpoint::new(id, Rc::new(url.clone())));
        id
    }

    /// Sets the time of the following calls.
    pub(in crate::hub) fn set_now(&mut self, now: Now) {
        self.now = now;
    }

    /// Whether a webhook of an app covers an event.
    pub(in crate::hub) fn wants(&self, app: u32, event: WebhookEvent) -> bool {
        self.apps.get(app as usize).is_some_and(|app| app.events.has(event))
    }

    /// Milliseconds of Unix time.
    fn unix_ms(&mut self) -> u64 {
        self.wall.unix_ms(self.now)
    }

    /// The units of work since the last call.
    pub(in crate::hub) fn take_units(&mut self) -> u64 {
        std::mem::take(&mut self.units)
    }
}
