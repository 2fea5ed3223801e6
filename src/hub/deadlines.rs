//! Every deadline of the hub, by name: what fires, and when. [`Hub::next_tick_ms`] is the earliest of
//! them, and none may stay in the past after [`Hub::tick`]: the event loop would not sleep any more.

use super::Hub;
use super::peer::Now;
use super::staggered::Staggered;

/// What the hub does at a time, and not because something has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// A connection: its request is late, it was silent for the ping interval or did not answer the
    /// ping, or it is closing and takes nothing more. One slot of the wheel.
    Connections,
    /// A wave of users who left a presence channel is over.
    Leaves,
    /// The subscribers of a large channel may be told again how many they are.
    Counts,
    /// Member lists that were not sent for a second are given up.
    MemberLists,
    /// The next clients of a stopping server get their close frames, or the stop ends.
    Drain,
    /// The next connections of an app that was removed are closed.
    Orphans,
    /// Another node is silent for the lease, this one shows that it is not, or Redis is late.
    Nodes,
}

impl Deadline {
    /// All of them.
    pub(crate) const ALL: [Deadline; 7] = [
        Deadline::Connections,
        Deadline::Leaves,
        Deadline::Counts,
        Deadline::MemberLists,
        Deadline::Drain,
        Deadline::Orphans,
        Deadline::Nodes,
    ];
}

impl<T> Hub<T> {
    /// When [`Hub::tick`] is next due, if ever.
    pub fn next_tick_ms(&self) -> Option<u64> {
        Deadline::ALL.into_iter().filter_map(|deadline| self.deadline_ms(deadline)).min()
    }

    /// Whether [`Hub::tick`] is due, or did not get through last time.
    pub fn is_tick_due(&self, now: Now) -> bool {
        self.has_due_connections() || self.next_tick_ms().is_some_and(|due_ms| due_ms <= now.ms)
    }

    /// The first deadline that is in the past, by name: after a turn there is none.
    #[doc(hidden)]
    pub fn overdue(&self, now: Now) -> Option<String> {
        let is_past = |deadline: &Deadline| {
            self.deadline_ms(*deadline).is_some_and(|due_ms| due_ms <= now.ms)
        };
        let overdue = Deadline::ALL.into_iter().find(is_past)?;
        Some(format!("{overdue:?}"))
    }

    fn deadline_ms(&self, deadline: Deadline) -> Option<u64> {
        match deadline {
            // What the last tick did not get through is work, and no deadline.
            Deadline::Connections if self.has_due_connections() => None,
            Deadline::Connections => self.peers.wheel.next_ms(),
            Deadline::Leaves => self.next_leaves_ms(),
            Deadline::Counts => self.counts_due.front().map(|due| due.ms),
            Deadline::MemberLists => self.next_member_lists_ms(),
            Deadline::Drain => self.next_drain_ms(),
            Deadline::Orphans => self.orphans.as_ref().and_then(Staggered::next_ms),
            Deadline::Nodes => self.next_bus_ms(),
        }
    }
}
