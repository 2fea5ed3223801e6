//! The whole hub written down and read back, for a server that goes on in another process, or with
//! another configuration.
//!
//! What is carried: connections with all that has half arrived or waits to be sent, channels with
//! their members in order, what cache channels keep, the place among other nodes, and the figures.
//! Times are carried as they are: whoever reads must go on with the same clock. What follows from the
//! rest is found again and not carried (addresses, counts of connections, deadlines in the wheel),
//! and so are settings: those of the configuration that the hub was made from count.
//!
//! An app that the configuration has no more stays, for those of its connections that there are:
//! nobody new finds it, and they are told to go, spread over a time.

mod peers;
mod version;

use std::rc::Rc;

use super::Hub;
use super::app::App;
use super::channel::Kind;
use super::peer::{ConnId, Now, Peer, Phase, Seat};
use super::schedule::Held;
use super::staggered::Staggered;
use super::subscribe::{COUNT_PAUSE_MS, CountDue};
use super::work::Lane;
use crate::config::{App as Settings, Config};
use crate::proto::carry::{Carried, Carrier, Cut};
pub use version::state_version;

/// The version of what [`Hub::freeze`] has written; `None` for what it never writes.
pub fn version_of(state: &[u8]) -> Option<String> {
    // A version is short, and a state may be long.
    let beginning = state[..state.len().min(64)].to_vec();
    let (mut c, mut version) = (Carrier::reader(beginning), String::new());
    c.text(&mut version).ok()?;
    Some(version)
}

