//! Saves and restores a whole hub, for a server that continues in another process or with another
//! configuration. The layout of each part is in a `snapshot` method of its type.
//!
//! The state contains the connections with their partial input and pending output, the channels
//! with their members in order, the events of cache channels, the state of the bus, and the
//! counters. Times are saved unchanged: the restoring process must use the same clock. Derived data
//! is rebuilt and not saved (addresses, counts of connections, deadlines in the wheel). Settings
//! are not saved either: those of the restoring hub's configuration apply.
//!
//! A removed app is kept while it has connections: it accepts no new ones, and its open connections
//! are closed over a period (see `orphans`).

mod peers;
mod version;

use std::rc::Rc;

use super::Hub;
use super::app::App;
use super::channel::Kind;
use super::ids::{ConnId, Now};
use super::peer::{Membership, Peer, Phase};
use super::pubsub::{Apps, CountDue};
use super::schedule::Held;
use super::staggered::Staggered;
use super::subscription_counts::COUNT_INTERVAL_MS;
use super::work::Lane;
use crate::config::{App as Settings, Config};
use crate::proto::snapshot::{Codec, DecodeError, DecodeResult};
pub use version::state_version;

/// The version at the start of a state that [`Hub::save`] has written; `None` if there is none.
pub fn version_of(state: &[u8]) -> Option<String> {
    // Only the beginning is copied: a version is short, and a state may be long.
    let beginning = state[..state.len().min(64)].to_vec();
    let (mut c, mut version) = (Codec::reader(beginning), String::new());
    c.text(&mut version).ok()?;
    Some(version)
}

impl<T> Hub<T> {
    /// Saves the whole hub. `io` maps a connection's socket to the number that is stored in the
    /// state. The hub keeps all of its data and can continue afterwards.
    ///
    /// # Errors
    ///
    /// The state is inconsistent, which is a bug: encoding itself does not fail.
    pub fn save(
        &mut self,
        now: Now,
        mut io: impl FnMut(ConnId, &mut T) -> u64,
    ) -> Result<Vec<u8>, DecodeError> {
        self.drop_slow(now);
        self.finish_sweep(now);
        self.end_feeds(now);
        self.flush_bus(now);
        let mut c = Codec::writer();
        c.text(&mut state_version())?;
        c.count(self.pubsub.apps.len())?;
        let saved: Vec<bool> = self.pubsub.apps.indexes().map(|at| self.is_saved(at)).collect();
        for (app, saved) in self.pubsub.apps.iter_mut().zip(&saved) {
            let mut id = saved.then(|| app.settings.id.clone());
            c.option(&mut id, Codec::text)?;
        }
        for at in self.pubsub.apps.indexes() {
            c.flag(&mut self.pubsub.is_served(at))?;
        }
        // Channels refer to a member by its index in the saved list of connections. This maps the
        // id of a connection to that index.
        let mut places = Vec::new();
        c.count(self.connections.len())?;
        for (place, id) in self.connections.ids().into_iter().enumerate() {
            let Some(peer) = self.connections.get_mut(id) else { continue };
            places.resize(id.0 as usize + 1, 0);
            places[id.0 as usize] = place as u32;
            c.number(&mut io(id, &mut peer.io))?;
            let before = listing_place(&self.pubsub.apps, peer);
            peer.snapshot(&mut c)?;
            restore_listing_place(peer, before);
            self.connections.schedule.snapshot_held(id, &mut c)?;
        }
        for at in self.pubsub.apps.indexes().filter(|at| saved[*at as usize]) {
            self.save_app(at, &places, &mut c, now)?;
        }
        self.save_leaves(&mut c)?;
        self.connections.counters.numbers().try_for_each(|number| c.number(number))?;
        self.count_messages(now);
        self.save_webhooks(&mut c)?;
        self.save_bus(&mut c)?;
        Ok(c.into_bytes())
    }

