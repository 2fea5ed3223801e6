//! The connections of a hub: their phases, outboxes and deadlines, the lanes in which they wait to
//! be read and written, and how they close. Other files decide which messages are queued; nothing
//! in this file or its submodules knows a channel.
//!
//! A connection is in one phase, has at most one valid entry in the wheel, and is in at most one lane
//! of input. [`Connections::retire`] ends the WebSocket phase and returns the subscriber: its
//! memberships are still in the channels, and the caller must remove them at once.

mod addresses;
mod broadcast;
mod closing;
mod compression;
mod input;
mod limits;
mod liveness;
mod messages;
pub(super) mod requests;

use std::collections::BTreeSet;

use slab::Slab;

use super::address::Addresses;
use super::app_changes::Sweep;
use super::compressor::Compressor;
use super::counters::Counters;
use super::drain::Drain;
use super::happenings::Happenings;
use super::ids::{ConnId, Now, SocketId, Tick};
use super::log_throttle::{LogThrottle, Policy};
use super::origins::Origins;
use super::peer::{Mark, Membership, Peer, Subscriber};
use super::random::Hashing;
use super::schedule::Schedule;
use super::staggered::Staggered;
use super::wheel::Wheel;
use super::work::Work;
use super::write_lanes::{AppLanes, WriteLane, WriteLanes};
use crate::config::{Config, LimitKind, Limits, Network};
use crate::proto::websocket::{self, Frame};

/// The connections of a hub; `T` is the value that the owner of the sockets stores with each.
pub(crate) struct Connections<T> {
    slab: Slab<Peer<T>>,
    /// Once no more connections than this are left, unused capacity is released.
    shrink_at: usize,
    /// Whether capacity for at least [`TRIM_CONNECTIONS_MIN`] connections was released since the
    /// last call of [`Connections::take_has_shrunk`].
    has_shrunk: bool,
    lanes: WriteLanes,
    /// Connections whose outbox exceeded its limit, to be dropped before anything is written.
    pub too_slow: Vec<ConnId>,
    pub wheel: Wheel,
    /// The tick of an expired slot of the wheel, and the connections still to be checked.
    due: Option<(Tick, std::vec::IntoIter<ConnId>)>,
    /// Whether the last tick used up its units before it had checked all due connections.
    pub has_due_left: bool,
    pub work: Work,
    pub schedule: Schedule,
    /// How many connections each address has.
    pub addresses: Addresses,
    pub origins: Origins,
    trusted_proxies: Vec<Network>,
    /// The state of an orderly stop, if one has begun.
    pub drain: Option<Drain>,
    /// Connections of removed apps that are yet to be closed.
    pub orphans: Option<Staggered>,
    /// The search for connections that changes of apps concern, while it lasts.
    pub sweep: Option<Box<Sweep>>,
    /// API requests whose head was accepted and whose body is incomplete.
    pub api_requests: u32,
    /// The app of the API request that is being served, once its signature was checked.
    pub signed_app: Option<u32>,
    /// API requests answered in this turn.
    pub answered: u32,
    /// The cached `Date` header, after the second (Unix time) for which it was formatted.
    date: (u64, String),
    /// Compresses and decompresses messages of clients that negotiated it.
    pub compressor: Compressor,
    pub happenings: Happenings,
    pub counters: Counters,
    /// Throttles the log lines about each limit.
    limit_log: [LogThrottle; LimitKind::ALL.len()],
    pub limits: Limits,
    /// The maximum size of a request, head and body.
    pub request_bytes_max: usize,
}

impl<T> Connections<T> {
    pub(super) fn new(config: &Config, hashing: Hashing, now: Now) -> Self {
        Connections {
            slab: Slab::new(),
            shrink_at: 0,
            has_shrunk: false,
            lanes: WriteLanes::default(),
            too_slow: Vec::new(),
            wheel: Wheel::new(now.ms),
            due: None,
            has_due_left: false,
            work: Work::new(),
            schedule: Schedule::new(hashing),
            addresses: Addresses::new(hashing),
            origins: Origins::new(hashing),
            trusted_proxies: config.server.trusted_proxies.clone(),
            drain: None,
            orphans: None,
            sweep: None,
            api_requests: 0,
            signed_app: None,
            answered: 0,
            date: (u64::MAX, String::new()),
            compressor: Compressor::new(config.server.compression),
            happenings: Happenings::new(config),
            counters: Counters::new(config.apps.len()),
            limit_log: [LogThrottle::new(Policy::ONE_AN_EPISODE); LimitKind::ALL.len()],
            limits: config.limits.clone(),
            request_bytes_max: config.server.max_request_size,
        }
    }

