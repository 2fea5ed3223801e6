//! The whole server but for its sockets: connections and what they are subscribed to, as two values
//! with a common face.
//!
//! A [`Hub`] takes connections, bytes and the time, and fills an outbox for each connection; its
//! owner moves the bytes. It has no sockets, files, clock or randomness of its own, so that it can
//! be tested, simulated and fuzzed as a value.
//!
//! Inside are `Connections`, which know no channel, and `PubSub`, which has
//! no connections. The files that implement methods of [`Hub`] hand what one says to the other.
//!
//! # The contract
//!
//! Events never fail: what a client must learn of a failure is in its outbox. No call blocks, and
//! each does a bounded amount of work, except where its documentation says otherwise. `now.ms` never
//! goes back between calls. A [`ConnId`] stays valid until [`Hub::close`] returns.
//!
//! # The order of calls
//!
//! One turn of the owner's loop calls, in this order:
//!
//! 1. [`Hub::begin_turn`], once: it fills the budget of work.
//! 2. *Events*, in any order, each preceded by [`Hub::begin_visit`] if it is about a connection:
//!    [`Hub::open`] for an accepted connection (then [`Hub::serve_metrics`] on the metrics port),
//!    [`Hub::ready`] for a readable one, [`Hub::touch`] for a writable one, [`Hub::finished`],
//!    [`Hub::reject`] and [`Hub::close`]; [`Hub::bus_connected`], [`Hub::bus_lost`] and
//!    [`Hub::bus_receive`] for the socket to Redis.
//! 3. [`Hub::next_read`] until it returns `None`, reading at most as many bytes as it says and
//!    passing them to [`Hub::receive`]; then [`Hub::bus_resume`].
//! 4. [`Hub::tick`], if [`Hub::is_tick_due`].
//! 5. [`Hub::next_dirty`] until it returns `None` or the owner has written enough for one turn. For
//!    each connection: write from [`Hub::outbox`], say so by [`Hub::written`], then do what
//!    [`Hub::next_action`] returns.
//! 6. [`Hub::bus_wants`], and write from [`Hub::bus_outbox`].
//! 7. Sleep until [`Hub::next_tick_ms`], or not at all while [`Hub::has_work`], [`Hub::has_dirty`] or
//!    [`Hub::bus_has_input`].
//!
//! [`Hub::drain`], [`Hub::drain_some`] and [`Hub::stop_draining`] begin and cancel a stop;
//! [`Hub::save`], [`Hub::restore`] and [`Hub::reconfigure`] move the state to another process or
//! configuration. They may be called between two turns. The other methods only look.

mod address;
mod api;
mod app;
mod audit;
mod authorize;
mod bus;
mod cache;
mod channel;
mod channel_info;
mod client_error;
mod client_event;
mod cluster;
mod connections;
mod counters;
mod deadlines;
mod drain;
mod echo;
mod ids;
mod input;
mod listener;
mod listing;
mod liveness;
mod log_throttle;
mod member_list;
mod metrics;
mod node_set;
mod orphans;
mod outbox;
mod peer;
mod pending_leaves;
mod presence;
mod presence_leaves;
mod presence_lists;
mod publish;
mod pubsub;
mod random;
mod request;
mod routes;
mod schedule;
mod signin;
mod snapshot;
mod staggered;
mod stop;
mod subscribe;
mod subscriber;
mod subscription_counts;
mod terminate;
#[cfg(test)]
mod tests;
mod upgrade;
mod wheel;
mod work;
mod write_lanes;

use std::net::IpAddr;

pub use bus::{BusCounters, BusWant};
pub use counters::{AppCounters, CounterVec, Counters, Histogram};
pub use ids::{ConnId, Now, SocketId};
pub use listener::Listener;
pub use outbox::Outbox;
pub use snapshot::{state_version, version_of};

