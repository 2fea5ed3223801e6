//! Telling another node everything that is here, a little at a time, among all else that is said:
//! what changes meanwhile is told as it changes, so that in the end everything is known.

use super::super::Hub;
use super::super::app::App;
use super::super::peer::Now;
use super::super::signin;
use super::Bus;
use crate::proto::envelope::{ITEMS_BYTES, Item};
use crate::proto::websocket;

/// How far everything has been told.
pub(super) struct Telling {
    /// Whether what cache channels keep is told as well.
    pub kept: bool,
    has_begun: bool,
    app: usize,
    /// The channel, by its place, and the user of it who was told last.
    place: usize,
    user: Option<u64>,
    /// What was kept last of what was told.
    kept_number: u64,
}

impl Telling {
    pub(super) fn new(kept: bool) -> Self {
        Telling { kept, has_begun: false, app: 0, place: 0, user: None, kept_number: 0 }
    }
}

/// Bytes that may wait for Redis before no more is told: what is said otherwise waits behind it.
const AHEAD_BYTES: usize = 262_144;

impl<T> Hub<T> {
    /// Tells more, if somebody has asked and what was told before is on its way.
    pub(super) fn go_on_telling(&mut self, now: Now) {
        let Some(mut bus) = self.bus.take() else { return };
        while bus.queue.unwritten_bytes() < AHEAD_BYTES
            && let Some(mut telling) = bus.telling.take()
        {
            if !std::mem::replace(&mut telling.has_begun, true) {
                bus.say(&Item::Begin { kept: telling.kept });
            }
            if let Some(app) = self.apps.get(telling.app) {
                if tell_app(&mut bus, app, &mut telling, now) {
                    telling = Telling {
                        app: telling.app + 1,
                        has_begun: true,
                        ..Telling::new(telling.kept)
                    };
                }
                bus.telling = Some(telling);
            } else {
                bus.say(&Item::Whole);
                bus.telling = bus.tell_again.take().map(Telling::new);
            }
            bus.seal(now.ms);
        }
        self.bus = Some(bus);
    }
}

/// Tells of an app until an envelope is full; whether that was all.
fn tell_app(bus: &mut Bus, app: &App, telling: &mut Telling, now: Now) -> bool {
    let id = app.settings.id.as_str();
    if telling.place == 0 && telling.user.is_none() {
        bus.say(&Item::Connections { app: id.into(), count: app.connections });
    }
    // Places above the last channel's are passed in no time.
    while telling.place < app.channels.capacity() {
        if !tell_channel(bus, app, telling) {
            return false;
        }
        (telling.place, telling.user) = (telling.place + 1, None);
    }
    if !telling.kept {
        return true;
    }
    for (number, channel, kept) in app.cache.after(telling.kept_number) {
        if bus.pending.len() > ITEMS_BYTES {
            return false;
        }
        telling.kept_number = number;
        let message = std::str::from_utf8(websocket::payload(kept.frame));
        if let (Ok(message), Some(ttl_ms)) = (message, kept.expires_ms.checked_sub(now.ms)) {
            let (app, channel) = (id.into(), channel.into());
            bus.say(&Item::Kept { app, channel, message, ttl_ms, version: kept.version });
        }
    }
    true
}

/// Tells of the channel that is next; whether that was all there is to tell of it.
fn tell_channel(bus: &mut Bus, app: &App, telling: &mut Telling) -> bool {
    let Some(channel) = app.channels.get(telling.place) else { return true };
    if channel.members.is_empty() || !signin::is_told(&channel.name, channel.kind) {
        return true;
    }
    let id = app.settings.id.as_str();
    if telling.user.is_none() {
        let count = channel.members.len() as u32;
        bus.say(&Item::Channel { app: id.into(), channel: (&*channel.name).into(), count });
    }
    let Some(presence) = &channel.presence else { return bus.pending.len() <= ITEMS_BYTES };
    for (place, user, info) in presence.here_after(telling.user) {
        if bus.pending.len() > ITEMS_BYTES {
            return false;
        }
        telling.user = Some(place);
        let (app, channel) = (id.into(), (&*channel.name).into());
        bus.say(&Item::Joined { app, channel, user: user.into(), info });
    }
    true
}