    pub(crate) fn insert(&mut self, peer: Peer<T>) -> ConnId {
        self.compressor.clients += u32::from(peer.marks.has(Mark::Deflate));
        let key = self.slab.insert(peer);
        // Half of the peak since the last release: the cost of a release is amortized over at least
        // as many insertions.
        self.shrink_at = self.shrink_at.max(self.slab.len() / 2);
        ConnId(key as u32)
    }

    pub(crate) fn remove(&mut self, id: ConnId) -> Option<Peer<T>> {
        let peer = self.slab.try_remove(id.0 as usize)?;
        self.compressor.clients -= u32::from(peer.marks.has(Mark::Deflate));
        self.lanes.cleared(id, &peer);
        if peer.marks.has(Mark::TooSlow) {
            // The id is reused: the entry must not apply to the next connection.
            self.too_slow.retain(|&slow| slow != id);
        }
        if self.slab.len() <= self.shrink_at {
            self.has_shrunk |= self.slab.capacity() >= TRIM_CONNECTIONS_MIN;
            self.slab.shrink_to_fit();
            self.lanes.shrink();
            self.shrink_at = self.slab.len() / 2;
        }
        Some(peer)
    }

    /// Whether much capacity was released since the last call.
    pub(crate) fn take_has_shrunk(&mut self) -> bool {
        std::mem::take(&mut self.has_shrunk)
    }

    /// Queues a response for a connection.
    pub(crate) fn queue(&mut self, id: ConnId, frame: Frame) {
        let lane = WriteLanes::lane_of_response(frame.len());
        self.work.add_bytes(frame.len());
        self.queue_parts(id, &[frame], lane);
    }

    /// Queues the response to an HTTP request, which may have published events.
    pub(crate) fn queue_after_event(&mut self, id: ConnId, frame: Frame) {
        let lane = self.lanes.lane_after_event(frame.len());
        self.work.add_bytes(frame.len());
        self.queue_parts(id, &[frame], lane);
    }

