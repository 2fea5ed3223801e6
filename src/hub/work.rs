//! The budget of a turn: how much work the hub does before the event loop looks at its sockets
//! again, counted in units of about a tenth of a microsecond. Nothing here knows what the work is.
//!
//! Work is counted and not timed, so that the same input always stops at the same place: tests and
//! the simulation can show it. What one unit is worth was measured on a 2.5 GHz processor of 2023;
//! a slower one takes longer turns, in proportion.

/// Counts units of work, and tells when the turn or the visit of one connection has had its share.
#[derive(Debug)]
pub(crate) struct Work {
    /// Units since the start.
    done: u64,
    /// What `done` was when the turn began, and the units it has.
    turn: (u64, u64),
    /// The connection whose input is handled now, if it is within a turn.
    visit: Option<Visit>,
}

#[derive(Debug)]
struct Visit {
    /// What `done` was when it began.
    began_at: u64,
    lane: Lane,
}

/// Where a connection waits until its input is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Connections with little to do, which are visited first.
    Light,
    /// Connections with a message or request that is much work, or with many.
    Heavy,
}

impl Work {
    /// A meter without a limit, until the first turn begins.
    pub(crate) fn new() -> Self {
        Work { done: 0, turn: (0, u64::MAX), visit: None }
    }

    /// Counts work that was done.
    pub(crate) fn add(&mut self, units: u64) {
        self.done = self.done.wrapping_add(units);
    }

    /// Counts bytes that were formatted or parsed.
    pub(crate) fn add_bytes(&mut self, bytes: usize) {
        self.add(bytes as u64 / BYTES_PER_UNIT);
    }

    /// Begins a turn with so many units.
    pub(crate) fn begin_turn(&mut self, units: u64) {
        (self.turn, self.visit) = ((self.done, units), None);
    }

    /// Begins to handle the input of one connection.
    pub(crate) fn begin_visit(&mut self, lane: Lane) {
        self.visit = Some(Visit { began_at: self.done, lane });
        self.add(VISIT_UNITS);
    }

    /// Ends the last visit of a turn.
    pub(crate) fn end_visit(&mut self) {
        self.visit = None;
    }

    /// Whether the units of this turn are used up.
    pub(crate) fn is_turn_over(&self) -> bool {
        self.turn_units() >= self.turn.1
    }

    /// Whether light connections have used what they may while heavy ones wait: three quarters, so
    /// that no number of light ones starves a heavy one.
    pub(crate) fn is_light_share_over(&self) -> bool {
        self.turn_units() >= self.turn.1 / 4 * 3
    }

    /// Whether the connection that is visited must leave the rest of its input for later.
    pub(crate) fn is_visit_over(&self) -> bool {
        let Some(visit) = &self.visit else { return false };
        self.is_turn_over() || self.units_since(visit.began_at) >= self.turn.1 / VISITS
    }

    /// The lane of a connection that has more to do after this visit.
    pub(crate) fn lane_after_visit(&self) -> Lane {
        match &self.visit {
            Some(visit) if self.units_since(visit.began_at) >= self.light_units_max() => {
                Lane::Heavy
            }
            _ => Lane::Light,
        }
    }

    /// Whether something of this many units may begin. In the light lane it may not if it is much:
    /// the connection is visited again in the heavy lane, and the light ones do not wait for it.
    pub(crate) fn may_begin(&self, units: u64) -> bool {
        let is_light = self.visit.as_ref().is_some_and(|visit| visit.lane == Lane::Light);
        !is_light || units <= self.light_units_max()
    }

    fn light_units_max(&self) -> u64 {
        self.turn.1 / LIGHT_VISITS
    }

    /// Units for what other nodes say in a turn, beside those for connections.
    pub(crate) fn bus_share(&self) -> u64 {
        self.turn.1 / 4
    }

    /// Whether there are turns at all, and so a loop that goes on in the next.
    pub(crate) fn has_turns(&self) -> bool {
        self.turn.1 < u64::MAX
    }

    /// Units since the start, for those who count what something costs.
    pub(crate) fn done(&self) -> u64 {
        self.done
    }

    fn turn_units(&self) -> u64 {
        self.units_since(self.turn.0)
    }

    fn units_since(&self, before: u64) -> u64 {
        self.done.wrapping_sub(before)
    }
}

/// What handling a connection costs beside its messages: mostly the system call that reads.
const VISIT_UNITS: u64 = 10;
/// A connection has at most a thirty-second of a turn in a visit (0.2 ms), then others have theirs.
const VISITS: u64 = 32;
/// The most a connection of the light lane does at once is a hundred and twenty-eighth of a turn
/// (50 µs): a thousand of them wait 50 ms for each other at the worst, and mostly far less, as most
/// messages cost 20 units.
const LIGHT_VISITS: u64 = 128;
/// Bytes of JSON that are formatted or parsed in a tenth of a microsecond.
const BYTES_PER_UNIT: u64 = 64;
/// A message of a client: taking its frame and its JSON apart.
pub(crate) const MESSAGE_UNITS: u64 = 10;
/// A signature that is checked: two rounds of SHA-256 at least.
pub(crate) const SIGNATURE_UNITS: u64 = 20;
/// A membership that is made or ended.
pub(crate) const MEMBERSHIP_UNITS: u64 = 5;
/// A request of the API: its head, its query, and the answer.
pub(crate) const REQUEST_UNITS: u64 = 60;
/// A channel that is looked at for a list or a count.
pub(crate) const CHANNEL_UNITS: u64 = 2;

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
    fn much_work_does_not_begin_in_the_light_lane() {
        let mut work = Work::new();
        assert!(work.may_begin(u64::MAX), "outside of turns nothing is put off");
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
