//! Sends long member lists of presence channels, and drops encoded lists that are no longer in use.
//! The encoding is in `member_list`.

use super::channel::{Access, Kind};
use super::connections::Connections;
use super::ids::{ConnId, Now};
use super::peer::Peer;
use super::pubsub::PubSub;
use super::write_lanes::WriteLane;

impl PubSub {
    /// Confirms a subscription to a presence channel with many users: sends the member list in
    /// pieces.
    pub(super) fn send_long_list<T>(
        &mut self,
        connections: &mut Connections<T>,
        id: ConnId,
        app: u32,
        name: &str,
        now: Now,
    ) {
        let channel = self.apps[app].channel_mut(name);
        let Some(presence) = channel.and_then(|channel| channel.presence.as_mut()) else { return };
        let (pieces, encoded_bytes, is_new) = presence.long_list(name, now.ms);
        connections.work.add_bytes(encoded_bytes);
        connections.queue_parts(id, &pieces, WriteLane::Bulk);
        if is_new {
            self.member_lists.push((app, name.into()));
            self.member_lists_ms.get_or_insert(now.ms + LIST_IDLE_MS);
        }
    }

    /// Whether a repeated subscription to a presence channel must wait until the client has read
    /// its outbox. Otherwise a client could make the hub queue the same list again and again.
    pub(super) fn must_read_list_first<T>(
        &self,
        connections: &Connections<T>,
        id: ConnId,
        app: u32,
        channel: &str,
    ) -> bool {
        let place = self.apps[app].place(channel);
        let is_waiting = |peer: &Peer<T>| peer.outbox.bytes() > WAITING_BYTES_MAX;
        Kind::of(channel).access == Access::Presence
            && place.is_some_and(|place| connections.membership(id, place).is_some())
            && connections.get(id).is_some_and(is_waiting)
    }

    /// When to check next for idle member lists.
    pub(super) fn next_member_lists_ms(&self) -> Option<u64> {
        self.member_lists_ms
    }

    /// Drops member lists that were not sent for a second, so that idle channels have none.
    pub(super) fn drop_idle_lists(&mut self, now: Now) {
        if self.member_lists_ms.is_none_or(|due_ms| now.ms < due_ms) {
            return;
        }
        let (apps, since_ms) = (&mut self.apps, now.ms.saturating_sub(LIST_IDLE_MS) + 1);
        self.member_lists.retain(|(app, name)| {
            let channel = apps.get_mut(*app).and_then(|app| app.channel_mut(name));
            let presence = channel.and_then(|channel| channel.presence.as_mut());
            presence.is_some_and(|presence| !presence.drop_idle_list(since_ms))
        });
        self.member_lists.shrink_to_fit();
        self.member_lists_ms = (!self.member_lists.is_empty()).then(|| now.ms + LIST_IDLE_MS);
    }
}

/// An encoded list is dropped after it was not sent for this long.
const LIST_IDLE_MS: u64 = 1_000;
/// A client with more bytes than this in its outbox must read them before the hub handles its
/// repeated subscription to a presence channel.
const WAITING_BYTES_MAX: usize = 65_536;
