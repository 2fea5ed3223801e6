//! One application: its settings, its signer, its channels and its cache. Apps share nothing with
//! each other; the list of apps is in `pubsub`.

use std::collections::HashMap;
use std::rc::Rc;

use slab::Slab;

use super::cache::Cache;
use super::channel::{Channel, Kind};
use super::log_throttle::{LogThrottle, Policy};
use super::random::{Hashing, Random};
use super::token_bucket::TokenBucket;
use crate::config::{App as Settings, Limits};
use crate::proto::auth::Signer;

/// An application as the hub runs it.
pub(crate) struct App {
    pub settings: Settings,
    signer: Signer,
    /// Verifies signatures of the previous secret, while the secret is being replaced.
    previous_signer: Option<Signer>,
    pub channels: Slab<Channel>,
    by_name: HashMap<Rc<str>, u32, Hashing>,
    /// Channels that the API lists and counts.
    pub listed: u32,
    pub cache: Cache,
    /// Open WebSocket connections.
    pub connections: u32,
    /// Open WebSocket connections at other nodes.
    pub elsewhere: Elsewhere,
    /// Events that the API may publish, if `max_backend_events_per_second` is set. Full after a reload.
    pub event_tokens: TokenBucket,
    /// Read requests to the API, if `max_read_requests_per_second` is set. Full after a reload.
    pub read_tokens: TokenBucket,
    /// Throttles the log lines about rejected origins.
    pub origin_log: LogThrottle,
    /// Throttles the log lines about wrong signatures.
    pub signature_log: LogThrottle,
}

/// Connections of an app at other nodes, by the place of each node.
#[derive(Default)]
pub(crate) struct Elsewhere(pub Vec<u32>);

impl Elsewhere {
    pub(crate) fn set(&mut self, node: usize, count: u32) {
        if count > 0 && self.0.len() <= node {
            self.0.resize(node + 1, 0);
        }
        self.0.get_mut(node).into_iter().for_each(|place| *place = count);
    }

    /// Whether the node at this place has connections of the app.
    pub(crate) fn has(&self, node: usize) -> bool {
        self.0.get(node).is_some_and(|count| *count > 0)
    }
}

impl App {
    pub(crate) fn new(settings: Settings, limits: &Limits, random: &mut Random) -> Self {
        let (signer, previous_signer) = signers(&settings);
        let ttl_ms = u64::from(limits.cache_ttl_s) * 1_000;
        let cache = Cache::new(random.hashing(), ttl_ms, limits.cache_bytes as usize);
        let by_name = HashMap::with_hasher(random.hashing());
        App {
            settings,
            signer,
            previous_signer,
            channels: Slab::new(),
            by_name,
            listed: 0,
            cache,
            connections: 0,
            elsewhere: Elsewhere::default(),
            event_tokens: TokenBucket::default(),
            read_tokens: TokenBucket::default(),
            origin_log: LogThrottle::new(Policy::ONE_A_MINUTE),
            signature_log: LogThrottle::new(Policy::ONE_A_MINUTE),
        }
    }

    /// Replaces the settings. The id must be the same.
    pub(crate) fn set_settings(&mut self, settings: Settings) {
        (self.signer, self.previous_signer) = signers(&settings);
        self.settings = settings;
    }

    /// Whether `signature` is that of the joined `parts`, by the secret of the app or the previous
    /// one.
    pub(crate) fn verify(&self, parts: &[&str], signature: &str) -> bool {
        let previous = self.previous_signer.as_ref();
        self.signer.verify(parts, signature)
            || previous.is_some_and(|signer| signer.verify(parts, signature))
    }

    /// Open WebSocket connections at all nodes.
    pub(crate) fn all_connections(&self) -> u64 {
        let elsewhere = self.elsewhere.0.iter().map(|count| u64::from(*count));
        u64::from(self.connections) + elsewhere.sum::<u64>()
    }

    /// The index in `channels` of a channel with subscribers.
    pub(crate) fn place(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// A channel with subscribers.
    pub(crate) fn channel(&self, name: &str) -> Option<&Channel> {
        self.channels.get(self.place(name)? as usize)
    }

    /// A channel with subscribers, mutably.
    pub(crate) fn channel_mut(&mut self, name: &str) -> Option<&mut Channel> {
        let place = self.place(name)?;
        self.channels.get_mut(place as usize)
    }

    /// The index of a channel in `channels`, and whether it was created by this call because it had
    /// no subscribers.
    pub(crate) fn occupy(&mut self, name: &str, kind: Kind) -> (u32, bool) {
        if let Some(place) = self.place(name) {
            return (place, false);
        }
        let name: Rc<str> = name.into();
        let channel = Channel::new(Rc::clone(&name), kind, *self.by_name.hasher());
        let place = self.channels.insert(channel) as u32;
        self.by_name.insert(name, place);
        self.listed += u32::from(kind.is_listed());
        (place, true)
    }

    /// Removes a channel without members.
    pub(crate) fn vacate(&mut self, place: u32) -> Option<Channel> {
        let channel = self.channels.try_remove(place as usize)?;
        self.by_name.remove(&channel.name);
        self.listed -= u32::from(channel.kind.is_listed());
        if self.channels.is_empty() {
            self.channels.shrink_to_fit();
            self.by_name.shrink_to_fit();
        }
        Some(channel)
    }
}

/// The signers of the secret and of the previous one.
fn signers(settings: &Settings) -> (Signer, Option<Signer>) {
    (Signer::new(&settings.secret), settings.previous_secret.as_deref().map(Signer::new))
}
