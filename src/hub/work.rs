//! The budget of a turn: how much work the hub does before the event loop polls its sockets again,
//! counted in units of about a tenth of a microsecond. This module does not know what the work is.
//!
//! Work is counted and not timed, so that the same input always stops at the same place, and tests
//! and the simulation are reproducible. The duration of a unit was measured on a 2.5 GHz processor
//! of 2023; turns take proportionally longer on a slower one.

/// Counts units of work, and decides when a turn, or a visit of one connection, has used its share.
#[derive(Debug)]
pub(crate) struct Work {
    /// Units since the start.
    done: u64,
    /// The value of `done` at the beginning of the turn.
    turn_began_at: u64,
    /// The units that the turn may use; unlimited before the first turn.
    turn_budget: u64,
    /// The visit of the connection whose input is being handled, if any.
    visit: Option<Visit>,
}

#[derive(Debug)]
struct Visit {
    /// `done` at the beginning of the visit.
    began_at: u64,
    lane: Lane,
}

/// The queue in which a connection waits until its input is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Connections with little work; they are visited first.
    Light,
    /// Connections with an expensive message or request, or with many of them.
    Heavy,
}

impl Work {
    /// A counter without a limit until the first turn begins.
    pub(crate) fn new() -> Self {
        Work { done: 0, turn_began_at: 0, turn_budget: u64::MAX, visit: None }
    }

    /// Counts work that was done.
    pub(crate) fn add(&mut self, units: u64) {
        self.done = self.done.wrapping_add(units);
    }

    /// Counts bytes that were formatted or parsed.
    pub(crate) fn add_bytes(&mut self, bytes: usize) {
        self.add(bytes as u64 / BYTES_PER_UNIT);
    }

    /// Begins a turn with this many units.
    pub(crate) fn begin_turn(&mut self, units: u64) {
        (self.turn_began_at, self.turn_budget, self.visit) = (self.done, units, None);
    }

    /// Begins to handle the input of one connection.
    pub(crate) fn begin_visit(&mut self, lane: Lane) {
        self.visit = Some(Visit { began_at: self.done, lane });
        self.add(VISIT_UNITS);
    }

    /// Units since the visit began; 0 without one.
    pub(crate) fn visit_units(&self) -> u64 {
        self.visit.as_ref().map_or(0, |visit| self.units_since(visit.began_at))
    }

    /// The units that the turn may use.
    pub(crate) fn turn_budget(&self) -> u64 {
        self.turn_budget
    }

    /// Ends the last visit of a turn.
    pub(crate) fn end_visit(&mut self) {
        self.visit = None;
    }

    /// Whether the units of this turn are used up.
    pub(crate) fn is_turn_over(&self) -> bool {
        self.turn_units() >= self.turn_budget
    }

    /// Whether the light lane has used its share of a turn in which heavy connections wait: three
    /// quarters, so that no number of light connections starves a heavy one.
    pub(crate) fn is_light_share_over(&self) -> bool {
        self.turn_units() >= self.turn_budget / 4 * 3
    }

    /// Whether the rest of the visited connection's input must wait for a later visit.
    pub(crate) fn is_visit_over(&self) -> bool {
        let Some(visit) = &self.visit else { return false };
        self.is_turn_over() || self.units_since(visit.began_at) >= self.turn_budget / VISITS
    }

    /// The lane of the visited connection if it has more input after this visit.
    pub(crate) fn lane_after_visit(&self) -> Lane {
        match &self.visit {
            Some(visit) if self.units_since(visit.began_at) >= self.light_units_max() => {
                Lane::Heavy
            }
            _ => Lane::Light,
        }
    }

    /// Whether work of this many units may begin now. Expensive work may not begin in the light
    /// lane: its connection moves to the heavy lane, so that light connections do not wait for it.
    pub(crate) fn may_begin(&self, units: u64) -> bool {
        let is_light = self.visit.as_ref().is_some_and(|visit| visit.lane == Lane::Light);
        !is_light || units <= self.light_units_max()
    }

    fn light_units_max(&self) -> u64 {
        self.turn_budget / LIGHT_VISITS
    }

    /// Work that is not client input (due connections, messages from other nodes) may use a quarter
    /// of a turn each. Returns the value of [`Work::done`] at which it must stop if it starts now.
    pub(crate) fn side_work_end(&self) -> u64 {
        self.done.saturating_add(self.turn_budget / 4)
    }

    /// How many connections this turn writes to: `least`, and as many more as take the time of the work
    /// that the turn has done. Output does not grow faster than it is written, and a turn with little
    /// work ends soon, so that the next event shares the writes that are left.
    pub(crate) fn flushes(&self, least: u32) -> u32 {
        let more = self.turn_units().min(self.turn_budget) / FLUSH_UNITS;
        least.saturating_add(u32::try_from(more).unwrap_or(u32::MAX))
    }

