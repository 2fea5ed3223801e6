//! Sends the whole state of this node to other nodes, a little at a time. Changes are published as
//! usual at the same time, so that the receivers end with the complete state. Which node has
//! requested a sync is handled in `receive`.

use super::super::app::App;
use super::super::bus::{Bus, FullSync};
use super::super::ids::Now;
use super::super::pubsub::PubSub;
use super::super::signin;
use crate::proto::envelope::{ITEMS_BYTES, Item};
use crate::proto::websocket;

/// No more of the state is queued while more bytes than this wait to be written to Redis: other
/// messages are queued after it.
const UNWRITTEN_BYTES_MAX: usize = 262_144;

impl PubSub {
    /// Continues a full sync, if one was requested and its earlier part is written.
    pub(in crate::hub) fn continue_full_sync(&mut self, now: Now) {
        let Some(mut bus) = self.bus.take() else { return };
        while bus.queue.unwritten_bytes() < UNWRITTEN_BYTES_MAX
            && let Some(mut full_sync) = bus.full_sync.take()
        {
            if !std::mem::replace(&mut full_sync.has_begun, true) {
                bus.publish(&Item::SyncBegin { with_cache: full_sync.with_cache });
            }
            if let Some(app) = self.apps.get(full_sync.app) {
                if sync_app(&mut bus, app, &mut full_sync, now) {
                    full_sync = FullSync {
                        app: full_sync.app + 1,
                        has_begun: true,
                        ..FullSync::new(full_sync.with_cache)
                    };
                }
                bus.full_sync = Some(full_sync);
            } else {
                bus.publish(&Item::SyncEnd);
                bus.full_sync = bus.next_full_sync.take().map(FullSync::new);
            }
            bus.seal(now.ms);
        }
        self.bus = Some(bus);
    }
}

/// Sends the state of an app until an envelope is full. Returns whether the app is complete.
fn sync_app(bus: &mut Bus, app: &App, full_sync: &mut FullSync, now: Now) -> bool {
    let id = app.settings.id.as_str();
    if full_sync.place == 0 && full_sync.user.is_none() {
        bus.publish(&Item::Connections { app: id.into(), count: app.connections });
    }
    // Empty places cost only a lookup.
    while full_sync.place < app.channels.capacity() {
        if !sync_channel(bus, app, full_sync) {
            return false;
        }
        (full_sync.place, full_sync.user) = (full_sync.place + 1, None);
    }
    if !full_sync.with_cache {
        return true;
    }
    for (number, channel, event) in app.cache.after(full_sync.cached_number) {
        if bus.pending.len() > ITEMS_BYTES {
            return false;
        }
        full_sync.cached_number = number;
        let message = std::str::from_utf8(websocket::payload(&event.frame));
        if let (Ok(message), Some(ttl_ms)) = (message, event.expires_ms.checked_sub(now.ms)) {
            let (app, channel) = (id.into(), channel.into());
            bus.publish(&Item::Cached { app, channel, message, ttl_ms, version: event.version });
        }
    }
    true
}

/// Sends the state of the next channel. Returns whether the channel is complete.
fn sync_channel(bus: &mut Bus, app: &App, full_sync: &mut FullSync) -> bool {
    let Some(channel) = app.channels.get(full_sync.place) else { return true };
    if channel.members.is_empty() || !signin::is_replicated(&channel.name, channel.kind) {
        return true;
    }
    let id = app.settings.id.as_str();
    if full_sync.user.is_none() {
        let count = channel.members.len() as u32;
        bus.publish(&Item::Channel { app: id.into(), channel: (&*channel.name).into(), count });
    }
    let Some(presence) = &channel.presence else { return bus.pending.len() <= ITEMS_BYTES };
    for (place, user, info) in presence.local_after(full_sync.user) {
        if bus.pending.len() > ITEMS_BYTES {
            return false;
        }
        full_sync.user = Some(place);
        let (app, channel) = (id.into(), (&*channel.name).into());
        bus.publish(&Item::Joined { app, channel, user: user.into(), info });
    }
    true
}