use crate::config::{Config, LimitKind};
use crate::proto::http::HttpError;
use api::Api;
use connections::Connections;
pub(crate) use log_throttle::{LogThrottle, Policy};
use peer::{CloseMode, Closing, Marks, Peer, Phase, Request};
use pubsub::PubSub;
use random::Random;
use routes::Routes;

/// The server without its sockets; `T` is what its owner keeps of each connection.
pub struct Hub<T> {
    connections: Connections<T>,
    pubsub: PubSub,
    routes: Routes,
    random: Random,
    /// Whether messages are sent back to their sender and not handled.
    echoes: bool,
}

/// What the owner of a connection's socket must do with it once its outbox is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoAction {
    /// Nothing.
    Stay,
    /// Close the writing side, and go on reading.
    ShutdownWrite,
    /// [`Hub::close`] it, whatever its outbox holds.
    Drop,
}

impl<T> Hub<T> {
    /// A hub that serves the apps of this configuration. `seed` decides its socket ids: take it
    /// from the operating system's random numbers.
    pub fn new(config: &Config, seed: [u8; 32], now: Now) -> Self {
        let mut random = Random::new(seed);
        let pubsub = PubSub::new(config, &mut random, now);
        let connections = Connections::new(config, *pubsub.by_id.hasher(), now);
        let routes = Routes::new(config.server.path.clone());
        Hub { connections, pubsub, routes, random, echoes: false }
    }

    /// Notifies this listener of events from now on.
    pub fn listen(&mut self, listener: Box<dyn Listener>) {
        self.connections.listener = Some(listener);
    }

    /// A client has connected from this address.
    pub fn open(&mut self, io: T, address: Option<IpAddr>, now: Now) -> ConnId {
        let deadline_ms = now.ms + u64::from(self.connections.limits.request_timeout_ms);
        let request = Request { deadline_ms: Some(deadline_ms), ..Request::default() };
        let id = self.connections.insert(Peer {
            io,
            address,
            phase: Phase::Request(request),
            outbox: Outbox::default(),
            last_seen_ms: now.ms,
            armed: 0,
            marks: Marks::default(),
            pending_replies: 0,
        });
        self.connections.addresses.add(address);
        self.connections.arm(id, deadline_ms);
        let surplus = self.connections.surplus(id);
        if self.connections.is_full() {
            self.connections.limit_exceeded(id, LimitKind::Connections, now);
        } else if surplus > 0 {
            self.connections.limit_exceeded(id, LimitKind::ConnectionsPerAddress, now);
        }
        if surplus > SURPLUS_TOLD {
            self.retire(id, CloseMode::Now, now);
        } else if self.connections.is_crowded(id) {
            self.connections.shorten_deadline(id, now.ms + FULL_REQUEST_MS);
        }
        id
    }

    /// Serves only health checks and metrics on a connection that was just opened.
    pub fn serve_metrics(&mut self, id: ConnId) {
        self.connections.serve_metrics(id);
    }

    /// The connection is from this address: its proxy has said so.
    pub fn set_address(&mut self, id: ConnId, address: IpAddr) {
        self.connections.set_address(id, address);
    }

    /// Begins a turn of the event loop with a full budget. Until the first call work is unlimited.
    pub fn begin_turn(&mut self) {
        self.connections.begin_turn();
    }

    /// Begins a visit of a connection that was not returned by [`Hub::next_read`].
    pub fn begin_visit(&mut self) {
        self.connections.begin_visit();
    }

    /// A connection's socket may be readable: [`Hub::next_read`] will return the connection.
    pub fn ready(&mut self, id: ConnId) {
        self.connections.ready(id);
    }

