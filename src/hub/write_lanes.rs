//! Decides which connection is written to next, and tracks how much output is queued. There are two
//! lanes: *prompt* for short responses and events for few subscribers, *bulk* for long responses
//! and events for many subscribers. One bulk connection is written to after every three prompt
//! ones, so that neither lane starves. The lane does not change the order of frames within an
//! outbox.
//!
//! Within a lane the apps take turns: a connection of each, then one more of each. Those of one app
//! are written to in the order in which they joined the lane.

use std::collections::VecDeque;

use super::app_queues::{AppQueues, free_idle};
use super::ids::ConnId;
use super::peer::{Mark, Peer};

/// The connections that the owner of the sockets must write to or close.
#[derive(Debug, Default)]
pub(crate) struct WriteLanes {
    apps: AppQueues<Output>,
    /// The places of the apps with connections in each lane; the first is next.
    rings: [VecDeque<u32>; 2],
    /// Prompt connections since the last bulk one.
    prompt_in_row: u8,
    /// Approximate number of frames that wait for connections in the lanes.
    frames: usize,
    /// A connection whose outbox is more than half full although its socket would accept more.
    /// Until it is written to, the server is slower than the client.
    crowded: Option<ConnId>,
    /// Whether an event for many subscribers was queued since this was last reset.
    has_event_for_many: bool,
}

/// The output of one app in the lanes; see the fields of [`WriteLanes`].
#[derive(Debug, Default)]
struct Output {
    frames: usize,
    crowded: Option<ConnId>,
}

/// The queue in which a connection waits to be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteLane {
    Prompt,
    Bulk,
}

/// An event for more subscribers than this is bulk: one turn writes to this many connections (the
/// default of `limits.flushes_per_turn`).
const MANY: usize = 1_024;
/// A response or outbox with more bytes than this is bulk. The kernel copies this much in 20 µs.
const LONG_BYTES: usize = 65_536;
/// Prompt connections per bulk one.
const PROMPT_IN_ROW: u8 = 3;
/// No heavy work begins while more frames than this wait: 8 MB of places in outboxes (16 bytes
/// each), or fifty events for ten thousand subscribers, which fit in one write to each of them.
const FRAMES_MAX: usize = 524_288;

impl WriteLanes {
    /// The lane of an event for this many subscribers.
    pub(crate) fn lane_of_event(&mut self, members: usize) -> WriteLane {
        if members <= MANY {
            return WriteLane::Prompt;
        }
        self.has_event_for_many = true;
        WriteLane::Bulk
    }

    /// The lane of a response of this many bytes.
    pub(crate) fn lane_of_response(bytes: usize) -> WriteLane {
        if bytes > LONG_BYTES { WriteLane::Bulk } else { WriteLane::Prompt }
    }

    /// Returns whether an event for many subscribers was queued, and resets the flag. If so, the
    /// response to its publisher also goes to the bulk lane: the publisher then waits until the
    /// event is written.
    pub(crate) fn take_event_for_many(&mut self) -> bool {
        std::mem::take(&mut self.has_event_for_many)
    }

    /// A frame was put in the outbox of a connection of this app. `is_half_full` is whether the
    /// outbox was more than half full before.
    #[inline]
    pub(crate) fn pushed<T>(
        &mut self,
        id: ConnId,
        app: u32,
        peer: &mut Peer<T>,
        lane: WriteLane,
        is_half_full: bool,
    ) {
        // A blocked connection is queued when its socket becomes writable.
        if peer.marks.has(Mark::Blocked) {
            return;
        }
        let place = self.apps.place_of(app);
        if !peer.marks.is_queued() {
            self.add_frames(place, peer.outbox.frames());
            return self.put(id, place, peer, lane);
        }
        self.add_frames(place, 1);
        if is_half_full {
            self.crowded = Some(id);
            self.apps.at_mut(place).value.crowded = Some(id);
        }
        if lane == WriteLane::Prompt {
            self.put(id, place, peer, lane);
        }
    }

    /// Queues a connection, even if its outbox is empty.
    pub(crate) fn touched<T>(&mut self, id: ConnId, peer: &mut Peer<T>) {
        let place = self.apps.place_of(peer.app());
        if !peer.marks.is_queued() {
            self.add_frames(place, peer.outbox.frames());
        }
        let is_long = peer.outbox.bytes() > LONG_BYTES;
        self.put(id, place, peer, if is_long { WriteLane::Bulk } else { WriteLane::Prompt });
    }

    /// A connection belongs to another app now: it waits among those. Its entry in the lane of the
    /// former app stays, and has no effect if it comes second.
    pub(crate) fn moved<T>(&mut self, id: ConnId, from: u32, peer: &Peer<T>) {
        if !peer.marks.is_queued() {
            return;
        }
        self.remove_frames(id, from, peer.outbox.frames());
        let place = self.apps.place_of(peer.app());
        self.add_frames(place, peer.outbox.frames());
        if peer.marks.has(Mark::Prompt) {
            self.join(id, place, WriteLane::Prompt);
        }
        if peer.marks.has(Mark::Bulk) {
            self.join(id, place, WriteLane::Bulk);
        }
    }

