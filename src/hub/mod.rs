//! The state machine of the server, without its sockets: connections, subscriptions, and the
//! messages between them.
//!
//! A [`Hub`] receives bytes and the time, and fills an outbox for each connection. Its *owner*, the
//! event loop, reads and writes the sockets. The hub has no sockets, files, clock or randomness of
//! its own, so that it can be tested, simulated and fuzzed as a value.
//!
//! A hub has two parts: `Connections`, which does not know channels, and `PubSub`, which owns no
//! connections. The methods of [`Hub`] call both, and pass the results of one to the other.
//!
//! # The contract
//!
//! Methods for events return no error: the error message for a client is in its outbox. No call
//! blocks, and each does a bounded amount of work unless its documentation says otherwise. `now.ms`
//! must not decrease between calls. A [`ConnId`] is valid until [`Hub::close`] or
//! [`Hub::reconfigure`] returns.
//!
//! # The order of calls
//!
//! In each turn, the event loop calls in this order:
//!
//! 1. *Events*, in any order: [`Hub::open`] for an accepted connection (then
//!    [`Hub::set_port`] on the metrics port and that of the console), [`Hub::ready`] for a readable
//!    one, [`Hub::touch`] for a writable one. Bytes that the owner reads without [`Hub::next_read`],
//!    such as those after a TLS handshake, go to [`Hub::receive`] after [`Hub::begin_visit`].
//! 2. [`Hub::begin_turn`], once, after the calls of [`Hub::ready`]: it resets the budget of work. A
//!    connection that becomes ready later may have to wait for the next turn.
//! 3. [`Hub::next_read`] until it returns `None`: read at most the returned number of bytes and
//!    pass them to [`Hub::receive`], or call [`Hub::finished`] or [`Hub::reject`].
//! 4. [`Hub::tick`], if [`Hub::is_tick_due`].
//! 5. [`Hub::bus_resume`]; then, unless [`Hub::bus_has_input`], [`Hub::bus_connected`],
//!    [`Hub::bus_receive`] or [`Hub::bus_lost`] for the sockets to Redis.
//! 6. [`Hub::next_dirty`] until it returns `None` or the owner has written enough for one turn. For
//!    each connection: write from [`Hub::outbox`], call [`Hub::written`], then do what
//!    [`Hub::next_action`] returns. Then [`Hub::close`] for each connection that has ended.
//! 7. [`Hub::bus_wants`], and write from [`Hub::bus_outbox`].
//! 8. [`Hub::next_webhook`] until it returns `None`; send each request, and call [`Hub::webhook_done`]
//!    once it has ended. Write [`Hub::next_spool_record`] to the spool until it returns `None`.
//! 9. [`Hub::end_turn`]; then [`Hub::sample`], if [`Hub::next_sample_ms`] has passed.
//! 10. Sleep until [`Hub::next_tick_ms`], or not at all while [`Hub::has_work`], [`Hub::has_dirty`]
//!     or [`Hub::bus_has_input`].
//!
//! [`Hub::drain`], [`Hub::drain_some`] and [`Hub::stop_draining`] begin and cancel a stop;
//! [`Hub::save`], [`Hub::restore`] and [`Hub::reconfigure`] move the state to another process or
//! configuration. They may be called between any two steps. The other methods may be called at any
//! time.

mod address;
mod api;
mod app;
mod app_changes;
mod app_limits;
mod app_queues;
mod audit;
mod authorize;
mod bus;
mod cache;
mod channel;
mod channel_info;
mod client_error;
mod client_event;
mod cluster;
mod compressor;
mod connections;
mod console;
mod counters;
mod deadlines;
mod drain;
mod echo;
mod feed;
mod happenings;
mod ids;
mod input;
mod listener;
mod listing;
mod liveness;
mod log_throttle;
mod member_list;
mod metrics;
mod node_set;
mod origins;
mod orphans;
mod outbox;
mod peer;
mod pending_leaves;
mod port;
mod presence;
mod presence_leaves;
mod presence_lists;
mod publish;
mod pubsub;
mod random;
mod rejections;
mod request;
mod routes;
mod sample;
mod scan;
mod schedule;
mod signin;
mod snapshot;
mod staggered;
mod status;
mod stop;
mod subscribe;
mod subscriber;
mod subscription_counts;
mod terminate;
#[cfg(test)]
mod tests;
mod token_bucket;
mod upgrade;
mod wall_clock;
mod webhooks;
mod wheel;
mod wildcard;
mod work;
mod write_lanes;

use std::net::IpAddr;