impl<T> Hub<T> {
    /// Writes everything down. `io` says by which number the owner of a connection's socket will
    /// know it again. Nothing is lost by it: the hub can go on as if it had not been asked.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn freeze(
        &mut self,
        now: Now,
        mut io: impl FnMut(ConnId, &mut T) -> u64,
    ) -> Result<Vec<u8>, Cut> {
        self.drop_slow(now);
        self.settle_bus(now);
        let mut c = Carrier::writer();
        c.text(&mut state_version())?;
        c.count(self.apps.len())?;
        let kept: Vec<bool> =
            (0..).zip(&self.apps).map(|(at, app)| self.is_kept(at, app)).collect();
        for (app, kept) in self.apps.iter_mut().zip(&kept) {
            let mut id = kept.then(|| app.settings.id.clone());
            c.option(&mut id, Carrier::text)?;
        }
        for (at, app) in (0..).zip(&self.apps) {
            c.flag(&mut self.is_served(at, app))?;
        }
        // A connection is named by its place among all of them.
        let mut places = Vec::new();
        c.count(self.peers.len())?;
        for (place, (id, peer)) in self.peers.iter_mut().enumerate() {
            places.resize(id.0 as usize + 1, 0);
            places[id.0 as usize] = place as u32;
            c.number(&mut io(id, &mut peer.io))?;
            let before = listing_place(&self.apps, peer);
            peer.carry(&mut c)?;
            restore_listing_place(peer, before);
            self.schedule.carry_held(id, &mut c)?;
        }
        for at in (0..self.apps.len()).filter(|at| kept[*at]) {
            self.freeze_app(at, &places, &mut c, now)?;
        }
        self.freeze_leaves(&mut c)?;
        self.peers.counters.numbers().try_for_each(|number| c.number(number))?;
        self.freeze_bus(&mut c)?;
        Ok(c.into_bytes())
    }

    /// Reads what another hub has written down, into one that nobody has come to yet. `io` has the
    /// sockets by their numbers.
    ///
    /// # Errors
    ///
    /// It was not written by this version, or not all of it is there. The hub is of no use then.
    pub fn thaw(
        &mut self,
        state: Vec<u8>,
        now: Now,
        mut io: impl FnMut(u64) -> Option<T>,
    ) -> Result<(), Cut> {
        let c = &mut Carrier::reader(state);
        let mut version = String::new();
        c.text(&mut version)?;
        if version != state_version() {
            return Err(Cut);
        }
        let (apps, has_new) = self.thaw_apps(c)?;
        for place in 0..c.count(0)? {
            let mut number = 0;
            c.number(&mut number)?;
            let peer = peers::blank(io(number).ok_or(Cut)?);
            self.thaw_peer(place, peer, &apps, c)?;
        }
        for &app in apps.iter().flatten() {
            self.thaw_app(app, c, now)?;
        }
        self.thaw_leaves(&apps, c)?;
        self.peers.counters.numbers().try_for_each(|number| c.number(number))?;
        self.thaw_bus(c, has_new, now)?;
        c.end()?;
        for id in self.peers.ids() {
            // Each is looked at once, by the shell and by the wheel, and finds its place again.
            self.peers.touch(id);
            self.peers.arm(id, now.ms);
            // What was read and not handled, or was not read though it could be.
            self.schedule_in(id, Lane::Light);
        }
        let orphans = self.peers.ids().into_iter().filter(|id| self.is_orphan(*id)).collect();
        self.orphans = Some(Staggered::new(orphans, now.ms));
        Ok(())
    }

    /// Goes on with another configuration, of the same nodes. Connections have other names then: the
    /// places of those they had, which are returned.
    ///
    /// # Errors
    ///
    /// None that is known; the hub is of no use then.
    pub fn reconfigure(&mut self, config: &Config, now: Now) -> Result<Vec<ConnId>, Cut> {
        let mut seed = [0; 32];
        for piece in seed.chunks_mut(8) {
            piece.copy_from_slice(&self.random.number().to_le_bytes());
        }
        let mut names = Vec::new();
        let state = self.freeze(now, |id, _| {
            names.push(id);
            names.len() as u64 - 1
        })?;
        let next = Hub::new(config, seed, now);
        let mut before = std::mem::replace(self, next);
        let mut ios: Vec<Option<T>> =
            names.iter().map(|id| before.peers.remove(*id).map(|peer| peer.io)).collect();
        self.peers.listener = before.peers.listener.take();
        self.thaw(state, now, |place| ios.get_mut(place as usize)?.take())?;
        self.keep_link(&mut before);
        Ok(names)
    }

    /// Tells the next of those whose app is no more.
    pub(super) fn close_orphans(&mut self, now: Now) {
        let Some(orphans) = &mut self.orphans else { return };
        for id in orphans.take_due(self.limits.drain_window_ms.into(), now.ms) {
            if self.is_orphan(id) {
                self.close_with(id, 4200, "Application was removed", now);
            }
        }
    }

    fn is_orphan(&self, id: ConnId) -> bool {
        let app = self.peers.get(id).and_then(|peer| peer.subscriber()).map(|s| s.app);
        app.is_some_and(|app| self.by_id.get(&self.apps[app as usize].settings.id) != Some(&app))
    }

    /// Whether an app is to be carried: not if it is no more, and the last of its connections has
    /// gone as well.
    fn is_kept(&self, at: u32, app: &App) -> bool {
        app.connections > 0 || self.is_served(at, app)
    }

    /// Whether the configuration has an app.
    pub(super) fn is_served(&self, at: u32, app: &App) -> bool {
        self.by_id.get(&app.settings.id) == Some(&at)
    }

    fn freeze_leaves(&mut self, c: &mut Carrier) -> Carried {
        let mut leaves = Vec::new();
        for (app, name) in self.pending_leaves.places() {
            let channel = self.apps[*app as usize].channel(name);
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

    fn thaw_leaves(&mut self, apps: &[Option<u32>], c: &mut Carrier) -> Carried {
        for _ in 0..c.count(0)? {
            let (mut app, mut channel, mut user) = (0_u32, String::new(), Rc::from(""));
            c.int(&mut app)?;
            c.text(&mut channel)?;
            c.text(&mut user)?;
            let app = apps.get(app as usize).copied().flatten().ok_or(Cut)?;
            let place = self.apps[app as usize].place(&channel).ok_or(Cut)?;
            self.add_leave(app, place, user);
        }
        Ok(())
    }

    fn freeze_app(&mut self, at: usize, places: &[u32], c: &mut Carrier, now: Now) -> Carried {
        self.peers.counters.apps[at].numbers().into_iter().try_for_each(|n| c.number(n))?;
        let app = &mut self.apps[at];
        c.list(&mut app.elsewhere.0, Carrier::int)?;
        app.cache.carry(c, now.ms)?;
        c.count(app.channels.len())?;
        for (channel_place, channel) in &mut app.channels {
            c.text(&mut channel.name)?;
            channel.carry(c)?;
            c.count(channel.members.len())?;
            for &id in &channel.members {
                let subscriber =
                    self.peers.get(id).and_then(|peer| peer.subscriber()).ok_or(Cut)?;
                let seat = subscriber.seat(channel_place as u32).ok_or(Cut)?;
                let mut user = seat.user.clone().unwrap_or_else(|| "".into());
                c.int(places.get(id.0 as usize).copied().as_mut().ok_or(Cut)?)?;
                c.text(&mut user)?;
            }
        }
        Ok(())
    }

    /// The index of each carried app in this hub, `None` if it was not kept; and whether this hub
    /// serves an app that the other did not.
    fn thaw_apps(&mut self, c: &mut Carrier) -> Result<(Vec<Option<u32>>, bool), Cut> {
        let mut apps: Vec<Option<u32>> = Vec::new();
        for _ in 0..c.count(0)? {
            let mut id: Option<String> = None;
            c.option(&mut id, Carrier::text)?;
            let known = id.as_ref().and_then(|id| self.by_id.get(id).copied());
            // There may be one that was removed beside one that came again.
            let known = known.filter(|known| !apps.contains(&Some(*known)));
            apps.push(id.map(|id| known.unwrap_or_else(|| self.add_orphaned_app(id))));
        }
        let mut new: Vec<u32> = self.by_id.values().copied().collect();
        for app in &apps {
            let mut is_served = false;
            c.flag(&mut is_served)?;
            new.retain(|new| Some(*new) != app.filter(|_| is_served));
        }
        Ok((apps, !new.is_empty()))
    }

    /// Adds an app that nobody can find or sign for.
    fn add_orphaned_app(&mut self, id: String) -> u32 {
        let mut random = || format!("{:016x}{:016x}", self.random.number(), self.random.number());
        let settings = Settings::new(id, random(), random());
        self.peers.app_ids.push(Rc::from(settings.id.as_str()));
        self.peers.counters.apps.push(Default::default());
        self.apps.push(App::new(settings, &self.limits, &mut self.random));
        self.apps.len() as u32 - 1
    }

    fn thaw_app(&mut self, at: u32, c: &mut Carrier, now: Now) -> Carried {
        let counters = &mut self.peers.counters.apps[at as usize];
        counters.numbers().into_iter().try_for_each(|number| c.number(number))?;
        let app = &mut self.apps[at as usize];
        c.list(&mut app.elsewhere.0, Carrier::int)?;
        app.cache.carry(c, now.ms)?;
        for _ in 0..c.count(0)? {
            self.thaw_channel(at, c, now)?;
        }
        Ok(())
    }

    fn thaw_channel(&mut self, at: u32, c: &mut Carrier, now: Now) -> Carried {
        let mut name = String::new();
        c.text(&mut name)?;
        let app = &mut self.apps[at as usize];
        let (place, is_new) = app.occupy(&name, Kind::of(&name));
        let channel = app.channels.get_mut(place as usize).filter(|_| is_new).ok_or(Cut)?;
        channel.carry(c)?;
        let count = c.count(0)?;
        channel.members.reserve_exact(count);
        for index in 0..count as u32 {
            let (mut id, mut user) = (ConnId(0), String::new());
            c.int(&mut id.0)?;
            c.text(&mut user)?;
            let subscriber = self.peers.get_mut(id).and_then(|peer| peer.subscriber_mut());
            let subscriber = subscriber.filter(|subscriber| subscriber.app == at).ok_or(Cut)?;
            let user = match &mut channel.presence {
                Some(presence) => Some(presence.come_back(&user).ok_or(Cut)?),
                None => None,
            };
            channel.members.push(id);
            subscriber.take_seat(Seat { channel: place, index, user });
        }
        if channel.count_due {
            let (ms, channel) = (now.ms + COUNT_PAUSE_MS, Rc::clone(&channel.name));
            self.counts_due.push_back(CountDue { ms, app: at, channel });
        }
        Ok(())
    }

    fn thaw_peer(
        &mut self,
        place: usize,
        mut peer: Peer<T>,
        apps: &[Option<u32>],
        c: &mut Carrier,
    ) -> Carried {
        peer.carry(c)?;
        let mut held = None;
        c.option(&mut held, Held::carry)?;
        match &mut peer.phase {
            Phase::Request(request) => {
                self.api_requests += u32::from(request.checked);
                if let Some(listing) = &mut request.listing {
                    match apps.get(listing.app as usize).copied().flatten() {
                        Some(app) => listing.app = app,
                        // The app was removed, and the rest of its list with it.
                        None => peer.phase = Phase::Closing(peers::blank_closing()),
                    }
                }
            }
            Phase::Open(subscriber) => {
                subscriber.app = apps.get(subscriber.app as usize).copied().flatten().ok_or(Cut)?;
                self.apps[subscriber.app as usize].connections += 1;
            }
            Phase::Closing(_) => {}
        }
        self.addresses.come(peer.address);
        let id = self.peers.insert(peer);
        if let Some(held) = held {
            self.schedule.hold(id, held);
        }
        if id.0 as usize == place { Ok(()) } else { Err(Cut) }
    }

    // Without Redis there is no bus to carry.
    #[cfg(not(feature = "redis"))]
    fn settle_bus(&mut self, _now: Now) {}

    #[cfg(not(feature = "redis"))]
    fn keep_link(&mut self, _before: &mut Self) {}

    #[cfg(not(feature = "redis"))]
    fn freeze_bus(&mut self, _c: &mut Carrier) -> Carried {
        Ok(())
    }

    #[cfg(not(feature = "redis"))]
    fn thaw_bus(&mut self, _c: &mut Carrier, _has_new: bool, _now: Now) -> Carried {
        Ok(())
    }
}

/// Converts the place of a listing into the number of channels before it; the hub that restores it
/// assigns new places in the same order. Returns the original place.
fn listing_place<T>(apps: &[App], peer: &mut Peer<T>) -> usize {
    let Phase::Request(request) = &mut peer.phase else { return 0 };
    let Some(listing) = &mut request.listing else { return 0 };
    let before = listing.place;
    let channels = apps.get(listing.app as usize).map(|app| &app.channels);
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
