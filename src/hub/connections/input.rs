//! Which connection's input is handled next, within the budget of the turn; pauses of connections
//! whose client does not read. Parsing and handling of the input is not in this file: see
//! `request`, `subscriber` and `input` of the hub.

use super::Connections;
use crate::config::LimitKind;
use crate::hub::ids::{ConnId, Now};
use crate::hub::peer::{Mark, Peer, Phase};
use crate::hub::schedule::Held;
use crate::hub::work::Lane;
use crate::proto::websocket::Reader;

impl<T> Connections<T> {
    /// Begins a turn of the event loop with a full budget. Until the first call work is unlimited.
    pub(in crate::hub) fn begin_turn(&mut self) {
        self.work.begin_turn(self.limits.work_per_turn.into());
        self.schedule.begin_turn();
    }

    /// Begins a visit of a connection that [`Hub::next_read`](crate::hub::Hub::next_read) did not
    /// return.
    pub(in crate::hub) fn begin_visit(&mut self) {
        self.work.begin_visit(Lane::Light);
    }

    /// Whether the budget of the turn is used up.
    pub(in crate::hub) fn is_turn_over(&self) -> bool {
        self.work.is_turn_over()
    }

    /// How many connections this turn writes to.
    pub(in crate::hub) fn flushes_of_turn(&self) -> u32 {
        self.work.flushes(self.limits.flushes_per_turn)
    }

    /// A connection's socket may be readable: [`Hub::next_read`](crate::hub::Hub::next_read) will
    /// return the connection.
    pub(in crate::hub) fn ready(&mut self, id: ConnId) {
        let lane = self.work.lane_after_visit();
        self.schedule_in(id, lane);
    }

    /// The same if the client has closed its side.
    pub(in crate::hub) fn ready_to_end(&mut self, id: ConnId) {
        let is_open = self.get(id).is_some_and(|peer| matches!(peer.phase, Phase::Open(_)));
        match is_open {
            true => self.schedule_in(id, Lane::Heavy),
            false => self.ready(id),
        }
    }

    /// The next connection to visit, and the lane it was in.
    pub(in crate::hub) fn next_visit(&mut self) -> Option<(ConnId, Lane)> {
        self.schedule.charge(self.work.visit_units(), self.work.turn_budget());
        loop {
            // Heavy work must not fill outboxes faster than they are written.
            let lanes = &self.lanes;
            let may_be_heavy = self.schedule.has_heavy(|app| lanes.has_write_backlog_of(app));
            let work = &self.work;
            let is_light_over = match may_be_heavy {
                true => work.is_light_share_over(),
                false => work.is_turn_over(),
            };
            let (lane, mark) = if self.schedule.has_light() && !is_light_over {
                (Lane::Light, Mark::Light)
            } else if may_be_heavy && !work.is_turn_over() {
                (Lane::Heavy, Mark::Heavy)
            } else {
                self.schedule.end_visit();
                return None;
            };
            // The lane may still contain the ids of removed connections.
            let id = self.schedule.pop(lane)?;
            if let Some(peer) = self.get_mut(id)
                && peer.marks.take(mark)
            {
                return Some((id, lane));
            }
        }
    }

    /// Puts a connection in a lane, unless it is in one already or is paused.
    pub(in crate::hub) fn schedule_in(&mut self, id: ConnId, lane: Lane) {
        let Some(peer) = self.get_mut(id) else { return };
        if [Mark::Light, Mark::Heavy, Mark::Paused].into_iter().any(|mark| peer.marks.has(mark)) {
            return;
        }
        peer.marks.set(match lane {
            Lane::Light => Mark::Light,
            Lane::Heavy => Mark::Heavy,
        });
        let app = peer.app();
        self.schedule.push(id, app, lane, self.work.has_turns());
    }

    /// Whether a client must read earlier responses first, because they are too many or too long.
    /// If so, pauses its connection until its outbox is empty. Checked before each visit, as the
    /// input of one visit causes a bounded number of responses.
    pub(in crate::hub) fn must_wait_for_reader(&mut self, id: ConnId, now: Now) -> bool {
        let Some(peer) = self.get(id) else { return false };
        if matches!(peer.phase, Phase::Viewing(_) | Phase::Closing(_)) || peer.outbox.is_empty() {
            return false;
        }
        let waits = u32::from(peer.pending_replies) > self.limits.pipelined_requests;
        if waits {
            self.pause(id, now);
        }
        waits || self.has_long_response(id, now)
    }

