//! Changes the apps of a running hub one by one: an app is added, changed or removed, and the others
//! notice nothing. Which apps there are is up to the owner.
//!
//! An app keeps its index: what is stored with an index cannot come to belong to another app. A
//! removed app therefore leaves an unused place behind, which [`Hub::reconfigure`] frees.
//!
//! Connections that a change concerns are found by a *sweep* over all connections, a few of them in
//! each step.

use std::collections::BTreeSet;

use super::Hub;
use super::app::App;
use super::ids::{ConnId, Now};
use super::peer::{Phase, Viewing};
use super::staggered::Staggered;
use super::upgrade::{APP_DISABLED, origin_is_allowed};
use crate::config::App as Settings;

/// A pass over all connections, which finds those that changes of apps concern.
#[derive(Debug)]
pub(super) struct Sweep {
    /// The changed apps, in order.
    apps: Vec<u32>,
    /// The number of the next connection.
    next: u32,
    /// The connections of removed apps that were found.
    orphans: Vec<ConnId>,
    /// When the next step is due.
    next_ms: u64,
}

impl Sweep {
    /// When the next step is due.
    pub(super) fn next_ms(&self) -> u64 {
        self.next_ms
    }
}

/// Connections in one step of a sweep. A step takes 0.2 ms, and 4 ms if all of them must be closed.
const SWEEP_CONNECTIONS: u32 = 1_000;
/// Milliseconds from one step to the next.
const SWEEP_STEP_MS: u64 = 1;

impl<T> Hub<T> {
    /// Adds an app, or changes the one with this id. Changed limits apply at once; connections with an
    /// origin that is not allowed any more are closed, and all of them if the app is not enabled.
    /// Returns `false`, and changes nothing, if another app has the key.
    pub fn put_app(&mut self, settings: Settings, now: Now) -> bool {
        self.connections.happenings.set_now(now);
        let known = self.pubsub.by_id.get(&settings.id).copied();
        if self.pubsub.by_key.get(&settings.key).is_some_and(|at| Some(*at) != known) {
            return false;
        }
        match known {
            Some(at) => self.change_app(at, settings, now),
            None => self.add_app(settings, now),
        }
        true
    }

    /// Removes an app. Its connections are closed with 4200, spread over `drain_window_ms`. Returns
    /// whether there was such an app.
    pub fn remove_app(&mut self, id: &str, now: Now) -> bool {
        self.connections.happenings.set_now(now);
        let Some(at) = self.pubsub.by_id.remove(id) else { return false };
        let app = &mut self.pubsub.apps[at];
        app.cache.clear();
        self.pubsub.by_key.remove(&app.settings.key);
        self.pubsub.removed.insert(id.to_owned(), at);
        if let Some(webhooks) = self.connections.happenings.webhooks_mut() {
            webhooks.remove_app(at);
        }
        self.pubsub.remove_facts_of_app(&mut self.connections, at, now);
        self.begin_sweep(at, now);
        self.drop_slow(now);
        true
    }

    /// How many places removed apps, and webhooks that were replaced, have left behind.
    pub fn unused_places(&self) -> usize {
        let webhooks = self.connections.happenings.webhooks();
        let hooks = webhooks.map_or(0, |webhooks| webhooks.unused_hooks() as usize);
        self.pubsub.apps.len() - self.pubsub.by_id.len() + hooks
    }

    /// The ids of the apps in the order of their counters. It includes those of places that removed
    /// apps have left.
    pub fn app_ids(&self) -> impl Iterator<Item = &str> {
        self.pubsub.apps.indexes().map(|at| &*self.pubsub.apps[at].settings.id)
    }

    /// Sets the number of files of apps that cannot be served as they are, for a metric.
    pub fn set_bad_app_files(&mut self, count: usize) {
        self.bad_app_files = count;
    }

    fn add_app(&mut self, settings: Settings, now: Now) {
        let (id, key) = (settings.id.clone(), settings.key.clone());
        let at = match self.pubsub.removed.remove(&id) {
            // Its connections that are still open stay open.
            Some(at) => {
                self.pubsub.apps[at].set_settings(settings);
                at
            }
            None => {
                self.connections.happenings.add_app(&id);
                self.connections.counters.apps.push(Default::default());
                let app = App::new(settings, &self.connections.limits, &mut self.random);
                self.pubsub.apps.push(app)
            }
        };
        self.pubsub.by_id.insert(id, at);
        self.pubsub.by_key.insert(key, at);
        self.set_webhooks_of(at);
        self.begin_sweep(at, now);
        // Their items about this app were ignored until now.
        self.pubsub.bus.iter_mut().for_each(|bus| bus.request_syncs_of_new_apps());
    }

