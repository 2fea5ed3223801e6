//! Decides which connection is written to next, and tracks how much output is queued. There are two
//! lanes: *prompt* for short responses and events for few subscribers, *bulk* for long responses
//! and events for many subscribers. One bulk connection is written to after every three prompt
//! ones, so that neither lane starves. The lane does not change the order of frames within an
//! outbox.

use std::collections::VecDeque;

use super::ids::ConnId;
use super::peer::{Mark, Peer};

/// The connections that the owner of the sockets must write to or close.
#[derive(Debug, Default)]
pub(crate) struct WriteLanes {
    prompt: VecDeque<ConnId>,
    bulk: VecDeque<ConnId>,
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

    /// A frame was put in a connection's outbox. `is_half_full` is whether the outbox was more than
    /// half full before.
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
            self.frames += peer.outbox.frames();
            return self.put(id, peer, lane);
        }
        self.frames += 1;
        if is_half_full {
            self.crowded = Some(id);
        }
        if lane == WriteLane::Prompt {
            self.put(id, peer, lane);
        }
    }

    /// Queues a connection, even if its outbox is empty.
    pub(crate) fn touched<T>(&mut self, id: ConnId, peer: &mut Peer<T>) {
        if !peer.marks.is_queued() {
            self.frames += peer.outbox.frames();
        }
        let is_long = peer.outbox.bytes() > LONG_BYTES;
        self.put(id, peer, if is_long { WriteLane::Bulk } else { WriteLane::Prompt });
    }

    #[inline]
    fn put<T>(&mut self, id: ConnId, peer: &mut Peer<T>, lane: WriteLane) {
        match lane {
            WriteLane::Prompt if !peer.marks.has(Mark::Prompt) => {
                peer.marks.set(Mark::Prompt);
                self.prompt.push_back(id);
            }
            WriteLane::Bulk if !peer.marks.is_queued() => {
                peer.marks.set(Mark::Bulk);
                self.bulk.push_back(id);
            }
            _ => {}
        }
    }

    /// The next entry of the lanes: a connection, and the mark that is set if the entry is still
    /// valid. The connection may have been removed.
    pub(crate) fn next(&mut self) -> Option<(ConnId, Mark)> {
        let is_prompt = self.bulk.is_empty() || self.prompt_in_row < PROMPT_IN_ROW;
        if is_prompt && let Some(id) = self.prompt.pop_front() {
            self.prompt_in_row = self.prompt_in_row.saturating_add(1);
            return Some((id, Mark::Prompt));
        }
        self.prompt_in_row = 0;
        match self.bulk.pop_front() {
            Some(id) => Some((id, Mark::Bulk)),
            None => {
                // The lanes are empty. Reset both values, as they are approximate.
                (self.frames, self.crowded) = (0, None);
                None
            }
        }
    }

    /// A connection's outbox is about to be emptied without being sent.
    pub(crate) fn cleared<T>(&mut self, id: ConnId, peer: &Peer<T>) {
        if peer.marks.is_queued() {
            self.handed_out(id, peer);
        }
    }

    /// A connection is about to be written to: its frames no longer count.
    pub(crate) fn handed_out<T>(&mut self, id: ConnId, peer: &Peer<T>) {
        self.frames = self.frames.saturating_sub(peer.outbox.frames());
        if self.crowded == Some(id) {
            self.crowded = None;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.prompt.is_empty() && self.bulk.is_empty()
    }

    /// Whether too much output waits for sockets that would accept it.
    pub(crate) fn has_write_backlog(&self) -> bool {
        !self.is_empty() && (self.frames > FRAMES_MAX || self.crowded.is_some())
    }

    /// Releases the capacity that a burst of connections has left.
    pub(crate) fn shrink(&mut self) {
        self.prompt.shrink_to_fit();
        self.bulk.shrink_to_fit();
    }
}