    /// These bytes have come from a client. They are unmasked in place.
    pub fn receive(&mut self, id: ConnId, bytes: &mut [u8], now: Now) {
        let Some(peer) = self.connections.get_mut(id) else { return };
        peer.last_seen_ms = now.ms;
        match &mut peer.phase {
            Phase::Request(request) => {
                let request = std::mem::take(request);
                self.request_bytes(id, request, bytes, now);
            }
            Phase::Open(subscriber) => {
                let (app, reader) = (subscriber.app, std::mem::take(&mut subscriber.reader));
                self.connections.counters.apps[app as usize].bytes_in += bytes.len() as u64;
                self.frames(id, reader, bytes, now);
            }
            // The input of a closing connection is discarded.
            Phase::Closing(_) => {}
        }
        self.drop_slow(now);
    }

    /// A client has closed its writing side. An HTTP client still gets its answers; a WebSocket
    /// that ends without a close frame has gone.
    pub fn finished(&mut self, id: ConnId, now: Now) {
        let Some(peer) = self.connections.get(id) else { return };
        let mode = match &peer.phase {
            Phase::Request(_) => CloseMode::AfterOutbox,
            Phase::Open(_) => CloseMode::Now,
            Phase::Closing(Closing { mode: CloseMode::Now, .. }) => CloseMode::Now,
            Phase::Closing(_) => CloseMode::AfterOutbox,
        };
        self.retire(id, mode, now);
        self.drop_slow(now);
    }

    /// Rejects a client whose first bytes its socket cannot decode: answers 400 with `text`.
    pub fn reject(&mut self, id: ConnId, text: &str, now: Now) {
        self.connections.refuse(id, HttpError::new(400, text), now);
    }

    /// A connection has closed, or is to close at once. Returns what its owner keeps of it.
    pub fn close(&mut self, id: ConnId, now: Now) -> Option<T> {
        self.retire(id, CloseMode::Now, now);
        let peer = self.connections.remove(id)?;
        self.connections.addresses.remove(peer.address);
        self.connections.record_closed(id);
        self.drop_slow(now);
        Some(peer.io)
    }

    /// Does what is due. Calls without need do no harm.
    pub fn tick(&mut self, now: Now) {
        self.check_due(now);
        self.check_leaves(now);
        self.pubsub.send_due_counts(&mut self.connections, now);
        self.pubsub.drop_idle_lists(now);
        self.continue_drain(now);
        self.close_orphans(now);
        self.tick_bus(now);
        self.drop_slow(now);
    }

    /// The next connection to write to or to close; `None` when none is queued.
    pub fn next_dirty(&mut self, now: Now) -> Option<ConnId> {
        if self.pubsub.has_new_leaves() {
            self.check_leaves(now);
        }
        self.connections.next_dirty()
    }

    /// Whether [`Hub::next_dirty`] has more.
    pub fn has_dirty(&self) -> bool {
        self.connections.has_dirty() || self.pubsub.has_new_leaves()
    }

    /// Makes [`Hub::next_dirty`] hand a connection out again: its socket takes more.
    pub fn touch(&mut self, id: ConnId) {
        self.connections.touch(id);
    }

    /// What waits for a connection, and what its owner keeps of it.
    pub fn outbox(&mut self, id: ConnId) -> Option<(&mut T, &mut Outbox)> {
        let peer = self.connections.get_mut(id)?;
        Some((&mut peer.io, &mut peer.outbox))
    }

    /// What the owner keeps of a connection.
    pub fn io(&mut self, id: ConnId) -> Option<&mut T> {
        Some(&mut self.connections.get_mut(id)?.io)
    }

    /// The owner has written to a connection's socket. `is_blocked` means that the socket accepts
    /// no more data: the owner calls [`Hub::touch`] when the poller reports it as writable.
    pub fn written(&mut self, id: ConnId, is_blocked: bool, now: Now) {
        if let Some(peer) = self.connections.get_mut(id)
            && matches!(peer.phase, Phase::Request(_))
        {
            // A client that reads its answers is not idle.
            peer.last_seen_ms = now.ms;
        }
        if self.connections.set_blocked(id, is_blocked) {
            self.connections.check_pause(id, now);
        }
    }