    /// Restores the state of another hub into a hub without connections. `io` maps the numbers in
    /// the state to the sockets.
    ///
    /// # Errors
    ///
    /// The state has another version or is incomplete. The hub cannot be used afterwards.
    pub fn restore(
        &mut self,
        state: Vec<u8>,
        now: Now,
        mut io: impl FnMut(u64) -> Option<T>,
    ) -> Result<(), DecodeError> {
        let c = &mut Codec::reader(state);
        let mut version = String::new();
        c.text(&mut version)?;
        if version != state_version() {
            return Err(DecodeError);
        }
        let (apps, has_new) = self.restore_apps(c)?;
        for place in 0..c.count(0)? {
            let mut number = 0;
            c.number(&mut number)?;
            let peer = peers::blank(io(number).ok_or(DecodeError)?);
            self.restore_peer(place, peer, &apps, c)?;
        }
        for &app in apps.iter().flatten() {
            self.restore_app(app, c, now)?;
        }
        self.restore_leaves(&apps, c)?;
        self.connections.counters.numbers().try_for_each(|number| c.number(number))?;
        self.restore_webhooks(c, now)?;
        self.continue_counts();
        self.restore_bus(c, has_new, now)?;
        c.end()?;
        for id in self.connections.ids() {
            // Check each connection once: the owner for its socket, the hub for its deadline.
            self.connections.touch(id);
            self.connections.arm(id, now.ms);
            // There may be input that was read but not handled, or that the socket still holds.
            self.connections.schedule_in(id, Lane::Light);
        }
        let orphans = self.connections.ids().into_iter().filter(|id| self.is_orphan(*id)).collect();
        self.connections.orphans = Some(Staggered::new(orphans, now.ms));
        Ok(())
    }

    /// Switches to another configuration with the same nodes. Each connection gets a new id: its
    /// index in the returned list of old ids.
    ///
    /// # Errors
    ///
    /// The state is inconsistent, which is a bug. The hub cannot be used afterwards.
    pub fn reconfigure(&mut self, config: &Config, now: Now) -> Result<Vec<ConnId>, DecodeError> {
        let mut seed = [0; 32];
        for piece in seed.chunks_mut(8) {
            piece.copy_from_slice(&self.random.number().to_le_bytes());
        }
        let mut old_ids = Vec::new();
        let state = self.save(now, |id, _| {
            old_ids.push(id);
            old_ids.len() as u64 - 1
        })?;
        let app_requests = self.app_requests(&old_ids);
        let next = Hub::new(config, seed, now);
        let mut before = std::mem::replace(self, next);
        let mut ios: Vec<Option<T>> =
            old_ids.iter().map(|id| before.connections.remove(*id).map(|peer| peer.io)).collect();
        let reports = (&mut self.connections.happenings, &mut before.connections.happenings);
        reports.0.listener = reports.1.listener.take();
        self.restore(state, now, |place| ios.get_mut(place as usize)?.take())?;
        self.keep_session(&mut before);
        self.console = before.console.take();
        self.keep_app_requests(app_requests);
        let reports = (&mut self.connections.happenings, &mut before.connections.happenings);
        if let (Some(webhooks), Some(before)) = (reports.0.webhooks_mut(), reports.1.webhooks_mut())
        {
            webhooks.keep_requests(before);
        }
        Ok(old_ids)
    }

    /// Whether the snapshot includes an app. Only a removed app without connections is left out.
    fn is_saved(&self, at: u32) -> bool {
        self.pubsub.apps[at].connections > 0 || self.pubsub.is_served(at)
    }

    /// Saves the unannounced leaves.
    fn save_leaves(&mut self, c: &mut Codec) -> DecodeResult {
        let mut leaves = Vec::new();
        for (app, name) in self.pubsub.pending_leaves.places() {
            let channel = self.pubsub.apps[*app].channel(name);
            let Some(presence) = channel.and_then(|channel| channel.presence.as_deref()) else {
                continue;
            };
            let users = presence.leaves.users.iter();
            leaves.extend(users.map(|user| (*app, Rc::clone(name), Rc::clone(user))));
        }
        c.count(leaves.len())?;
        for (app, channel, user) in &mut leaves {
            c.int(app)?;
            c.text(channel)?;
            c.text(user)?;
        }
        Ok(())
    }