    /// Queues all pieces of a message for a connection, or none of them.
    pub(crate) fn queue_parts(&mut self, id: ConnId, parts: &[Frame], lane: WriteLane) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let is_text = parts.first().is_some_and(|part| part.first() == Some(&WHOLE_TEXT));
        self.work.add(parts.len() as u64);
        let Some(peer) = self.get_mut(id) else { return };
        peer.pending_replies =
            if peer.outbox.is_empty() { 1 } else { peer.pending_replies.saturating_add(1) };
        let turn_app = peer.app();
        let app = peer.subscriber().map(|subscriber| subscriber.app);
        let is_wanted = app.is_some_and(|app| self.happenings.wants_sent(app));
        if is_text && (is_wanted || log::log_enabled!(log::Level::Debug)) {
            self.log_sent(id, parts);
        }
        let Some((first, rest)) = parts.split_first() else { return };
        if !self.push(id, turn_app, Frame::clone(first), lane) {
            return;
        }
        rest.iter().for_each(|part| self.append(id, Frame::clone(part), lane));
        if let Some(app) = app {
            let counters = &mut self.counters.apps[app as usize];
            counters.messages_out += u64::from(is_text);
            counters.bytes_out += len as u64;
        }
    }

    /// Logs a response, and reports it if the outbox has room for it.
    fn log_sent(&mut self, id: ConnId, parts: &[Frame]) {
        let frame = Frame::from(parts.concat());
        if let (Some(subscriber), Some(text)) = (self.subscriber(id), text_of(&frame)) {
            log::debug!("{} < {text}", subscriber.socket_id);
        }
        self.notify_sent(id, &frame);
    }

    fn notify_sent(&mut self, id: ConnId, frame: &Frame) {
        let Some(peer) = self.slab.get(id.0 as usize) else { return };
        let is_skipped = peer.marks.has(Mark::TooSlow)
            || peer.outbox.weight() > self.limits.outbox_bytes as usize;
        if let Some(subscriber) = peer.subscriber()
            && let Some(text) = text_of(frame).filter(|_| !is_skipped)
        {
            self.happenings.message_sent(subscriber.app, subscriber.source(), text);
        }
    }

    /// Queues a frame for a connection of this app. Returns `false` if the outbox is over its limit.
    /// Only frames queued earlier count: a single frame may be longer than the limit.
    #[inline]
    fn push(&mut self, id: ConnId, app: u32, frame: Frame, lane: WriteLane) -> bool {
        let outbox_bytes = self.limits.outbox_bytes as usize;
        let Some(peer) = self.slab.get_mut(id.0 as usize) else { return false };
        let is_pushed = push(id, peer, frame, lane, &mut self.lanes.of(app), outbox_bytes);
        if !is_pushed {
            self.not_pushed(id);
        }
        is_pushed
    }

    /// A connection's outbox is over its limit: the frame is dropped, and soon the connection.
    #[cold]
    fn not_pushed(&mut self, id: ConnId) {
        self.counters.process.frames_dropped += 1;
        if let Some(peer) = self.slab.get_mut(id.0 as usize)
            && !peer.marks.has(Mark::TooSlow)
        {
            peer.marks.set(Mark::TooSlow);
            self.too_slow.push(id);
        }
    }

    /// Queues a further piece of a message whose first piece was queued.
    fn append(&mut self, id: ConnId, frame: Frame, lane: WriteLane) {
        let Some(peer) = self.slab.get_mut(id.0 as usize) else { return };
        peer.outbox.push(frame);
        let app = peer.app();
        self.lanes.of(app).pushed(id, peer, lane, false);
    }

    /// Discards the contents of a connection's outbox.
    pub(crate) fn clear_outbox(&mut self, id: ConnId) {
        if let Some(peer) = self.slab.get_mut(id.0 as usize) {
            self.lanes.cleared(id, peer);
            peer.outbox.clear();
        }
    }

    /// Makes [`Connections::next_dirty`] return a connection, even if its outbox is empty.
    pub(crate) fn touch(&mut self, id: ConnId) {
        if let Some(peer) = self.slab.get_mut(id.0 as usize) {
            peer.marks.clear(Mark::Blocked);
            self.lanes.touched(id, peer);
        }
    }

    /// Stores whether a connection's socket accepts no more data for now. Returns whether the
    /// connection is paused.
    pub(crate) fn set_blocked(&mut self, id: ConnId, is_blocked: bool) -> bool {
        let Some(peer) = self.slab.get_mut(id.0 as usize) else { return false };
        match is_blocked && !peer.outbox.is_empty() {
            true => peer.marks.set(Mark::Blocked),
            false => peer.marks.clear(Mark::Blocked),
        }
        peer.marks.has(Mark::Paused)
    }

    /// The next connection to write to or to close.
    pub(crate) fn next_dirty(&mut self) -> Option<ConnId> {
        while let Some((id, mark, place)) = self.lanes.next() {
            if let Some(peer) = self.slab.get_mut(id.0 as usize)
                && peer.marks.take(mark)
            {
                self.lanes.handed_out(id, peer, place);
                return Some(id);
            }
        }
        None
    }

    /// Whether [`Connections::next_dirty`] has more connections.
    pub(crate) fn has_dirty(&self) -> bool {
        !self.lanes.is_empty()
    }

    /// Whether too much output is queued for sockets that would accept it.
    pub(crate) fn has_write_backlog(&self) -> bool {
        self.lanes.has_write_backlog()
    }

    /// Resets what is known of the previous request: that it queued an event for many subscribers,
    /// and its app.
    pub(crate) fn begin_request(&mut self) {
        self.lanes.begin_request();
        self.signed_app = None;
    }

    /// A connection has come to belong to an app, or to another one.
    pub(crate) fn app_changed(&mut self, id: ConnId, before: u32) {
        let Some(peer) = self.slab.get_mut(id.0 as usize).filter(|peer| peer.app() != before)
        else {
            return;
        };
        self.lanes.moved(id, before, peer);
        self.schedule.moved(id, peer.app(), peer.marks, self.work.has_turns());
    }

    /// Checks that each connection waits in the lanes that its marks name, among those of its app.
    pub(crate) fn audit_lanes(&self) -> Result<(), String> {
        let entries = [self.schedule.entries(), self.lanes.entries()].concat();
        let entries: [BTreeSet<_>; 4] =
            std::array::from_fn(|lane| entries.get(lane).into_iter().flatten().copied().collect());
        let marks = [Mark::Light, Mark::Heavy, Mark::Prompt, Mark::Bulk];
        for (key, peer) in &self.slab {
            let id = ConnId(key as u32);
            for (mark, entries) in marks.into_iter().zip(&entries) {
                if peer.marks.has(mark) && !entries.contains(&(peer.app(), id)) {
                    return Err(format!("{id:?} is not in the lane {mark:?} of its app"));
                }
            }
            if peer.marks.has(Mark::Light) && peer.marks.has(Mark::Heavy) {
                return Err(format!("{id:?} is in both lanes of input"));
            }
        }
        self.lanes.audit()?;
        self.schedule.audit(self.work.has_turns())
    }

    /// Sets a connection's deadline in the wheel. This invalidates its previous entry.
    pub(crate) fn arm(&mut self, id: ConnId, deadline_ms: u64) {
        let tick = self.wheel.tick_for(deadline_ms);
        if let Some(peer) = self.slab.get_mut(id.0 as usize) {
            peer.armed = tick;
            self.wheel.put(id, tick);
        }
    }

    /// Sets a connection's deadline unless it has an earlier one.
    pub(crate) fn arm_by(&mut self, id: ConnId, deadline_ms: u64) {
        let tick = self.wheel.tick_for(deadline_ms);
        if self.get(id).is_some_and(|peer| tick < peer.armed) {
            self.arm(id, deadline_ms);
        }
    }

    pub(crate) fn get(&self, id: ConnId) -> Option<&Peer<T>> {
        self.slab.get(id.0 as usize)
    }

    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut Peer<T>> {
        self.slab.get_mut(id.0 as usize)
    }

    /// The subscriber of a connection that is a WebSocket and not closing.
    pub(crate) fn subscriber(&self, id: ConnId) -> Option<&Subscriber> {
        self.get(id)?.subscriber()
    }

    pub(crate) fn subscriber_mut(&mut self, id: ConnId) -> Option<&mut Subscriber> {
        self.get_mut(id)?.subscriber_mut()
    }

    /// The connection of an app with a socket id. Linear: for rare work.
    pub(crate) fn find_subscriber(&self, app: u32, socket_id: SocketId) -> Option<ConnId> {
        let is_it = |peer: &Peer<T>| {
            let subscriber = peer.subscriber();
            subscriber.is_some_and(|one| one.app == app && one.socket_id == socket_id)
        };
        let (key, _) = self.slab.iter().find(|(_, peer)| is_it(peer))?;
        Some(ConnId(key as u32))
    }

    /// A connection's membership in the channel at this place of its app.
    pub(crate) fn membership(&self, id: ConnId, place: u32) -> Option<&Membership> {
        self.subscriber(id)?.membership(place)
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    /// The number of ids, used or not: each id is below it.
    pub(crate) fn capacity(&self) -> usize {
        self.slab.capacity()
    }

    /// All connections. Linear: for periodic work, never for a single event.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Peer<T>> {
        self.slab.iter().map(|(_, peer)| peer)
    }

    /// The ids of all connections. Linear: for rare work such as a stop, never for a single event.
    pub(crate) fn ids(&self) -> Vec<ConnId> {
        self.slab.iter().map(|(key, _)| ConnId(key as u32)).collect()
    }
}

