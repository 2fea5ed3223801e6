//! The connections with input. They wait in two lanes, light and heavy (see `Lane` in `work`); a
//! connection is in at most one of them. Input that was read and not handled, because a budget was
//! used up, is held here until the connection is visited again. Whether a lane may be served now is
//! decided in `connections/input`.
//!
//! Within a lane the apps take turns: a connection of each, then one more of each. An app that has
//! used its share of the turn's units (the budget, divided by the apps with input) waits until no
//! other app has input; it then uses what is left. The connections of one app are visited in the order
//! in which they joined the lane.
//!
//! The input of one connection is handled in order: held input before any more is read. Between
//! connections no order is guaranteed.

use std::collections::{HashMap, VecDeque};

use super::app_queues::{AppQueues, IDLE_CAPACITY_MAX, free_idle};
use super::ids::ConnId;
use super::peer::{Mark, Marks};
use super::random::Hashing;
use super::work::Lane;
use crate::proto::snapshot::{Codec, DecodeResult};

/// The connections with input to handle.
#[derive(Debug)]
pub(crate) struct Schedule {
    apps: AppQueues<Input>,
    rings: [Ring; 2],
    /// The apps whose connections in the light lane have all joined it during this turn. They wait
    /// for the next one.
    joined: VecDeque<u32>,
    /// The number of connections in each lane.
    waiting: [usize; 2],
    /// The place of the app whose connection is being visited.
    visited: Option<u32>,
    /// How many apps had input in this turn.
    active: u64,
    /// Input of WebSockets that was read and not handled.
    held: HashMap<ConnId, Held, Hashing>,
}

/// The apps with connections that may be visited in this turn, by the places of their queues. The
/// first is next.
#[derive(Debug, Default)]
struct Ring {
    first: VecDeque<u32>,
    /// Those that have used their share of the turn, or must wait until their output is written.
    later: VecDeque<u32>,
}

/// The input of one app.
#[derive(Debug, Default)]
struct Input {
    /// How many connections at the front of the light lane were not visited in this turn. Those
    /// that join the lane during the turn wait for the next one.
    light_left: usize,
    /// Units of work in this turn.
    units: u64,
    /// Whether these are the share of an app.
    has_used_share: bool,
    /// Whether the app had input in this turn.
    is_active: bool,
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

impl Ring {
    /// Those of which the first is next.
    fn current(&mut self) -> &mut VecDeque<u32> {
        if self.first.is_empty() { &mut self.later } else { &mut self.first }
    }
}

impl Schedule {
    pub(crate) fn new(hashing: Hashing) -> Self {
        Schedule {
            apps: AppQueues::default(),
            rings: Default::default(),
            joined: VecDeque::new(),
            waiting: [0; 2],
            visited: None,
            active: 0,
            held: HashMap::with_hasher(hashing),
        }
    }

    pub(crate) fn begin_turn(&mut self) {
        self.visited = None;
        // Apps that had no visit in the last turn come first.
        for ring in &mut self.rings {
            ring.first.append(&mut ring.later);
        }
        self.rings[LIGHT].first.append(&mut self.joined);
        self.active = 0;
        for place in 0..self.apps.len() {
            let queues = self.apps.at_mut(place);
            let is_active = !queues.is_empty();
            let light_left = queues.lanes[LIGHT].len();
            queues.value = Input { light_left, is_active, ..Input::default() };
            self.active += u64::from(is_active);
            if !is_active {
                self.apps.emptied(place);
            }
        }
        // Free the capacity that a burst of connections, or of apps, has left.
        self.apps.shrink(false);
        let rings = self.rings.iter_mut().flat_map(|ring| [&mut ring.first, &mut ring.later]);
        rings.chain([&mut self.joined]).for_each(free_idle);
    }

    /// Puts a connection of this app in a lane. Without turns it may be visited at once.
    pub(crate) fn push(&mut self, id: ConnId, app: u32, lane: Lane, has_turns: bool) {
        let place = self.apps.place_of(app);
        let queues = self.apps.at_mut(place);
        let queue = &mut queues.lanes[lane as usize];
        let is_first = queue.is_empty();
        queue.push_back(id);
        self.waiting[lane as usize] += 1;
        let input = &mut queues.value;
        self.active += u64::from(!std::mem::replace(&mut input.is_active, true));
        input.light_left += usize::from(lane == Lane::Light && !has_turns);
        match (lane, input.has_used_share) {
            _ if !is_first => {}
            (Lane::Light, _) if has_turns => self.joined.push_back(place),
            (_, false) => self.rings[lane as usize].first.push_back(place),
            (_, true) => self.rings[lane as usize].later.push_back(place),
        }
    }

    /// A connection belongs to another app now: if it is in a lane, it waits among those. Its entry
    /// among those of the former app stays, and has no effect if it comes second.
    pub(crate) fn moved(&mut self, id: ConnId, app: u32, marks: Marks, has_turns: bool) {
        for (mark, lane) in [(Mark::Light, Lane::Light), (Mark::Heavy, Lane::Heavy)] {
            if marks.has(mark) {
                self.push(id, app, lane, has_turns);
            }
        }
    }