    /// Whether a turn has ever begun. If so, work that is left is continued in a later turn;
    /// otherwise all work must be done at once.
    pub(crate) fn has_turns(&self) -> bool {
        self.turn_budget < u64::MAX
    }

    /// Units since the start.
    pub(crate) fn done(&self) -> u64 {
        self.done
    }

    fn turn_units(&self) -> u64 {
        self.units_since(self.turn_began_at)
    }

    fn units_since(&self, before: u64) -> u64 {
        self.done.wrapping_sub(before)
    }
}

/// Units of a visit in addition to those of its messages: mostly the `read` system call.
const VISIT_UNITS: u64 = 10;
/// A visit gets at most 1/32 of a turn (0.2 ms) before the next connection is visited.
const VISITS: u64 = 32;
/// Work may begin in the light lane up to 1/128 of a turn (50 µs): a thousand light connections
/// wait 50 ms for each other at worst, and usually far less, as most messages cost 20 units.
const LIGHT_VISITS: u64 = 128;
/// Units of writing to one connection, mostly the `write` system call: after a whole turn of other work,
/// 65,536 / 64 = 1,024 more writes.
const FLUSH_UNITS: u64 = 64;
/// Bytes of JSON that are formatted or parsed in a tenth of a microsecond.
const BYTES_PER_UNIT: u64 = 64;
/// Units of a client's message: parsing its frame and its JSON.
pub(crate) const MESSAGE_UNITS: u64 = 10;
/// Units of checking a signature: at least two rounds of SHA-256.
pub(crate) const SIGNATURE_UNITS: u64 = 20;
/// Units of adding or removing a membership.
pub(crate) const MEMBERSHIP_UNITS: u64 = 5;
/// Units of the end of a connection: freeing its memory, and the `close` system call.
pub(crate) const END_UNITS: u64 = 50;
/// Units of an HTTP request: its head, its query, and its response.
pub(crate) const REQUEST_UNITS: u64 = 60;
/// Units of each channel that is checked for a list or a count.
pub(crate) const CHANNEL_UNITS: u64 = 2;
/// Units of compressing a message: 10 µs to clear the tables of the compressor, and 6 µs for a
/// kilobyte at level 1. Level 9 takes three times as long.
pub(crate) const COMPRESSION_UNITS: ByBytes = ByBytes { units: 100, bytes_per_unit: 16 };
/// Units of decompressing a message: up to 10 µs for each block, to build the tables of its codes, and
/// 3 µs for each kilobyte that comes out.
pub(crate) const DECOMPRESSION_UNITS: ByBytes = ByBytes { units: 100, bytes_per_unit: 32 };

/// The units of work that grows with the bytes that it handles, and with the number of its pieces.
pub(crate) struct ByBytes {
    units: u64,
    bytes_per_unit: u64,
}

impl ByBytes {
    pub(crate) const fn of(&self, bytes: usize, pieces: usize) -> u64 {
        self.units * pieces as u64 + bytes as u64 / self.bytes_per_unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_over_when_its_units_are_used_up() {
        let mut work = Work::new();
        work.add(1 << 40);
        assert!(!work.is_turn_over() && !work.is_visit_over());
        work.begin_turn(100);
        work.add(74);
        assert!(!work.is_light_share_over());
        work.add(1);
        assert!(work.is_light_share_over() && !work.is_turn_over());
        work.add_bytes(25 * BYTES_PER_UNIT as usize);
        assert!(work.is_turn_over());
        work.begin_turn(100);
        assert!(!work.is_turn_over());
    }

    #[test]
    fn writes_get_as_much_time_as_other_work() {
        let mut work = Work::new();
        work.begin_turn(65_536);
        assert_eq!(work.flushes(64), 64);
        work.add(6_400);
        assert_eq!(work.flushes(64), 164);
        work.add(1 << 40);
        assert_eq!(work.flushes(64), 64 + 1_024);
    }

    #[test]
    fn much_work_does_not_begin_in_the_light_lane() {
        let mut work = Work::new();
        assert!(work.may_begin(u64::MAX), "outside of turns nothing is deferred");
        work.begin_turn(65_536);
        work.begin_visit(Lane::Light);
        assert!(work.may_begin(512) && !work.may_begin(513));
        assert_eq!(work.lane_after_visit(), Lane::Light);
        work.add(512);
        assert_eq!(work.lane_after_visit(), Lane::Heavy);
        work.begin_visit(Lane::Heavy);
        assert!(work.may_begin(u64::MAX) && !work.is_visit_over());
        work.add(2_048);
        assert!(work.is_visit_over());
    }
}