    fn change_app(&mut self, at: u32, settings: Settings, now: Now) {
        let app = &mut self.pubsub.apps[at];
        if app.settings == settings {
            return;
        }
        if app.settings.key != settings.key {
            self.pubsub.by_key.remove(&app.settings.key);
            self.pubsub.by_key.insert(settings.key.clone(), at);
        }
        let old = &app.settings;
        let has_other_webhooks = (&old.webhooks, &old.key, &old.secret)
            != (&settings.webhooks, &settings.key, &settings.secret);
        app.set_settings(settings);
        if has_other_webhooks {
            self.set_webhooks_of(at);
        }
        self.begin_sweep(at, now);
    }

    fn set_webhooks_of(&mut self, at: u32) {
        if let Some(webhooks) = self.connections.happenings.webhooks_mut() {
            webhooks.set_app(at, &self.pubsub.apps[at].settings);
        }
    }

    /// Begins a sweep for an app, together with the apps of the sweep that has not ended.
    fn begin_sweep(&mut self, app: u32, now: Now) {
        let sweep = self.connections.sweep.get_or_insert_with(|| {
            Box::new(Sweep { apps: Vec::new(), next: 0, orphans: Vec::new(), next_ms: now.ms })
        });
        if let Err(place) = sweep.apps.binary_search(&app) {
            sweep.apps.insert(place, app);
        }
        sweep.next = 0;
        sweep.orphans.clear();
    }

    /// Looks at the next connections of a sweep.
    pub(super) fn continue_sweep(&mut self, now: Now) {
        let Some(mut sweep) = self.connections.sweep.take_if(|it| it.next_ms <= now.ms) else {
            return;
        };
        let slots = self.connections.capacity() as u32;
        let end = sweep.next.saturating_add(SWEEP_CONNECTIONS).min(slots);
        for id in (sweep.next..end).map(ConnId) {
            self.sweep_one(id, &mut sweep, now);
        }
        sweep.next = end;
        if end < slots {
            sweep.next_ms = now.ms + SWEEP_STEP_MS;
            self.connections.sweep = Some(sweep);
        } else if !sweep.orphans.is_empty() {
            self.keep_waiting_orphans(&mut sweep.orphans);
            self.connections.orphans = Some(Staggered::new(sweep.orphans, now.ms));
        }
        self.drop_slow(now);
    }

    /// Ends a sweep at once: a saved state contains none.
    pub(super) fn finish_sweep(&mut self, now: Now) {
        while let Some(sweep) = &mut self.connections.sweep {
            sweep.next_ms = now.ms;
            self.continue_sweep(now);
        }
    }

    fn sweep_one(&mut self, id: ConnId, sweep: &mut Sweep, now: Now) {
        let Some(peer) = self.connections.get(id) else { return };
        let (app, origin) = match &peer.phase {
            Phase::Open(subscriber) => (subscriber.app, subscriber.origin.as_ref()),
            Phase::Viewing(Viewing { app, .. }) => (*app, None),
            Phase::Request(_) | Phase::Closing(_) => return,
        };
        if sweep.apps.binary_search(&app).is_err() {
            return;
        }
        let (is_viewer, is_served) =
            (matches!(peer.phase, Phase::Viewing(_)), self.pubsub.is_served(app));
        let settings = &self.pubsub.apps[app].settings;
        let origin = origin.map(|origin| origin.as_str());
        match (is_viewer, is_served) {
            (true, true) if settings.enabled => {}
            (true, _) => self.connections.end_feed(id, now),
            (false, false) => sweep.orphans.push(id),
            (false, true) if !settings.enabled => {
                self.close_with(id, APP_DISABLED.0, APP_DISABLED.1, now);
            }
            (false, true) if !origin_is_allowed(&settings.allowed_origins, origin) => {
                self.close_with(id, 4009, "Origin not allowed", now);
            }
            (false, true) => {
                let timeout_s = settings.limits.authorization_timeout_s;
                self.connections.arm_authorization(id, timeout_s, now);
            }
        }
    }

    /// Adds the connections that wait to be closed since an earlier change.
    fn keep_waiting_orphans(&mut self, orphans: &mut Vec<ConnId>) {
        let Some(waiting) = self.connections.orphans.take() else { return };
        // Those of the apps of this sweep were found again.
        let found: BTreeSet<ConnId> = orphans.iter().copied().collect();
        orphans.extend(waiting.into_left().filter(|id| !found.contains(id)));
    }
}
