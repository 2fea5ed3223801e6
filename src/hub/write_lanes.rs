//! Which connection is written to next, and how much waits to be written. Answers and events for
//! few are prompt; events for many and long messages are bulk, of which there is one for every
//! three prompt ones, so that neither waits for all of the other. Within a connection order is that
//! of its outbox, whichever lane it is in.

use std::collections::VecDeque;

use super::peer::{ConnId, Mark, Peer};

/// The connections the owner of the sockets must look at.
#[derive(Debug, Default)]
pub(crate) struct WriteLanes {
    prompt: VecDeque<ConnId>,
    bulk: VecDeque<ConnId>,
    /// Prompt ones since the last one of bulk.
    prompt_in_row: u8,
    /// Frames that wait for connections in the lanes, about.
    frames: usize,
    /// A connection whose outbox is half full though its socket would take more: the server itself
    /// is the slow one until it was written to.
    crowded: Option<ConnId>,
    /// Whether an event for many was queued since this was last taken.
    has_event_for_many: bool,
}

/// Where a connection waits to be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteLane {
    Prompt,
    Bulk,
}

/// Subscribers from which on an event is bulk: what is written to in one turn.
const MANY: usize = 1_024;
/// Bytes from which on what waits for a connection is bulk. The kernel copies this much in 20 µs.
const LONG_BYTES: usize = 65_536;
/// Prompt connections to one of bulk.
const PROMPT_IN_ROW: u8 = 3;
/// Frames that may wait before no more heavy work begins: 8 MB of places in outboxes (16 bytes
/// each), or fifty events for ten thousand, which is what one write takes at once.
const FRAMES_MAX: usize = 524_288;

impl WriteLanes {
    /// The lane of an event for so many.
    pub(crate) fn lane_of_event(&mut self, members: usize) -> WriteLane {
        if members <= MANY {
            return WriteLane::Prompt;
        }
        self.has_event_for_many = true;
        WriteLane::Bulk
    }

    /// The lane of an answer of so many bytes.
    pub(crate) fn lane_of_answer(bytes: usize) -> WriteLane {
        if bytes > LONG_BYTES { WriteLane::Bulk } else { WriteLane::Prompt }
    }

    /// Whether an event for many was queued since this was last asked. Its publisher is answered
    /// after it, and so publishes no faster than it is written.
    pub(crate) fn take_event_for_many(&mut self) -> bool {
        std::mem::take(&mut self.has_event_for_many)
    }

    /// A frame was put in the outbox of a connection; whether that is half full.
    #[inline]
    pub(crate) fn pushed<T>(
        &mut self,
        id: ConnId,
        peer: &mut Peer<T>,
        lane: WriteLane,
        is_half_full: bool,
    ) {
        // It is looked at when its socket takes more.
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

    /// A connection must be looked at, whatever waits for it.
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

    /// The next place in the lanes, with the mark of the connection that waits there, if it has not
    /// gone.
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
                // Connections that have gone took frames with them.
                (self.frames, self.crowded) = (0, None);
                None
            }
        }
    }

    /// What waits for a connection is forgotten.
    pub(crate) fn cleared<T>(&mut self, id: ConnId, peer: &Peer<T>) {
        if peer.marks.is_queued() {
            self.handed_out(id, peer);
        }
    }

    /// A connection is written to as far as its socket takes it.
    pub(crate) fn handed_out<T>(&mut self, id: ConnId, peer: &Peer<T>) {
        self.frames = self.frames.saturating_sub(peer.outbox.frames());
        if self.crowded == Some(id) {
            self.crowded = None;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.prompt.is_empty() && self.bulk.is_empty()
    }

    pub(crate) fn is_behind(&self) -> bool {
        !self.is_empty() && (self.frames > FRAMES_MAX || self.crowded.is_some())
    }

    /// Gives back room that a crowd has left.
    pub(crate) fn shrink(&mut self) {
        self.prompt.shrink_to_fit();
        self.bulk.shrink_to_fit();
    }
}
