//! Which connection's input is handled next: round robin, in two lanes, within the budget of the
//! turn. A connection is in at most one lane; input that was read and could not be handled yet is
//! held here until its connection is visited again.
//!
//! Order within a connection is kept: nothing of it is read or handled before what is held. Between
//! connections there is none to keep, as none of what waits has begun.

use std::collections::{HashMap, VecDeque};

use super::Hub;
use super::peer::{ConnId, Mark, Now, Peer, Phase};
use super::random::Hashing;
use super::work::Lane;
use crate::config::Bound;
use crate::proto::carry::{Carried, Carrier};

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

/// What was read of a WebSocket and not handled.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// A message that is much work, and comes first.
    pub message: Option<String>,
    /// What came after it.
    pub bytes: Vec<u8>,
}

impl Held {
    /// Writes it down, or reads it.
    pub(super) fn carry(c: &mut Carrier, held: &mut Held) -> Carried {
        c.option(&mut held.message, Carrier::text)?;
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
        // A crowd must not leave its room behind.
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

    /// Whether nobody else waits for the connection that is visited.
    pub(crate) fn is_alone(&self) -> bool {
        !self.has_work()
    }

    pub(crate) fn held_mut(&mut self, id: ConnId) -> Option<&mut Held> {
        self.held.get_mut(&id)
    }

    /// Writes down what is held of a connection, if anything is.
    pub(super) fn carry_held(&mut self, id: ConnId, c: &mut Carrier) -> Carried {
        let mut held = self.held.remove(&id);
        let carried = c.option(&mut held, Held::carry);
        held.into_iter().for_each(|held| self.hold(id, held));
        carried
    }

    pub(crate) fn hold(&mut self, id: ConnId, held: Held) {
        self.held.insert(id, held);
    }

    /// Forgets what is held of a connection that is closing.
    pub(crate) fn forget(&mut self, id: ConnId) -> Option<Held> {
        let held = self.held.remove(&id);
        if self.held.is_empty() && self.held.capacity() > ROOM_KEPT {
            self.held.shrink_to_fit();
        }
        held
    }
}

/// Places that a lane keeps when it is empty.
const ROOM_KEPT: usize = 1_024;

impl<T> Hub<T> {
    /// Begins a turn of the event loop: the budget is full again. Without turns there is no budget.
    pub fn begin_turn(&mut self) {
        self.peers.work.begin_turn(self.limits.work_per_turn.into());
        self.schedule.begin_turn();
    }

    /// Begins to handle what one connection has sent, outside of [`Hub::next_read`].
    pub fn begin_visit(&mut self) {
        self.peers.work.begin_visit(Lane::Light);
    }

    /// Whether the budget of the turn is used up.
    pub fn is_turn_over(&self) -> bool {
        self.peers.work.is_turn_over()
    }

    /// A connection's socket may have something to read: [`Hub::next_read`] names it in its turn.
    pub fn ready(&mut self, id: ConnId) {
        let lane = self.peers.work.lane_after_visit();
        self.schedule_in(id, lane);
    }

    /// The next connection to read from, and how many bytes at most; what came is to be passed to
    /// [`Hub::receive`]. Input that is held is handled on the way. `None` when the budget of the
    /// turn is used up, or every connection was visited.
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

    /// Whether the next turn has something to do without an event of the poller, beside what is
    /// written: input to handle, or connections whose time has come.
    pub fn has_work(&self) -> bool {
        self.schedule.has_work() || self.has_due_connections()
    }

    /// Units of work since the start, for those who count what something costs.
    #[doc(hidden)]
    pub fn work_done(&self) -> u64 {
        self.peers.work.done()
    }

    fn next_visit(&mut self) -> Option<(ConnId, Lane)> {
        loop {
            let work = &self.peers.work;
            // Work that is put in queues faster than it is written would fill them without end.
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
            // A connection that has gone leaves its place in the lane behind.
            if let Some(peer) = self.peers.get_mut(id)
                && peer.marks.take(mark)
            {
                return Some((id, lane));
            }
        }
    }

    /// Puts a connection in a lane, unless it is in one, or waits for its client to read.
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

    /// Whether a connection has asked for so much that it must take the answers first. It is paused
    /// then, until its outbox is empty. Looked at before each visit: what one visit reads leads to a
    /// bounded number of answers.
    fn must_wait_for_reader(&mut self, id: ConnId, now: Now) -> bool {
        let Some(peer) = self.peers.get(id) else { return false };
        if matches!(peer.phase, Phase::Closing(_)) || peer.outbox.is_empty() {
            return false;
        }
        let waits = u32::from(peer.replies) > self.limits.pipelined_requests;
        if waits {
            self.pause(id, now);
        }
        waits || self.has_long_answer(id, now)
    }

    /// The same before each request: its answer may be long, as one that waits already is. Nothing
    /// more is served to a client whose outbox went over its limit: it is about to be dropped.
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

    /// Whether a message or request of so much work is to be put off, since others wait.
    pub(super) fn is_put_off(&self, units: impl FnOnce(&Self) -> u64) -> bool {
        !self.schedule.is_alone() && !self.peers.work.may_begin(units(self))
    }

    /// Handles no more input of a connection until its client has taken what waits for it.
    pub(super) fn pause(&mut self, id: ConnId, now: Now) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.marks.set(Mark::Paused);
            self.check_pause(id, now);
        }
    }

    /// Handles the input of a paused connection again once its client has taken all that waited;
    /// counts the limit once if its socket takes no more before that.
    pub(super) fn check_pause(&mut self, id: ConnId, now: Now) {
        let Some(peer) = self.peers.get_mut(id).filter(|peer| peer.marks.has(Mark::Paused)) else {
            return;
        };
        if peer.outbox.is_empty() {
            peer.marks.clear(Mark::Paused);
            peer.marks.clear(Mark::PauseCounted);
            peer.replies = 0;
            self.schedule_in(id, Lane::Light);
        } else if peer.marks.has(Mark::Blocked) && !peer.marks.has(Mark::PauseCounted) {
            peer.marks.set(Mark::PauseCounted);
            self.hit_by(id, Bound::PipelinedRequests, now);
        }
    }

    /// Goes on with input that was read before; whether there was some.
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
        // The socket may have more; that it is readable was said while this was held.
        let lane = self.peers.work.lane_after_visit();
        self.schedule_in(id, lane);
        true
    }

    /// How much to read of a connection in one visit, in bytes. Little of a WebSocket: each few
    /// bytes may be an event for thousands.
    fn read_bytes(&self, id: ConnId) -> usize {
        match self.peers.get(id).map(|peer| &peer.phase) {
            None => 0,
            Some(Phase::Open(_)) => 8_192,
            // A body on its way is one request; otherwise each few bytes may be one.
            Some(Phase::Request(request)) if request.checked => 65_536,
            Some(Phase::Request(_)) => 16_384,
            // It is answered no more.
            Some(Phase::Closing(_)) => 65_536,
        }
    }
}

/// Bytes of answers that wait for an HTTP client before its next request is handled: about what a
/// socket takes at once.
const ANSWER_BYTES_MAX: usize = 65_536;