/// Puts a frame in an outbox, and the connection in the lanes of its app. Returns `false` if the
/// outbox is over its limit.
#[inline(always)]
fn push<T>(
    id: ConnId,
    peer: &mut Peer<T>,
    frame: Frame,
    lane: WriteLane,
    lanes: &mut AppLanes<'_>,
    outbox_bytes: usize,
) -> bool {
    let weight = peer.outbox.weight();
    if peer.marks.has(Mark::TooSlow) || weight > outbox_bytes {
        return false;
    }
    peer.outbox.push(frame);
    lanes.pushed(id, peer, lane, weight > outbox_bytes / 2);
    true
}

/// Releases of less capacity than this are not reported. This many connections use about a quarter
/// of a megabyte besides the slab. Smaller numbers connect and disconnect all the time, and the
/// last connections of a mass disconnect must not delay the trim.
const TRIM_CONNECTIONS_MIN: usize = 1_024;

/// The payload of a text frame.
fn text_of(frame: &Frame) -> Option<&str> {
    let is_text = frame.first() == Some(&WHOLE_TEXT);
    is_text.then(|| std::str::from_utf8(websocket::payload(frame)).ok()).flatten()
}

/// The first byte of a text frame that is not fragmented.
const WHOLE_TEXT: u8 = 0x81;
