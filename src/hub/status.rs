//! What the owner of a hub may ask at any time: whether it stops, how many connections it has, what
//! it has counted. Nothing here changes the hub, except for the counters of the owner.

use std::net::IpAddr;

use super::Hub;
use super::counters::Counters;
use super::ids::{ConnId, Now};
use super::port::Port;
use crate::config::LimitKind;

impl<T> Hub<T> {
    /// Whether the budget of the turn is used up.
    pub fn is_turn_over(&self) -> bool {
        self.connections.is_turn_over()
    }

    /// How many connections this turn writes to: `limits.flushes_per_turn`, and more if the turn has done
    /// much other work.
    pub fn flushes_of_turn(&self) -> u32 {
        self.connections.flushes_of_turn()
    }

    /// Units of work since the start, for tests that measure what an operation costs.
    #[doc(hidden)]
    pub fn work_done(&self) -> u64 {
        self.connections.work.done()
    }

    /// The port on which an HTTP connection was accepted.
    pub fn port(&self, id: ConnId) -> Option<Port> {
        self.connections.port(id)
    }

    /// Whether a stop has begun.
    pub fn is_draining(&self) -> bool {
        self.connections.is_draining()
    }

    /// Whether the close frames of all connections are queued.
    pub fn has_queued_closes(&self) -> bool {
        self.connections.has_queued_closes()
    }

    /// Whether the stop is over: every connection has closed, deferred ones included.
    pub fn is_drained(&self) -> bool {
        self.connections.is_drained()
    }

    /// Counts and logs that a client at this address has exceeded a limit of this value.
    pub fn limit_exceeded_from(
        &mut self,
        kind: LimitKind,
        value: u64,
        address: Option<IpAddr>,
        now: Now,
    ) {
        self.connections.limit_exceeded_from(kind, value, address, now);
    }

    /// The number of connections of any kind.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// The ids of all connections. Linear: for rare work such as a stop, never for a single event.
    pub fn ids(&self) -> Vec<ConnId> {
        self.connections.ids()
    }

    /// The counters since the start, for metrics and logs.
    pub fn counters(&self) -> &Counters {
        &self.connections.counters
    }

    /// The counters, for the owner to count events of its sockets.
    pub fn counters_mut(&mut self) -> &mut Counters {
        &mut self.connections.counters
    }
}