pub use bus::{BusCounters, BusLink, BusWant};
pub use console::{AppRequest, ConsoleKeys};
pub use counters::{AppCounters, CounterVec, Counters, Histogram};
pub use ids::{ConnId, Now, SocketId};
pub use listener::Listener;
pub use outbox::Outbox;
pub use port::Port;
pub use snapshot::{state_version, version_of};
#[cfg(feature = "webhooks")]
pub(crate) use webhooks::Timers;
pub use webhooks::{EndpointId, WebhookOutcome, WebhookRequest};

use crate::config::{Config, LimitKind};
use crate::proto::http::HttpError;
use api::Api;
use connections::Connections;
use console::Console;
use feed::End;
pub(crate) use log_throttle::{LogThrottle, Policy};
use peer::{CloseMode, Closing, Marks, Peer, Phase, Request};
use pubsub::PubSub;
use random::Random;
use routes::Routes;
use terminate::ABNORMAL;
use webhooks::Webhooks;
use work::END_UNITS;

/// The server without its sockets; `T` is the value that the owner stores with each connection.
pub struct Hub<T> {
    connections: Connections<T>,
    pubsub: PubSub,
    /// The console, once it is open.
    console: Option<Box<Console>>,
    routes: Routes,
    random: Random,
    /// The files of apps that cannot be served as they are, for a metric.
    bad_app_files: usize,
    /// Whether echo mode is on: messages are sent back to their sender and not handled.
    echoes: bool,
}

/// What the owner of a connection's socket must do with it once its outbox is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoAction {
    /// Nothing.
    Stay,
    /// Close the writing side, and continue to read.
    ShutdownWrite,
    /// Call [`Hub::close`], even if the outbox is not empty.
    Drop,
}

impl<T> Hub<T> {
    /// A hub that serves the apps of this configuration. `seed` determines the socket ids: take
    /// it from the random numbers of the operating system.
    pub fn new(config: &Config, seed: [u8; 32], now: Now) -> Self {
        let mut random = Random::new(seed);
        let pubsub = PubSub::new(config, &mut random, now);
        let mut connections = Connections::new(config, *pubsub.by_id.hasher(), now);
        let webhooks = Webhooks::new(config, &mut random, pubsub.bus.is_some(), now);
        connections.happenings.set_webhooks(webhooks);
        let routes = Routes::new(config.server.path.clone());
        Hub { connections, pubsub, console: None, routes, random, bad_app_files: 0, echoes: false }
    }

    /// Notifies this listener of events from now on.
    pub fn listen(&mut self, listener: Box<dyn Listener>) {
        self.connections.happenings.listener = Some(listener);
    }

    /// A client has connected from this address.
    pub fn open(&mut self, io: T, address: Option<IpAddr>, now: Now) -> ConnId {
        self.connections.happenings.set_now(now);
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
        if surplus > SURPLUS_ANSWERED_MAX {
            self.retire(id, CloseMode::Now, now);
        } else if self.connections.is_crowded(id) {
            self.connections.shorten_deadline(id, now.ms + CROWDED_REQUEST_MS);
        }
        id
    }

    /// Sets what a connection that was just opened is served; without this call, as a client.
    pub fn set_port(&mut self, id: ConnId, port: Port) {
        self.connections.set_port(id, port);
    }

    /// Sets the client's address, which the proxy of the connection has sent.
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

    /// The same if the client has closed its side. A WebSocket then waits in the heavy lane, as its
    /// memberships must be removed: many clients that leave at once do not delay the others.
    pub fn ready_to_end(&mut self, id: ConnId) {
        self.connections.ready_to_end(id);
    }

    /// Handles bytes from a client. They are unmasked in place.
    pub fn receive(&mut self, id: ConnId, bytes: &mut [u8], now: Now) {
        self.connections.happenings.set_now(now);
        let Some(peer) = self.connections.get_mut(id) else { return };
        peer.last_seen_ms = now.ms;
        match &mut peer.phase {
            Phase::Request(request) => {
                let request = request.take();
                self.handle_request_bytes(id, request, bytes, now);
            }
            Phase::Open(subscriber) => {
                let (app, reader) = (subscriber.app, std::mem::take(&mut subscriber.reader));
                self.connections.counters.apps[app as usize].bytes_in += bytes.len() as u64;
                self.handle_frames(id, reader, bytes, now);
            }
            // The input of a viewer or a closing connection is discarded.
            Phase::Viewing(_) | Phase::Closing(_) => {}
        }
        self.count_webhook_work();
        self.drop_slow(now);
    }

    /// A client has closed its writing side. An HTTP client still receives its responses; a
    /// WebSocket without a close frame is dropped.
    pub fn finished(&mut self, id: ConnId, now: Now) {
        self.connections.happenings.set_now(now);
        let Some(peer) = self.connections.get(id) else { return };
        let mode = match &peer.phase {
            Phase::Request(_) => CloseMode::AfterOutbox,
            Phase::Open(_) | Phase::Viewing(_) => CloseMode::Now,
            Phase::Closing(Closing { mode: CloseMode::Now, .. }) => CloseMode::Now,
            Phase::Closing(_) => CloseMode::AfterOutbox,
        };
        self.retire(id, mode, now);
        self.connections.work.add(END_UNITS);
        self.count_webhook_work();
        self.drop_slow(now);
    }

