//! Every deadline of the hub, by name: when it fires, and what it starts. [`Hub::next_tick_ms`]
//! returns the earliest. None may stay in the past after [`Hub::tick`], or the event loop would
//! never sleep. The work itself is in other files.

use super::Hub;
use super::ids::Now;
use super::staggered::Staggered;

/// Work that the hub starts at a set time and not on input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// The earliest slot of the wheel expires. The hub checks the connections in it: late requests,
    /// idle HTTP connections, silent clients, unanswered pings, viewers of a feed that need a line
    /// to stay connected, and viewers and closing connections whose client does not read.
    Connections,
    /// A wave of leaves from a presence channel is over or has lasted for a second: the hub
    /// notifies the members.
    Leaves,
    /// The next subscription count of a large channel may be sent to its subscribers.
    Counts,
    /// Member lists that were not sent for a second are dropped.
    MemberLists,
    /// While the server shuts down: the next clients get their close frames, or the shutdown ends.
    Drain,
    /// The next connections of an app that was removed are closed.
    Orphans,
    /// The next connections are looked at after a change of apps.
    Sweep,
    /// The lease of another node expires, this node's next heartbeat is due, or the Redis session
    /// times out or retries.
    Nodes,
    /// A batch for a webhook is complete, a failed one is sent again, a change is checked, or the
    /// numbers of messages are reported.
    Webhooks,
    /// A viewer of a feed may get the lines since its last chunk.
    Feed,
}

impl Deadline {
    /// Every variant; a new one must be added here, or it never fires.
    pub(crate) const ALL: [Deadline; 10] = [
        Deadline::Connections,
        Deadline::Leaves,
        Deadline::Counts,
        Deadline::MemberLists,
        Deadline::Drain,
        Deadline::Orphans,
        Deadline::Sweep,
        Deadline::Nodes,
        Deadline::Webhooks,
        Deadline::Feed,
    ];
}

impl<T> Hub<T> {
    /// When [`Hub::tick`] is next due, if ever.
    pub fn next_tick_ms(&self) -> Option<u64> {
        Deadline::ALL.into_iter().filter_map(|deadline| self.deadline_ms(deadline)).min()
    }

    /// Whether [`Hub::tick`] is due, or stopped early the last time.
    pub fn is_tick_due(&self, now: Now) -> bool {
        self.connections.has_due_connections()
            || self.has_webhook_work()
            || self.next_tick_ms().is_some_and(|due_ms| due_ms <= now.ms)
    }

    /// The name of a deadline that has passed, if any. After a turn there must be none.
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
            // Connections that the last tick did not reach are pending work, not a deadline.
            Deadline::Connections if self.connections.has_due_connections() => None,
            Deadline::Connections => self.connections.wheel.next_ms(),
            Deadline::Leaves => self.pubsub.next_leaves_ms(),
            Deadline::Counts => self.pubsub.counts_due.front().map(|due| due.ms),
            Deadline::MemberLists => self.pubsub.next_member_lists_ms(),
            Deadline::Drain => self.connections.next_drain_ms(),
            Deadline::Orphans => self.connections.orphans.as_ref().and_then(Staggered::next_ms),
            Deadline::Sweep => self.connections.sweep.as_ref().map(|sweep| sweep.next_ms()),
            Deadline::Nodes => self.next_bus_ms(),
            Deadline::Webhooks => self.next_webhooks_ms(),
            Deadline::Feed => self.connections.happenings.next_feed_ms(),
        }
    }
}
