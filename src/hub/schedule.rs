//! The queues of connections with input. There are two, the light and the heavy lane (see `Lane` in
//! `work`); each is served in turn. A connection is in at most one of them. Input that was read and
//! not handled, because a budget was used up, is held here until the connection is visited again.
//! The next connection is chosen in `connections/input`.
//!
//! The input of one connection is handled in order: held input before any more is read. Between
//! connections no order is guaranteed.

use std::collections::{HashMap, VecDeque};

use super::ids::ConnId;
use super::random::Hashing;
use crate::proto::snapshot::{Codec, DecodeResult};

/// The connections with input to handle.
#[derive(Debug)]
pub(crate) struct Schedule {
    pub light: VecDeque<ConnId>,
    pub heavy: VecDeque<ConnId>,
    /// How many connections at the front of the light lane were not visited in this turn. Those
    /// that join the lane during the turn wait for the next one.
    pub light_left: usize,
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
    /// Encodes or decodes the held input.
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

    pub(crate) fn begin_turn(&mut self) {
        self.light_left = self.light.len();
        // Free the capacity that a burst of connections has left.
        for lane in [&mut self.light, &mut self.heavy] {
            if lane.is_empty() && lane.capacity() > IDLE_CAPACITY_MAX {
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

    /// Encodes or decodes the held input of a connection, if any.
    pub(super) fn snapshot_held(&mut self, id: ConnId, c: &mut Codec) -> DecodeResult {
        let mut held = self.held.remove(&id);
        let result = c.option(&mut held, Held::snapshot);
        if let Some(held) = held {
            self.hold(id, held);
        }
        result
    }

    pub(crate) fn hold(&mut self, id: ConnId, held: Held) {
        self.held.insert(id, held);
    }

    /// Removes the held input of a connection, and returns it.
    pub(crate) fn take_held(&mut self, id: ConnId) -> Option<Held> {
        let held = self.held.remove(&id);
        if self.held.is_empty() && self.held.capacity() > IDLE_CAPACITY_MAX {
            self.held.shrink_to_fit();
        }
        held
    }
}

/// A lane, or the map of held input, keeps at most this capacity when it is empty.
const IDLE_CAPACITY_MAX: usize = 1_024;
