//! Which connection's input is handled next: round robin, in two lanes, within the budget of the
//! turn. A connection is in at most one lane; input that was read and could not be handled yet is
//! held here until its connection is visited again.
//!
//! Order within a connection is kept: its held input is handled before any more is read. Between
//! connections there is no order to keep, as no message or request that waits has been started.

use std::collections::{HashMap, VecDeque};

use super::Hub;
use super::peer::{ConnId, Mark, Now, Peer, Phase};
use super::random::Hashing;
use super::work::Lane;
use crate::config::LimitKind;
use crate::proto::snapshot::{Codec, DecodeResult};

/// The connections with input to handle.
#[derive(Debug)]
pub(crate) struct Schedule {
    light: VecDeque<ConnId>,
    heavy: VecDeque<ConnId>,
    /// Connections of the light lane that have not been visited in this turn.
    light_left: usize,
    /// Input of WebSockets that was read and not handled.
    held: HashMap<ConnId, Held, Hashing>,
}

/// Input of a WebSocket that was read and not handled yet.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// A message to handle before `bytes`: it is expensive, or its client must read a member list
    /// first.
    pub message: Option<String>,
    /// The input after it.
    pub bytes: Vec<u8>,
}

impl Held {
    /// Writes it to the saved state, or reads it from there.
    pub(super) fn snapshot(c: &mut Codec, held: &mut Held) -> DecodeResult {
        c.option(&mut held.message, Codec::text)?;
        c.bytes(&mut held.bytes)
    }
}

impl Schedule {
    pub(crate) fn new(hashing: Hashing) -> Self {
        Schedule {
            light: VecDeque::new(),
            heavy: VecDeque::new(),
            light_left: 0,
            held: HashMap::with_hasher(hashing),
        }
    }

    fn begin_turn(&mut self) {
        self.light_left = self.light.len();
        // Release the capacity that a burst of connections has left.
        for lane in [&mut self.light, &mut self.heavy] {
            if lane.is_empty() && lane.capacity() > ROOM_KEPT {
                *lane = VecDeque::new();
            }
        }
    }

    /// Whether any connection has input to handle.
    pub(crate) fn has_work(&self) -> bool {
        !self.light.is_empty() || !self.heavy.is_empty()
    }

    /// Whether nothing is held, and no lane has a connection.
    pub(crate) fn is_empty(&self) -> bool {
        !self.has_work() && self.held.is_empty()
    }

    pub(crate) fn held_mut(&mut self, id: ConnId) -> Option<&mut Held> {
        self.held.get_mut(&id)
    }

    /// Writes a connection's held input to the saved state, or reads it from there, if any is held.
    pub(super) fn snapshot_held(&mut self, id: ConnId, c: &mut Codec) -> DecodeResult {
        let mut held = self.held.remove(&id);
        let carried = c.option(&mut held, Held::snapshot);
        held.into_iter().for_each(|held| self.hold(id, held));
        carried
    }

    pub(crate) fn hold(&mut self, id: ConnId, held: Held) {
        self.held.insert(id, held);
    }

    /// Removes the held input of a connection, and returns it.
    pub(crate) fn forget(&mut self, id: ConnId) -> Option<Held> {
        let held = self.held.remove(&id);
        if self.held.is_empty() && self.held.capacity() > ROOM_KEPT {
            self.held.shrink_to_fit();
        }
        held
    }
}

/// A lane, or the map of held input, keeps at most this capacity when it is empty.
const ROOM_KEPT: usize = 1_024;

impl<T> Hub<T> {
    /// Begins a turn of the event loop with a full budget. Until the first call work is unlimited.
    pub fn begin_turn(&mut self) {
        self.peers.work.begin_turn(self.limits.work_per_turn.into());
        self.schedule.begin_turn();
    }

    /// Begins a visit of a connection that was not returned by [`Hub::next_read`].
    pub fn begin_visit(&mut self) {
        self.peers.work.begin_visit(Lane::Light);
    }

    /// Whether the budget of the turn is used up.
    pub fn is_turn_over(&self) -> bool {
        self.peers.work.is_turn_over()
    }

    /// A connection's socket may be readable: [`Hub::next_read`] will return the connection.
    pub fn ready(&mut self, id: ConnId) {
        let lane = self.peers.work.lane_after_visit();
        self.schedule_in(id, lane);
    }

    /// The next connection to read from, and how many bytes to read at most; pass the bytes to
    /// [`Hub::receive`]. Handles held input first. Returns `None` when the budget of the turn is
    /// used up, or when every connection was visited.
    pub fn next_read(&mut self, now: Now) -> Option<(ConnId, usize)> {
        while let Some((id, lane)) = self.next_visit() {
            self.peers.work.begin_visit(lane);
            if self.must_wait_for_reader(id, now) || self.resume(id, now) {
                self.drop_slow(now);
                continue;
            }
            let bytes = self.read_bytes(id);
            if bytes > 0 {
                return Some((id, bytes));
            }
        }
        self.peers.work.end_visit();
        None
    }

    /// Whether the next turn has work without an event of the poller: input to handle, or
    /// connections whose deadline has passed. Writes are not included; see [`Hub::has_dirty`].
    pub fn has_work(&self) -> bool {
        self.schedule.has_work() || self.has_due_connections()
    }

    /// Units of work since the start, for tests that measure what an operation costs.
    #[doc(hidden)]
    pub fn work_done(&self) -> u64 {
        self.peers.work.done()
    }