    /// What to do with a connection after its outbox was written. Returns
    /// [`IoAction::ShutdownWrite`] only once.
    pub fn next_action(&mut self, id: ConnId) -> IoAction {
        let Some(peer) = self.connections.get_mut(id) else { return IoAction::Stay };
        let Phase::Closing(closing) = &mut peer.phase else { return IoAction::Stay };
        match &mut closing.mode {
            CloseMode::Now => IoAction::Drop,
            CloseMode::AfterOutbox if peer.outbox.is_empty() => IoAction::Drop,
            CloseMode::AfterPeer { half_closed } if peer.outbox.is_empty() && !*half_closed => {
                *half_closed = true;
                IoAction::ShutdownWrite
            }
            _ => IoAction::Stay,
        }
    }

    /// Whether the budget of the turn is used up.
    pub fn is_turn_over(&self) -> bool {
        self.connections.is_turn_over()
    }

    /// Units of work since the start, for tests that measure what an operation costs.
    #[doc(hidden)]
    pub fn work_done(&self) -> u64 {
        self.connections.work.done()
    }

    /// Whether a connection is one of the metrics port.
    pub fn is_for_metrics(&self, id: ConnId) -> bool {
        self.connections.is_for_metrics(id)
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

    /// A client at this address has exceeded a limit, which has this value.
    pub fn limit_exceeded_from(
        &mut self,
        kind: LimitKind,
        value: u64,
        address: Option<IpAddr>,
        now: Now,
    ) {
        self.connections.limit_exceeded_from(kind, value, address, now);
    }

    /// How many connections of any kind there are.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// All of them. For what happens once in a while, never for an event.
    pub fn ids(&self) -> Vec<ConnId> {
        self.connections.ids()
    }

    /// How often things have happened since the start.
    pub fn counters(&self) -> &Counters {
        &self.connections.counters
    }

    /// The same, for what happens to sockets, which their owner alone sees.
    pub fn counters_mut(&mut self) -> &mut Counters {
        &mut self.connections.counters
    }

    /// Whether the hub has freed much memory since the last call, of connections or of the queue
    /// for other nodes: it is worth while to make the allocator return that memory to the system.
    pub fn has_shrunk(&mut self) -> bool {
        self.bus_has_shrunk() | self.connections.take_has_shrunk()
    }

    /// Drops connections whose outbox exceeds its limit. No close frame is sent: it would not fit.
    fn drop_slow(&mut self, now: Now) {
        while let Some(id) = self.connections.too_slow.pop() {
            self.connections.limit_exceeded(id, LimitKind::OutboxBytes, now);
            self.retire(id, CloseMode::Now, now);
        }
    }

    /// Closes a connection without an error event, and removes its memberships.
    fn send_close(&mut self, id: ConnId, code: u16, reason: &str, now: Now) {
        self.pubsub.send_close(&mut self.connections, id, code, reason, now);
    }

    /// Begins to close a connection, and removes its memberships.
    fn retire(&mut self, id: ConnId, mode: CloseMode, now: Now) {
        self.pubsub.retire(&mut self.connections, id, mode, now);
    }

    /// Closes a connection with one of Pusher's codes, and removes its memberships.
    fn close_with(&mut self, id: ConnId, code: u16, message: &str, now: Now) {
        self.pubsub.close_with(&mut self.connections, id, code, message, now);
    }

    fn check_leaves(&mut self, now: Now) {
        self.pubsub.check_leaves(&mut self.connections, now);
        self.drop_slow(now);
    }

    /// The HTTP API of this hub.
    fn api(&mut self) -> Api<'_, T> {
        Api { pubsub: &mut self.pubsub, connections: &mut self.connections, routes: &self.routes }
    }
}

/// Connections of one address beyond its bound that are told why they are refused; those that come
/// beyond these are closed in silence, so that they do not take the room of others.
const SURPLUS_TOLD: u32 = 64;
/// Milliseconds a request has to arrive while there are too many connections.
const FULL_REQUEST_MS: u64 = 1_000;