    fn restore_leaves(&mut self, apps: &[Option<u32>], c: &mut Codec) -> DecodeResult {
        for _ in 0..c.count(0)? {
            let (mut app, mut channel, mut user) = (0_u32, String::new(), Rc::from(""));
            c.int(&mut app)?;
            c.text(&mut channel)?;
            c.text(&mut user)?;
            let app = apps.get(app as usize).copied().flatten().ok_or(DecodeError)?;
            let place = self.pubsub.apps[app].place(&channel).ok_or(DecodeError)?;
            self.pubsub.add_leave(app, place, user);
        }
        Ok(())
    }

    /// Saves the webhooks, if there are any.
    fn save_webhooks(&mut self, c: &mut Codec) -> DecodeResult {
        let mut bytes = Vec::new();
        if let Some(webhooks) = self.connections.happenings.webhooks_mut() {
            let mut inner = Codec::writer();
            webhooks.save(&mut inner)?;
            bytes = inner.into_bytes();
        }
        c.bytes(&mut bytes)
    }

    /// Restores the webhooks. If the configuration has none any more, nothing is left to send.
    fn restore_webhooks(&mut self, c: &mut Codec, now: Now) -> DecodeResult {
        let mut bytes = Vec::new();
        c.bytes(&mut bytes)?;
        if let Some(webhooks) = self.connections.happenings.webhooks_mut()
            && !bytes.is_empty()
        {
            webhooks.set_now(now);
            let mut inner = Codec::reader(bytes);
            webhooks.restore(&mut inner)?;
            inner.end()?;
        }
        Ok(())
    }

    fn save_app(&mut self, at: u32, places: &[u32], c: &mut Codec, now: Now) -> DecodeResult {
        self.connections.counters.apps[at as usize]
            .numbers()
            .into_iter()
            .try_for_each(|n| c.number(n))?;
        let app = &mut self.pubsub.apps[at];
        c.list(&mut app.elsewhere.0, Codec::int)?;
        app.cache.snapshot(c, now.ms)?;
        c.count(app.channels.len())?;
        for (channel_place, channel) in &mut app.channels {
            c.text(&mut channel.name)?;
            channel.snapshot(c)?;
            c.count(channel.members.len())?;
            for &id in &channel.members {
                let subscriber = self.connections.subscriber(id).ok_or(DecodeError)?;
                let membership = subscriber.membership(channel_place as u32).ok_or(DecodeError)?;
                let mut user = membership.user.clone().unwrap_or_else(|| "".into());
                c.int(places.get(id.0 as usize).copied().as_mut().ok_or(DecodeError)?)?;
                c.text(&mut user)?;
            }
        }
        Ok(())
    }

    /// Returns the index of each saved app in this hub, `None` if the app was not saved; and
    /// whether this hub serves an app that the saved hub did not serve.
    fn restore_apps(&mut self, c: &mut Codec) -> Result<(Vec<Option<u32>>, bool), DecodeError> {
        let mut apps: Vec<Option<u32>> = Vec::new();
        let mut is_restored = vec![false; self.pubsub.apps.len()];
        for _ in 0..c.count(0)? {
            let mut id: Option<String> = None;
            c.option(&mut id, Codec::text)?;
            let known = id.as_ref().and_then(|id| self.pubsub.by_id.get(id).copied());
            // Two saved apps may have one id: a removed app and the app that was added again.
            let known =
                known.filter(|known| !std::mem::replace(&mut is_restored[*known as usize], true));
            apps.push(id.map(|id| known.unwrap_or_else(|| self.add_orphaned_app(id))));
        }
        let mut is_new = vec![false; self.pubsub.apps.len()];
        self.pubsub.by_id.values().for_each(|at| is_new[*at as usize] = true);
        for app in &apps {
            let mut is_served = false;
            c.flag(&mut is_served)?;
            if let Some(app) = app.filter(|_| is_served) {
                is_new[app as usize] = false;
            }
        }
        Ok((apps, is_new.contains(&true)))
    }

    /// Adds an app without an entry in `by_id` or `by_key`, with a random key and secret.
    fn add_orphaned_app(&mut self, id: String) -> u32 {
        let mut random = || format!("{:016x}{:016x}", self.random.number(), self.random.number());
        let settings = Settings::new(id, random(), random());
        self.connections.happenings.add_app(&settings.id);
        self.connections.counters.apps.push(Default::default());
        let id = settings.id.clone();
        let app = App::new(settings, &self.connections.limits, &mut self.random);
        let at = self.pubsub.apps.push(app);
        self.pubsub.removed.insert(id, at);
        at
    }

