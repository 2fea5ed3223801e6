//! Sends the whole state of this node to other nodes, a little at a time: to all nodes in the
//! sequence of envelopes, or to the inbox of one. Changes are published as usual at the same time, so
//! that the receivers end with the complete state. Which node has requested a sync is handled in
//! `receive`.

use super::super::app::App;
use super::super::bus::FullSync;
use super::super::ids::Now;
use super::super::pubsub::PubSub;
use super::super::signin;
use crate::proto::envelope::{ITEMS_BYTES, Item, push_item};
use crate::proto::websocket;

/// No more of the state is queued while more bytes than this wait to be written to Redis: other
/// messages are queued after it.
const UNWRITTEN_BYTES_MAX: usize = 262_144;

impl PubSub {
    /// Continues the full sync to all nodes, if one was requested and its earlier part is written.
    pub(in crate::hub) fn continue_full_sync(&mut self, now: Now) {
        let Some(mut bus) = self.bus.take() else { return };
        while bus.queue.unwritten_bytes() < UNWRITTEN_BYTES_MAX
            && let Some(mut full_sync) = bus.full_sync.take()
        {
            if !std::mem::replace(&mut full_sync.has_begun, true) {
                bus.publish(&Item::SyncBegin { with_cache: full_sync.with_cache });
            }
            let (facts, is_complete) = self.next_facts(&mut full_sync, now);
            bus.publish_text(&facts);
            if is_complete {
                bus.publish(&Item::SyncEnd);
                bus.full_sync = bus.next_full_sync.take().map(FullSync::new);
            } else {
                bus.full_sync = Some(full_sync);
            }
            bus.seal(now.ms);
        }
        self.bus = Some(bus);
    }

    /// Continues the full syncs to the inboxes of single nodes, one part for each in turn, while the
    /// window to Redis has room. What a part contains is at least as new as all earlier envelopes of
    /// this node; so a node may handle it before those that it still misses.
    pub(in crate::hub) fn continue_transfers(&mut self, now: Now) {
        let Some(mut bus) = self.bus.take() else { return };
        while let Some(at) = bus.next_to_sync()
            && let Some(mut outgoing) = bus.take_outgoing(at)
        {
            let (facts, is_complete) = self.next_facts(&mut outgoing.progress, now);
            bus.write_part(at, &facts, outgoing, is_complete, now.ms);
        }
        self.bus = Some(bus);
    }

    /// The next facts of a full sync, as the items of one envelope; and whether they are the last.
    fn next_facts(&self, full_sync: &mut FullSync, now: Now) -> (String, bool) {
        let mut facts = String::new();
        while let Some(app) = self.apps.get(full_sync.app) {
            if !write_app(&mut facts, app, full_sync, now) {
                return (facts, false);
            }
            *full_sync = FullSync {
                app: full_sync.app + 1,
                has_begun: true,
                ..FullSync::new(full_sync.with_cache)
            };
        }
        (facts, true)
    }
}

/// Writes the state of an app until the envelope is full. Returns whether the app is complete.
fn write_app(facts: &mut String, app: &App, full_sync: &mut FullSync, now: Now) -> bool {
    let id = app.settings.id.as_str();
    if full_sync.place == 0 && full_sync.user.is_none() {
        push_item(facts, &Item::Connections { app: id.into(), count: app.connections });
    }
    // Empty places cost only a lookup.
    while full_sync.place < app.channels.capacity() {
        if !write_channel(facts, app, full_sync) {
            return false;
        }
        (full_sync.place, full_sync.user) = (full_sync.place + 1, None);
    }
    if !full_sync.with_cache {
        return is_room_left(facts);
    }
    for (number, channel, event) in app.cache.after(full_sync.cached_number) {
        if !is_room_left(facts) {
            return false;
        }
        full_sync.cached_number = number;
        let message = std::str::from_utf8(websocket::payload(&event.frame));
        if let (Ok(message), Some(ttl_ms)) = (message, event.expires_ms.checked_sub(now.ms)) {
            let (app, channel) = (id.into(), channel.into());
            let version = event.version;
            push_item(facts, &Item::Cached { app, channel, message, ttl_ms, version });
        }
    }
    true
}

/// Writes the state of the next channel. Returns whether the channel is complete.
fn write_channel(facts: &mut String, app: &App, full_sync: &mut FullSync) -> bool {
    let Some(channel) = app.channels.get(full_sync.place) else { return true };
    if channel.members.is_empty() || !signin::is_replicated(&channel.name, channel.kind) {
        return true;
    }
    if !is_room_left(facts) {
        return false;
    }
    let id = app.settings.id.as_str();
    if full_sync.user.is_none() {
        let count = channel.members.len() as u32;
        push_item(
            facts,
            &Item::Channel { app: id.into(), channel: (&*channel.name).into(), count },
        );
    }
    let Some(presence) = &channel.presence else { return true };
    for (place, user, info) in presence.local_after(full_sync.user) {
        if !is_room_left(facts) {
            return false;
        }
        full_sync.user = Some(place);
        let (app, channel) = (id.into(), (&*channel.name).into());
        push_item(facts, &Item::Joined { app, channel, user: user.into(), info });
    }
    true
}

/// Whether the envelope has room for another fact.
fn is_room_left(facts: &str) -> bool {
    facts.len() <= ITEMS_BYTES
}