    fn next_visit(&mut self) -> Option<(ConnId, Lane)> {
        loop {
            let work = &self.peers.work;
            // Heavy work must not fill outboxes faster than they are written.
            let may_be_heavy = !self.schedule.heavy.is_empty() && !self.peers.is_behind();
            let is_light_over = match may_be_heavy {
                true => work.is_light_share_over(),
                false => work.is_turn_over(),
            };
            let has_light = self.schedule.light_left > 0 || !work.has_turns();
            let (id, lane, mark) = if has_light && !self.schedule.light.is_empty() && !is_light_over
            {
                self.schedule.light_left = self.schedule.light_left.saturating_sub(1);
                (self.schedule.light.pop_front()?, Lane::Light, Mark::Light)
            } else if may_be_heavy && !work.is_turn_over() {
                (self.schedule.heavy.pop_front()?, Lane::Heavy, Mark::Heavy)
            } else {
                return None;
            };
            // The lane may still contain the ids of removed connections.
            if let Some(peer) = self.peers.get_mut(id)
                && peer.marks.take(mark)
            {
                return Some((id, lane));
            }
        }
    }

    /// Puts a connection in a lane, unless it is in one already or is paused.
    pub(super) fn schedule_in(&mut self, id: ConnId, lane: Lane) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        if [Mark::Light, Mark::Heavy, Mark::Paused].into_iter().any(|mark| peer.marks.has(mark)) {
            return;
        }
        match lane {
            Lane::Light => {
                peer.marks.set(Mark::Light);
                self.schedule.light.push_back(id);
            }
            Lane::Heavy => {
                peer.marks.set(Mark::Heavy);
                self.schedule.heavy.push_back(id);
            }
        }
    }

    /// Whether a client must read its earlier answers first, because they are too many or too long.
    /// Its connection is then paused until its outbox is empty. Checked before each visit: the
    /// input of one visit leads to a bounded number of answers.
    fn must_wait_for_reader(&mut self, id: ConnId, now: Now) -> bool {
        let Some(peer) = self.peers.get(id) else { return false };
        if matches!(peer.phase, Phase::Closing(_)) || peer.outbox.is_empty() {
            return false;
        }
        let waits = u32::from(peer.pending_replies) > self.limits.pipelined_requests;
        if waits {
            self.pause(id, now);
        }
        waits || self.has_long_answer(id, now)
    }

    /// Whether an HTTP client must read its earlier answers first, because they are long. Checked
    /// before each request, as its answer may be long as well. A client whose outbox exceeded the
    /// limit is served no more requests: it is about to be dropped.
    pub(super) fn has_long_answer(&mut self, id: ConnId, now: Now) -> bool {
        let bytes_max = ANSWER_BYTES_MAX.min(self.limits.outbox_bytes as usize / 2);
        let is_long = |peer: &Peer<T>| {
            matches!(peer.phase, Phase::Request(_))
                && (peer.outbox.bytes() > bytes_max || peer.marks.has(Mark::TooSlow))
        };
        let waits = self.peers.get(id).is_some_and(is_long);
        if waits {
            self.pause(id, now);
        }
        waits
    }

    /// Whether to put off a message or request of this many units, since other connections wait.
    pub(super) fn is_put_off(&self, units: impl FnOnce(&Self) -> u64) -> bool {
        self.schedule.has_work() && !self.peers.work.may_begin(units(self))
    }

    /// Handles no more input of a connection until its outbox is empty.
    pub(super) fn pause(&mut self, id: ConnId, now: Now) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.marks.set(Mark::Paused);
            self.check_pause(id, now);
        }
    }

    /// Resumes a paused connection if its outbox is empty. Otherwise, if its socket is full, counts
    /// a hit of the limit, once per pause.
    pub(super) fn check_pause(&mut self, id: ConnId, now: Now) {
        let Some(peer) = self.peers.get_mut(id).filter(|peer| peer.marks.has(Mark::Paused)) else {
            return;
        };
        if peer.outbox.is_empty() {
            peer.marks.clear(Mark::Paused);
            peer.marks.clear(Mark::PauseCounted);
            peer.pending_replies = 0;
            self.schedule_in(id, Lane::Light);
        } else if peer.marks.has(Mark::Blocked) && !peer.marks.has(Mark::PauseCounted) {
            peer.marks.set(Mark::PauseCounted);
            self.limit_exceeded(id, LimitKind::PipelinedRequests, now);
        }
    }

    /// Handles the held input of a connection. Returns `false` if there was none.
    fn resume(&mut self, id: ConnId, now: Now) -> bool {
        let Some(peer) = self.peers.get_mut(id) else { return true };
        match &mut peer.phase {
            Phase::Request(request) if request.is_held => {
                let request = std::mem::take(request);
                self.request_bytes(id, request, &mut [], now);
            }
            Phase::Open(_) => {
                let Some(held) = self.schedule.forget(id) else { return false };
                self.held_frames(id, held, now);
            }
            _ => return false,
        }
        // The socket may have more: its readable event may have arrived while this was held.
        let lane = self.peers.work.lane_after_visit();
        self.schedule_in(id, lane);
        true
    }

    /// How many bytes to read from a connection in one visit. Few from a WebSocket: every few of
    /// them may be an event for thousands of subscribers.
    fn read_bytes(&self, id: ConnId) -> usize {
        match self.peers.get(id).map(|peer| &peer.phase) {
            None => 0,
            Some(Phase::Open(_)) => 8_192,
            // A body belongs to one request; other input may be a request every few bytes.
            Some(Phase::Request(request)) if request.checked => 65_536,
            Some(Phase::Request(_)) => 16_384,
            // This input is discarded.
            Some(Phase::Closing(_)) => 65_536,
        }
    }
}

/// An HTTP client's next request is not handled while more bytes of answers wait: about what a
/// socket accepts at once.
const ANSWER_BYTES_MAX: usize = 65_536;