    #[inline]
    fn put<T>(&mut self, id: ConnId, place: u32, peer: &mut Peer<T>, lane: WriteLane) {
        match lane {
            WriteLane::Prompt if !peer.marks.has(Mark::Prompt) => {
                peer.marks.set(Mark::Prompt);
                self.join(id, place, WriteLane::Prompt);
            }
            WriteLane::Bulk if !peer.marks.is_queued() => {
                peer.marks.set(Mark::Bulk);
                self.join(id, place, WriteLane::Bulk);
            }
            _ => {}
        }
    }

    #[inline]
    fn join(&mut self, id: ConnId, place: u32, lane: WriteLane) {
        let queue = &mut self.apps.at_mut(place).lanes[lane as usize];
        if queue.is_empty() {
            self.rings[lane as usize].push_back(place);
        }
        queue.push_back(id);
    }

    /// The next entry of the lanes: a connection, and the mark that is set if the entry is still
    /// valid. The connection may have been removed.
    pub(crate) fn next(&mut self) -> Option<(ConnId, Mark)> {
        let has_bulk = !self.rings[WriteLane::Bulk as usize].is_empty();
        let is_prompt = !has_bulk || self.prompt_in_row < PROMPT_IN_ROW;
        if is_prompt && let Some(id) = self.next_in(WriteLane::Prompt) {
            self.prompt_in_row = self.prompt_in_row.saturating_add(1);
            return Some((id, Mark::Prompt));
        }
        self.prompt_in_row = 0;
        match self.next_in(WriteLane::Bulk) {
            Some(id) => Some((id, Mark::Bulk)),
            None => {
                // The lanes are empty. Reset both values, as they are approximate.
                (self.frames, self.crowded) = (0, None);
                self.apps.all_emptied();
                self.rings.iter_mut().for_each(free_idle);
                None
            }
        }
    }

    /// The next connection of the app whose turn it is in a lane.
    #[inline]
    fn next_in(&mut self, lane: WriteLane) -> Option<ConnId> {
        let ring = &mut self.rings[lane as usize];
        let place = *ring.front()?;
        let queues = self.apps.at_mut(place);
        let queue = &mut queues.lanes[lane as usize];
        let id = queue.pop_front();
        if queue.is_empty() {
            ring.pop_front();
            if queues.is_empty() {
                // Approximate values end here.
                self.frames -= std::mem::take(&mut queues.value).frames.min(self.frames);
                self.apps.emptied(place);
            }
        } else if ring.len() > 1 {
            ring.rotate_left(1);
        }
        id
    }

    /// A connection's outbox is about to be emptied without being sent.
    pub(crate) fn cleared<T>(&mut self, id: ConnId, peer: &Peer<T>) {
        if peer.marks.is_queued() {
            self.handed_out(id, peer);
        }
    }

    /// A connection is about to be written to: its frames no longer count.
    pub(crate) fn handed_out<T>(&mut self, id: ConnId, peer: &Peer<T>) {
        self.remove_frames(id, peer.app(), peer.outbox.frames());
    }

    #[inline]
    fn add_frames(&mut self, place: u32, frames: usize) {
        self.frames += frames;
        self.apps.at_mut(place).value.frames += frames;
    }

    #[inline]
    fn remove_frames(&mut self, id: ConnId, app: u32, frames: usize) {
        if self.crowded == Some(id) {
            self.crowded = None;
        }
        let Some(queues) = self.apps.find_mut(app) else { return };
        let frames = frames.min(queues.value.frames);
        queues.value.frames -= frames;
        self.frames = self.frames.saturating_sub(frames);
        if queues.value.crowded == Some(id) {
            queues.value.crowded = None;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rings.iter().all(VecDeque::is_empty)
    }

    /// Whether too much output waits for sockets that would accept it.
    pub(crate) fn has_write_backlog(&self) -> bool {
        !self.is_empty() && (self.frames > FRAMES_MAX || self.crowded.is_some())
    }

    /// Whether too much output waits, and this app has more than its share of it: the other apps do
    /// not wait until its output is written.
    pub(crate) fn has_write_backlog_of(&self, app: u32) -> bool {
        if !self.has_write_backlog() {
            return false;
        }
        let Some(queues) = self.apps.find(app).filter(|queues| !queues.is_empty()) else {
            return false;
        };
        let apps = self.rings.iter().map(VecDeque::len).max().unwrap_or(1).max(1);
        queues.value.crowded.is_some() || queues.value.frames > FRAMES_MAX / apps
    }

    /// Releases the capacity that a burst of connections has left.
    pub(crate) fn shrink(&mut self) {
        self.apps.shrink(true);
        self.rings.iter_mut().for_each(VecDeque::shrink_to_fit);
    }

    /// For the audit: the app and the connection of each entry, by lane.
    pub(crate) fn entries(&self) -> [Vec<(u32, ConnId)>; 2] {
        self.apps.entries()
    }

    /// Checks that the apps with connections in a lane take turns, and the counts of frames.
    pub(crate) fn audit(&self) -> Result<(), String> {
        self.apps.audit()?;
        let mut frames = 0;
        for place in 0..self.apps.len() {
            let queues = self.apps.at(place);
            frames += queues.value.frames;
            for (ring, queue) in self.rings.iter().zip(&queues.lanes) {
                let turns = ring.iter().filter(|it| **it == place).count();
                if turns != usize::from(!queue.is_empty()) {
                    return Err(format!("app {} has {turns} turns to be written to", queues.app));
                }
            }
        }
        match frames == self.frames || self.is_empty() {
            true => Ok(()),
            false => Err(format!("{} frames are counted, {frames} of the apps", self.frames)),
        }
    }
}
