//! Decides which connection is written to next, and tracks how much output is queued. There are two
//! lanes: *prompt* for short responses and events for few subscribers, *bulk* for long responses
//! and events for many subscribers. One bulk connection is written to after every three prompt
//! ones, so that neither lane starves. The lane does not change the order of frames within an
//! outbox.
//!
//! Within a lane the apps take turns: a connection of each, then one more of each. Those of one app
//! are written to in the order in which they joined the lane.

use std::collections::VecDeque;

use super::app_queues::{AppQueues, Queues, free_idle};
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
    /// The most subscribers of an event that was queued since this was last reset.
    event_members: usize,
}

/// The output of one app in the lanes; see the fields of [`WriteLanes`].
#[derive(Debug, Default)]
pub(crate) struct Output {
    frames: usize,
    crowded: Option<ConnId>,
}

/// The queue in which a connection waits to be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteLane {
    Prompt,
    Bulk,
}

/// An event for more subscribers than this is bulk: a turn writes to this many connections (the default
/// of `limits.flushes_per_turn`).
const MANY: usize = 64;
/// The response to the publisher of an event for more subscribers than this is bulk, and is written after
/// the event: publishing is no faster than writing. For more than [`MANY`] and up to this, the response
/// is written first, and the publisher's next event shares the writes that are left.
const WAITED_FOR: usize = 1_024;
/// A response or outbox with more bytes than this is bulk. The kernel copies this much in 20 µs.
const LONG_BYTES: usize = 65_536;
/// Prompt connections per bulk one.
const PROMPT_IN_ROW: u8 = 3;
/// No heavy work begins while more frames than this wait: 8 MB of places in outboxes (16 bytes
/// each), or fifty events for ten thousand subscribers, which fit in one write to each of them.
const FRAMES_MAX: usize = 524_288;

/// The lanes of one app; see [`WriteLanes::of`]. A broadcast finds them once.
pub(crate) struct AppLanes<'l> {
    place: u32,
    queues: &'l mut Queues<Output>,
    rings: &'l mut [VecDeque<u32>; 2],
    frames: &'l mut usize,
    crowded: &'l mut Option<ConnId>,
}

impl AppLanes<'_> {
    /// A frame was put in the outbox of a connection of the app. `is_half_full` is whether the outbox
    /// was more than half full before.
    #[inline]
    pub(crate) fn pushed<T>(
        &mut self,
        id: ConnId,
        peer: &mut Peer<T>,
        lane: WriteLane,
        is_half_full: bool,
    ) {
        // A blocked connection is queued when its socket becomes writable.
        if peer.marks.has(Mark::Blocked) {
            return;
        }
        if !peer.marks.is_queued() {
            self.add_frames(peer.outbox.frames());
            return self.put(id, peer, lane);
        }
        self.add_frames(1);
        if is_half_full {
            *self.crowded = Some(id);
            self.queues.value.crowded = Some(id);
        }
        if lane == WriteLane::Prompt {
            self.put(id, peer, lane);
        }
    }

    #[inline]
    fn put<T>(&mut self, id: ConnId, peer: &mut Peer<T>, lane: WriteLane) {
        match lane {
            WriteLane::Prompt if !peer.marks.has(Mark::Prompt) => {
                peer.marks.set(Mark::Prompt);
                self.join(id, WriteLane::Prompt);
            }
            WriteLane::Bulk if !peer.marks.is_queued() => {
                peer.marks.set(Mark::Bulk);
                self.join(id, WriteLane::Bulk);
            }
            _ => {}
        }
    }

    #[inline]
    fn join(&mut self, id: ConnId, lane: WriteLane) {
        let queue = &mut self.queues.lanes[lane as usize];
        if queue.is_empty() {
            self.rings[lane as usize].push_back(self.place);
        }
        queue.push_back(id);
    }

    #[inline]
    fn add_frames(&mut self, frames: usize) {
        *self.frames += frames;
        self.queues.value.frames += frames;
    }
}

impl WriteLanes {
    /// The lane of an event for this many subscribers.
    pub(crate) fn lane_of_event(&mut self, members: usize) -> WriteLane {
        self.event_members = self.event_members.max(members);
        if members > MANY { WriteLane::Bulk } else { WriteLane::Prompt }
    }

    /// The lane of a response of this many bytes.
    pub(crate) fn lane_of_response(bytes: usize) -> WriteLane {
        if bytes > LONG_BYTES { WriteLane::Bulk } else { WriteLane::Prompt }
    }

    /// Forgets the events that were queued.
    pub(crate) fn begin_request(&mut self) {
        self.event_members = 0;
    }

    /// The lane of a response of this many bytes to a request that has queued these events.
    pub(crate) fn lane_after_event(&mut self, bytes: usize) -> WriteLane {
        match std::mem::take(&mut self.event_members) > WAITED_FOR {
            true => WriteLane::Bulk,
            false => WriteLanes::lane_of_response(bytes),
        }
    }