    /// Takes the next connection out of a lane, which may have closed.
    pub(crate) fn pop(&mut self, lane: Lane) -> Option<ConnId> {
        let place = self.next_place(lane)?;
        self.visited = Some(place);
        let queues = self.apps.at_mut(place);
        let queue = &mut queues.lanes[lane as usize];
        let id = queue.pop_front();
        self.waiting[lane as usize] -= usize::from(id.is_some());
        let (is_empty, light_left) = (queue.is_empty(), &mut queues.value.light_left);
        let stays = match lane {
            Lane::Light => {
                *light_left = light_left.saturating_sub(1);
                *light_left > 0
            }
            Lane::Heavy => !is_empty,
        };
        let ring = self.rings[lane as usize].current();
        if !stays {
            ring.pop_front();
        } else if ring.len() > 1 {
            ring.rotate_left(1);
        }
        if lane == Lane::Light && !stays && !is_empty {
            self.joined.push_back(place);
        }
        id
    }

    /// The place of the app whose turn it is in a lane.
    fn next_place(&mut self, lane: Lane) -> Option<u32> {
        let ring = &mut self.rings[lane as usize];
        while let Some(&place) = ring.first.front()
            && self.apps.at(place).value.has_used_share
        {
            ring.first.pop_front();
            ring.later.push_back(place);
        }
        ring.current().front().copied()
    }

    /// Adds the units of the visit that has ended to those of its app. The budget is that of the turn.
    pub(crate) fn charge(&mut self, units: u64, budget: u64) {
        let Some(place) = self.visited.take() else { return };
        let input = &mut self.apps.at_mut(place).value;
        input.units = input.units.saturating_add(units);
        input.has_used_share = input.units >= budget / self.active.max(1);
    }

    /// No connection was found to visit.
    pub(crate) fn end_visit(&mut self) {
        self.visited = None;
        if !self.has_work() {
            self.apps.all_emptied();
        }
    }

    /// Whether a connection of the light lane may be visited in this turn.
    pub(crate) fn has_light(&self) -> bool {
        !self.rings[LIGHT].first.is_empty() || !self.rings[LIGHT].later.is_empty()
    }

    /// Whether a connection of the heavy lane may be visited: `must_wait` is whether an app must wait
    /// until its output is written. [`Schedule::pop`] returns a connection of an app that may.
    pub(crate) fn has_heavy(&mut self, must_wait: impl Fn(u32) -> bool) -> bool {
        for _ in 0..CHECKED_MAX {
            let Some(place) = self.next_place(Lane::Heavy) else { return false };
            if !must_wait(self.apps.at(place).app) {
                return true;
            }
            let ring = &mut self.rings[HEAVY];
            match ring.first.pop_front() {
                Some(place) => ring.later.push_back(place),
                None if ring.later.len() == 1 => return false,
                None => ring.later.rotate_left(1),
            }
        }
        false
    }

    /// Whether any connection has input to handle.
    pub(crate) fn has_work(&self) -> bool {
        self.waiting != [0; 2]
    }

    /// Whether nothing is held, and no lane has a connection.
    pub(crate) fn is_empty(&self) -> bool {
        !self.has_work() && self.held.is_empty()
    }

    /// For the audit: the app and the connection of each entry, by lane.
    pub(crate) fn entries(&self) -> [Vec<(u32, ConnId)>; 2] {
        self.apps.entries()
    }

    /// Checks that the apps with connections in a lane take turns, and the counts of connections.
    pub(crate) fn audit(&self, has_turns: bool) -> Result<(), String> {
        self.apps.audit()?;
        let mut waiting = [0; 2];
        for place in 0..self.apps.len() {
            let queues = self.apps.at(place);
            let [light, heavy] = queues.lanes.each_ref().map(VecDeque::len);
            waiting = [waiting[0] + light, waiting[1] + heavy];
            let left = queues.value.light_left;
            let is_joined = light > 0 && left == 0;
            let expected = [left > 0, heavy > 0, is_joined].map(usize::from);
            let turns = |ring: &VecDeque<u32>| ring.iter().filter(|it| **it == place).count();
            let [in_light, in_heavy] =
                self.rings.each_ref().map(|ring| turns(&ring.first) + turns(&ring.later));
            if [in_light, in_heavy, turns(&self.joined)] != expected {
                return Err(format!("app {} does not take turns to be read", queues.app));
            }
            if left > light || (!has_turns && left < light) {
                return Err(format!("app {} has {left} of {light} visits left", queues.app));
            }
        }
        match waiting == self.waiting {
            true => Ok(()),
            false => Err(format!("{:?} connections are counted, {waiting:?} wait", self.waiting)),
        }
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

const LIGHT: usize = Lane::Light as usize;
const HEAVY: usize = Lane::Heavy as usize;
/// The search for an app whose output is written ends after this many; the next visit continues it.
const CHECKED_MAX: usize = 64;