    /// Whether an HTTP client must read earlier responses first, because they are long. Checked
    /// before each request, as its response may be long as well. A client whose outbox exceeded the
    /// limit gets no more requests handled: it is about to be dropped.
    pub(in crate::hub) fn has_long_response(&mut self, id: ConnId, now: Now) -> bool {
        let bytes_max = UNREAD_BYTES_MAX.min(self.limits.outbox_bytes as usize / 2);
        let is_long = |peer: &Peer<T>| {
            matches!(peer.phase, Phase::Request(_))
                && (peer.outbox.bytes() > bytes_max || peer.marks.has(Mark::TooSlow))
        };
        let waits = self.get(id).is_some_and(is_long);
        if waits {
            self.pause(id, now);
        }
        waits
    }

    /// Whether a message or request of this many units must wait for a later visit, because other
    /// connections wait.
    pub(in crate::hub) fn must_defer(&self, units: impl FnOnce() -> u64) -> bool {
        self.schedule.has_work() && !self.work.may_begin(units())
    }

    /// Handles no more input of a connection until its outbox is empty.
    pub(in crate::hub) fn pause(&mut self, id: ConnId, now: Now) {
        if let Some(peer) = self.get_mut(id) {
            peer.marks.set(Mark::Paused);
            self.check_pause(id, now);
        }
    }

    /// Resumes a paused connection if its outbox is empty. Otherwise, if its socket is full, counts
    /// the limit as exceeded, once per pause.
    pub(in crate::hub) fn check_pause(&mut self, id: ConnId, now: Now) {
        let Some(peer) = self.get_mut(id).filter(|peer| peer.marks.has(Mark::Paused)) else {
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

    /// The maximum number of bytes to read from a connection in one visit. It is low for a
    /// WebSocket, where a few bytes can be an event to thousands of subscribers.
    pub(in crate::hub) fn read_bytes(&self, id: ConnId) -> usize {
        match self.get(id).map(|peer| &peer.phase) {
            None => 0,
            Some(Phase::Open(_)) => 8_192,
            // A body belongs to one request; other input may contain a request every few bytes.
            Some(Phase::Request(request)) if request.is_counted => 65_536,
            Some(Phase::Request(_)) => 16_384,
            // This input is discarded.
            Some(Phase::Viewing(_) | Phase::Closing(_)) => 65_536,
        }
    }

    /// Whether no more messages of a connection are handled: it is closing, or its client reads too
    /// slowly.
    pub(in crate::hub) fn has_ended(&self, id: ConnId) -> bool {
        let peer = self.get(id);
        peer.is_none_or(|peer| peer.subscriber().is_none() || peer.marks.has(Mark::TooSlow))
    }

    /// Holds the input from `at` on if the visit is over. Returns whether it did.
    pub(in crate::hub) fn holds_rest(&mut self, id: ConnId, bytes: &[u8], at: usize) -> bool {
        let holds = at < bytes.len() && self.work.is_visit_over();
        if holds {
            self.hold(id, None, bytes, at);
        }
        holds
    }

    /// Holds a deferred message and the input from `at` on until a later visit.
    pub(in crate::hub) fn hold(
        &mut self,
        id: ConnId,
        message: Option<String>,
        bytes: &[u8],
        at: usize,
    ) {
        let lane = match &message {
            Some(_) => Lane::Heavy,
            None => self.work.lane_after_visit(),
        };
        self.schedule.hold(id, Held { message, bytes: bytes[at..].to_vec() });
        self.schedule_in(id, lane);
    }

    /// Returns the frame reader to the subscriber, if the connection is still open.
    pub(in crate::hub) fn store_reader(&mut self, id: ConnId, reader: Reader) {
        if let Some(subscriber) = self.subscriber_mut(id) {
            subscriber.reader = reader;
        }
    }
}

/// While more bytes than this wait in its outbox, no further request of an HTTP client is handled.
/// A socket accepts about this much at once.
const UNREAD_BYTES_MAX: usize = 65_536;