    fn restore_app(&mut self, at: u32, c: &mut Codec, now: Now) -> DecodeResult {
        let counters = &mut self.connections.counters.apps[at as usize];
        counters.numbers().into_iter().try_for_each(|number| c.number(number))?;
        let app = &mut self.pubsub.apps[at];
        c.list(&mut app.elsewhere.0, Codec::int)?;
        app.cache.snapshot(c, now.ms)?;
        for _ in 0..c.count(0)? {
            self.restore_channel(at, c, now)?;
        }
        Ok(())
    }

    fn restore_channel(&mut self, at: u32, c: &mut Codec, now: Now) -> DecodeResult {
        let mut name = String::new();
        c.text(&mut name)?;
        let app = &mut self.pubsub.apps[at];
        let (place, is_new) = app.occupy(&name, Kind::of(&name));
        let channel = app.channels.get_mut(place as usize).filter(|_| is_new).ok_or(DecodeError)?;
        channel.snapshot(c)?;
        let count = c.count(0)?;
        channel.members.reserve_exact(count);
        for index in 0..count as u32 {
            let (mut id, mut user) = (ConnId(0), String::new());
            c.int(&mut id.0)?;
            c.text(&mut user)?;
            let subscriber = self.connections.subscriber_mut(id);
            let subscriber =
                subscriber.filter(|subscriber| subscriber.app == at).ok_or(DecodeError)?;
            let user = match &mut channel.presence {
                Some(presence) => Some(presence.restore_member(&user).ok_or(DecodeError)?),
                None => None,
            };
            channel.members.push(id);
            subscriber.add_membership(Membership { channel: place, index, user });
        }
        if channel.count_due {
            let (ms, channel) = (now.ms + COUNT_INTERVAL_MS, Rc::clone(&channel.name));
            self.pubsub.counts_due.push_back(CountDue { ms, app: at, channel });
        }
        Ok(())
    }

    fn restore_peer(
        &mut self,
        place: usize,
        mut peer: Peer<T>,
        apps: &[Option<u32>],
        c: &mut Codec,
    ) -> DecodeResult {
        peer.snapshot(c)?;
        let mut held = None;
        c.option(&mut held, Held::snapshot)?;
        match &mut peer.phase {
            Phase::Request(request) => {
                self.connections.api_requests += u32::from(request.is_counted);
                if let Some(listing) = &mut request.listing {
                    match apps.get(listing.app as usize).copied().flatten() {
                        Some(app) => (listing.app, request.app) = (app, app),
                        // The app was removed: the rest of its list cannot be sent.
                        None => peer.phase = Phase::Closing(peers::blank_closing()),
                    }
                }
            }
            Phase::Open(subscriber) => {
                subscriber.app =
                    apps.get(subscriber.app as usize).copied().flatten().ok_or(DecodeError)?;
                self.pubsub.apps[subscriber.app].connections += 1;
                let origin = subscriber.origin.take();
                subscriber.origin =
                    origin.and_then(|origin| self.connections.origins.share(origin.as_str()));
            }
            Phase::Viewing(_) | Phase::Closing(_) => {}
        }
        self.connections.addresses.add(peer.address);
        let id = self.connections.insert(peer);
        if let Some(held) = held {
            self.connections.schedule.hold(id, held);
        }
        if id.0 as usize == place { Ok(()) } else { Err(DecodeError) }
    }
}

/// Converts the place of a listing into the number of channels before it; the hub that restores it
/// assigns new places in the same order. Returns the original place.
fn listing_place<T>(apps: &Apps, peer: &mut Peer<T>) -> usize {
    let Phase::Request(request) = &mut peer.phase else { return 0 };
    let Some(listing) = &mut request.listing else { return 0 };
    let before = listing.place;
    let channels = apps.get(listing.app).map(|app| &app.channels);
    listing.place =
        channels.map_or(0, |channels| channels.iter().take_while(|(at, _)| *at < before).count());
    before
}

fn restore_listing_place<T>(peer: &mut Peer<T>, place: usize) {
    if let Phase::Request(request) = &mut peer.phase
        && let Some(listing) = &mut request.listing
    {
        listing.place = place;
    }
}