    /// The lanes of one app.
    #[inline]
    pub(crate) fn of(&mut self, app: u32) -> AppLanes<'_> {
        let place = self.apps.place_of(app);
        AppLanes {
            place,
            queues: self.apps.at_mut(place),
            rings: &mut self.rings,
            frames: &mut self.frames,
            crowded: &mut self.crowded,
        }
    }

    /// Queues a connection, even if its outbox is empty.
    pub(crate) fn touched<T>(&mut self, id: ConnId, peer: &mut Peer<T>) {
        let mut lanes = self.of(peer.app());
        if !peer.marks.is_queued() {
            lanes.add_frames(peer.outbox.frames());
        }
        let is_long = peer.outbox.bytes() > LONG_BYTES;
        lanes.put(id, peer, if is_long { WriteLane::Bulk } else { WriteLane::Prompt });
    }

    /// A connection belongs to another app now: it waits among those. Its entry in the lane of the
    /// former app stays, and has no effect if it comes second.
    pub(crate) fn moved<T>(&mut self, id: ConnId, from: u32, peer: &Peer<T>) {
        if !peer.marks.is_queued() {
            return;
        }
        self.remove_frames(id, from, peer.outbox.frames());
        let mut lanes = self.of(peer.app());
        lanes.add_frames(peer.outbox.frames());
        if peer.marks.has(Mark::Prompt) {
            lanes.join(id, WriteLane::Prompt);
        }
        if peer.marks.has(Mark::Bulk) {
            lanes.join(id, WriteLane::Bulk);
        }
    }

    /// The next entry of the lanes: a connection, the mark that is set if the entry is still valid,
    /// and the place to pass to [`WriteLanes::handed_out`]. The connection may have been removed.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<(ConnId, Mark, u32)> {
        let has_bulk = !self.rings[WriteLane::Bulk as usize].is_empty();
        let is_prompt = !has_bulk || self.prompt_in_row < PROMPT_IN_ROW;
        if is_prompt && let Some((id, place)) = self.next_in(WriteLane::Prompt) {
            self.prompt_in_row = self.prompt_in_row.saturating_add(1);
            return Some((id, Mark::Prompt, place));
        }
        self.prompt_in_row = 0;
        match self.next_in(WriteLane::Bulk) {
            Some((id, place)) => Some((id, Mark::Bulk, place)),
            None => {
                // The lanes are empty. Reset both values, as they are approximate.
                (self.frames, self.crowded) = (0, None);
                self.apps.all_emptied();
                self.rings.iter_mut().for_each(free_idle);
                None
            }
        }
    }

    /// The next connection of the app whose turn it is in a lane, and the place of the app.
    #[inline]
    fn next_in(&mut self, lane: WriteLane) -> Option<(ConnId, u32)> {
        let ring = &mut self.rings[lane as usize];
        let place = *ring.front()?;
        let queue = &mut self.apps.at_mut(place).lanes[lane as usize];
        let id = queue.pop_front()?;
        if queue.is_empty() {
            self.leave(place, lane);
        } else if ring.len() > 1 {
            rotate(ring);
        }
        Some((id, place))
    }

    /// The app whose turn it was has no more connections in a lane.
    #[inline(never)]
    fn leave(&mut self, place: u32, lane: WriteLane) {
        self.rings[lane as usize].pop_front();
        let queues = self.apps.at_mut(place);
        if queues.is_empty() {
            // Approximate values end here.
            self.frames -= std::mem::take(&mut queues.value).frames.min(self.frames);
            self.apps.emptied(place);
        }
    }

    /// A connection's outbox is about to be emptied without being sent.
    pub(crate) fn cleared<T>(&mut self, id: ConnId, peer: &Peer<T>) {
        if peer.marks.is_queued() {
            self.remove_frames(id, peer.app(), peer.outbox.frames());
        }
    }

    /// A connection is about to be written to: its frames no longer count.
    #[inline]
    pub(crate) fn handed_out<T>(&mut self, id: ConnId, peer: &Peer<T>, place: u32) {
        let output = &mut self.apps.at_mut(place).value;
        let frames = peer.outbox.frames().min(output.frames);
        output.frames -= frames;
        self.frames = self.frames.saturating_sub(frames);
        if self.crowded.is_some() || output.crowded.is_some() {
            self.uncrowd(id, peer.app());
        }
    }

    #[inline(never)]
    fn uncrowd(&mut self, id: ConnId, app: u32) {
        if self.crowded == Some(id) {
            self.crowded = None;
        }
        if let Some(queues) = self.apps.find_mut(app)
            && queues.value.crowded == Some(id)
        {
            queues.value.crowded = None;
        }
    }

    fn remove_frames(&mut self, id: ConnId, app: u32, frames: usize) {
        self.uncrowd(id, app);
        let Some(queues) = self.apps.find_mut(app) else { return };
        let frames = frames.min(queues.value.frames);
        queues.value.frames -= frames;
        self.frames = self.frames.saturating_sub(frames);
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

/// The first app has had its turn.
#[inline(never)]
fn rotate(ring: &mut VecDeque<u32>) {
    if let Some(first) = ring.pop_front() {
        ring.push_back(first);
    }
}