    /// Rejects a client whose bytes the owner cannot decode: responds with status 400 and `text`. A
    /// WebSocket is closed at once, as no HTTP response may follow its handshake.
    pub fn reject(&mut self, id: ConnId, text: &str, now: Now) {
        match self.connections.get(id).map(|peer| &peer.phase) {
            Some(Phase::Request(_)) => self.connections.refuse(id, HttpError::new(400, text), now),
            _ => self.retire(id, CloseMode::Now, now),
        }
        self.drop_slow(now);
    }

    /// Removes a connection that has closed or must close at once. Returns the owner's value.
    pub fn close(&mut self, id: ConnId, now: Now) -> Option<T> {
        self.connections.happenings.set_now(now);
        self.retire(id, CloseMode::Now, now);
        let peer = self.connections.remove(id)?;
        self.connections.addresses.remove(peer.address);
        self.connections.record_closed(id);
        self.drop_slow(now);
        Some(peer.io)
    }

    /// Handles all deadlines that have passed. A call without a due deadline has no effect.
    pub fn tick(&mut self, now: Now) {
        self.connections.happenings.set_now(now);
        self.check_due(now);
        self.check_leaves(now);
        self.pubsub.send_due_counts(&mut self.connections, now);
        self.pubsub.drop_idle_lists(now);
        self.continue_drain(now);
        self.continue_sweep(now);
        self.close_orphans(now);
        self.tick_bus(now);
        self.tick_webhooks(now);
        self.connections.send_feed();
        self.drop_slow(now);
    }

    /// The next connection to write to or to close; `None` when none is queued.
    pub fn next_dirty(&mut self, now: Now) -> Option<ConnId> {
        if self.pubsub.has_new_leaves() {
            self.check_leaves(now);
        }
        if self.connections.happenings.has_feed_work() {
            self.connections.send_feed();
        }
        self.connections.next_dirty()
    }

    /// Whether [`Hub::next_dirty`] has more connections.
    pub fn has_dirty(&self) -> bool {
        self.connections.has_dirty()
            || self.pubsub.has_new_leaves()
            || self.connections.happenings.has_feed_work()
    }

    /// A connection's socket is writable: [`Hub::next_dirty`] will return the connection again.
    pub fn touch(&mut self, id: ConnId) {
        self.connections.touch(id);
    }

    /// The owner's value of a connection, and the bytes to write.
    pub fn outbox(&mut self, id: ConnId) -> Option<(&mut T, &mut Outbox)> {
        let peer = self.connections.get_mut(id)?;
        Some((&mut peer.io, &mut peer.outbox))
    }

    /// The owner's value of a connection.
    pub fn io(&mut self, id: ConnId) -> Option<&mut T> {
        Some(&mut self.connections.get_mut(id)?.io)
    }

    /// The owner has written to a connection's socket. `is_blocked` means that the socket accepts
    /// no more data: the owner calls [`Hub::touch`] when the poller reports it as writable.
    pub fn written(&mut self, id: ConnId, is_blocked: bool, now: Now) {
        if let Some(peer) = self.connections.get_mut(id)
            && matches!(peer.phase, Phase::Request(_) | Phase::Viewing(_))
        {
            // A client that reads its responses is not idle.
            peer.last_seen_ms = now.ms;
        }
        self.connections.feed_written(id);
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

    /// Whether the hub has freed much memory since the last call, of connections or of the queue
    /// for other nodes. If so, the allocator should return the memory to the system.
    pub fn has_shrunk(&mut self) -> bool {
        self.bus_has_shrunk() | self.connections.take_has_shrunk()
    }

    /// Drops connections whose outbox exceeds its limit. No close frame is sent: it would not fit.
    fn drop_slow(&mut self, now: Now) {
        while let Some(id) = self.connections.too_slow.pop() {
            self.connections.limit_exceeded(id, LimitKind::OutboxBytes, now);
            let reason = "The client reads too slowly (limits.outbox_bytes)";
            let end = End { code: ABNORMAL, reason };
            self.pubsub.retire_because(&mut self.connections, id, CloseMode::Now, end, now);
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

/// How many connections over the limit of one address get a response that states the reason.
/// Further ones are closed without a response, so that they do not use up the total limit.
const SURPLUS_ANSWERED_MAX: u32 = 64;
/// The request timeout while there are too many connections.
const CROWDED_REQUEST_MS: u64 = 1_000;
