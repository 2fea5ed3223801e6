//! Who is here, and who must be told: the whole server but for its sockets.
//!
//! A [`Hub`] is fed with connections, bytes and the time, and fills an outbox for each
//! connection; whoever owns the sockets moves the bytes. It has no sockets, files, clock or
//! randomness of its own, so that it can be tested, simulated and fuzzed as a value.
//!
//! The face has four kinds of method: *events in* ([`Hub::open`], [`Hub::receive`],
//! [`Hub::finished`], [`Hub::reject`], [`Hub::close`], [`Hub::tick`], [`Hub::drain`]), which
//! never fail: what a peer must receive_envelope of a failure is in its outbox; *things to do*
//! ([`Hub::next_dirty`], [`Hub::outbox`], [`Hub::next_action`], [`Hub::next_tick_ms`]); *looks*
//! ([`Hub::connections`], [`Hub::counters`]); and [`Hub::listen`].

// What is known of other nodes is learnt by the bus alone.
#![cfg_attr(not(feature = "redis"), allow(dead_code))]

mod address;
mod api;
mod app;
mod audit;
#[cfg(feature = "redis")]
mod bus;
#[cfg(not(feature = "redis"))]
#[path = "no_bus.rs"]
mod bus;
mod cache;
mod channel;
mod client_event;
mod counters;
mod deadlines;
mod drain;
mod echo;
mod limit_log;
mod listener;
mod liveness;
mod log_throttle;
mod member_list;
mod metrics;
mod node_set;
mod outbox;
mod peer;
mod peers;
mod pending_leaves;
mod presence;
mod random;
mod request;
mod schedule;
mod signin;
mod snapshot;
mod staggered;
mod subscribe;
mod subscriber;
mod subscription_counts;
#[cfg(test)]
mod tests;
mod upgrade;
mod wheel;
mod work;
mod write_lanes;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;

#[cfg(feature = "redis")]
pub use bus::{BusCounters, BusWant};
pub use counters::{AppCounters, CounterVec, Counters, Histogram};
pub use listener::Listener;
pub use outbox::Outbox;
pub use peer::{ConnId, Now, SocketId};
pub use snapshot::{state_version, version_of};

use crate::config::{Config, LimitKind, Limits, Network};
use crate::proto::http::HttpError;
use address::Addresses;
use app::App;
use bus::Bus;
use drain::Drain;
pub(crate) use log_throttle::{LogThrottle, Policy};
use peer::{CloseMode, Closing, Mark, Marks, Peer, Phase, Request};
use peers::Peers;
use pending_leaves::PendingLeaves;
use random::{Hashing, Random};
use schedule::Schedule;
use staggered::Staggered;
use subscription_counts::CountDue;
use wheel::{Tick, Wheel};
use work::Lane;

/// The server without its sockets; `T` is what its owner keeps of each connection.
pub struct Hub<T> {
    peers: Peers<T>,
    apps: Vec<App>,
    by_id: HashMap<String, u32, Hashing>,
    by_key: HashMap<String, u32, Hashing>,
    limits: Limits,
    /// The path prefix under which everything stands as well.
    prefix: String,
    request_bytes_max: usize,
    random: Random,
    schedule: Schedule,
    /// Leaves from presence channels that have not been sent to the members yet.
    pending_leaves: PendingLeaves,
    /// Presence channels that keep the segments of their member list, by app and name.
    member_lists: Vec<(u32, Rc<str>)>,
    /// When the lists that were not sent for a second are next dropped.
    member_lists_ms: Option<u64>,
    /// The tick of an expired slot of the wheel, and the connections still to be checked.
    due: Option<(Tick, std::vec::IntoIter<ConnId>)>,
    /// Whether the last tick used up its units, so that due connections may be left to check.
    is_due_cut_short: bool,
    /// Channels whose subscription count is to be sent, the earliest first.
    counts_due: VecDeque<CountDue>,
    /// The `Date` header, and the second it is of.
    date: (u64, String),
    drain: Option<Drain>,
    /// Connections of removed apps, until they are closed.
    orphans: Option<Staggered>,
    /// What joins this node with others, where there are to be several.
    bus: Option<Box<Bus>>,
    /// Whether messages go back to who sent them, in place of being handled.
    echoes: bool,
    addresses: Addresses,
    trusted_proxies: Vec<Network>,
    /// Requests of publishers that have not arrived whole.
    api_requests: u32,
    /// What was logged of each bound.
    limit_log: [LogThrottle; LimitKind::ALL.len()],
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
        let limits = config.limits.clone();
        let mut by_id = HashMap::with_hasher(random.hashing());
        let mut by_key = HashMap::with_hasher(random.hashing());
        let mut apps = Vec::new();
        for (index, settings) in (0..).zip(&config.apps) {
            by_id.insert(settings.id.clone(), index);
            by_key.insert(settings.key.clone(), index);
            apps.push(App::new(settings.clone(), &limits, &mut random));
        }
        let addresses = Addresses::new(*by_id.hasher());
        let schedule = Schedule::new(*by_id.hasher());
        let app_ids = config.apps.iter().map(|app| Rc::from(app.id.as_str())).collect();
        let bus = Bus::new(config, &mut random, now);
        let peers = Peers::new(Wheel::new(now.ms), app_ids, limits.outbox_bytes as usize);
        Hub {
            peers,
            apps,
            by_id,
            by_key,
            limits,
            prefix: config.server.path.clone(),
            request_bytes_max: config.server.max_request_size,
            random,
            schedule,
            pending_leaves: PendingLeaves::default(),
            member_lists: Vec::new(),
            member_lists_ms: None,
            due: None,
            is_due_cut_short: false,
            counts_due: VecDeque::new(),
            date: (u64::MAX, String::new()),
            drain: None,
            orphans: None,
            bus,
            echoes: false,
            addresses,
            trusted_proxies: config.server.trusted_proxies.clone(),
            api_requests: 0,
            limit_log: [LogThrottle::new(Policy::ONE_AN_EPISODE); LimitKind::ALL.len()],
        }
    }

    /// Notifies this listener of events from now on.
    pub fn listen(&mut self, listener: Box<dyn Listener>) {
        self.peers.listener = Some(listener);
    }

    /// A client has connected from this address.
    pub fn open(&mut self, io: T, address: Option<IpAddr>, now: Now) -> ConnId {
        let deadline_ms = now.ms + u64::from(self.limits.request_timeout_ms);
        let request = Request { deadline_ms: Some(deadline_ms), ..Request::default() };
        let id = self.peers.insert(Peer {
            io,
            address,
            phase: Phase::Request(request),
            outbox: Outbox::default(),
            last_seen_ms: now.ms,
            armed: 0,
            marks: Marks::default(),
            pending_replies: 0,
        });
        self.addresses.add(address);
        self.peers.arm(id, deadline_ms);
        let surplus = self.surplus(id);
        if self.is_full() {
            self.limit_exceeded(id, LimitKind::Connections, now);
        } else if surplus > 0 {
            self.limit_exceeded(id, LimitKind::ConnectionsPerAddress, now);
        }
        if surplus > SURPLUS_TOLD {
            self.retire(id, CloseMode::Now, now);
        } else if self.is_crowded(id) {
            self.hurry_request(id, now.ms + FULL_REQUEST_MS);
        }
        id
    }

    /// These bytes have come from a client. They are unmasked in place.
    pub fn receive(&mut self, id: ConnId, bytes: &mut [u8], now: Now) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        peer.last_seen_ms = now.ms;
        match &mut peer.phase {
            Phase::Request(request) => {
                let request = std::mem::take(request);
                self.request_bytes(id, request, bytes, now);
            }
            Phase::Open(subscriber) => {
                let (app, reader) = (subscriber.app, std::mem::take(&mut subscriber.reader));
                self.peers.counters.apps[app as usize].bytes_in += bytes.len() as u64;
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
        let Some(peer) = self.peers.get(id) else { return };
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
        self.refuse(id, HttpError::new(400, text), now);
    }

    /// Forgets a connection, full_sync those who must know, and gives back what its owner kept.
    pub fn close(&mut self, id: ConnId, now: Now) -> Option<T> {
        self.retire(id, CloseMode::Now, now);
        let peer = self.peers.remove(id)?;
        self.addresses.remove(peer.address);
        self.note_closed(id);
        self.drop_slow(now);
        Some(peer.io)
    }

    /// Does what is due. Calls without need do no harm.
    pub fn tick(&mut self, now: Now) {
        self.check_due(now);
        self.check_leaves(now);
        self.send_due_counts(now);
        self.drop_idle_lists(now);
        self.continue_drain(now);
        self.close_orphans(now);
        self.tick_bus(now);
        self.drop_slow(now);
    }

    /// The next connection to write to or to close; `None` when none is queued.
    pub fn next_dirty(&mut self, now: Now) -> Option<ConnId> {
        if self.has_new_leaves() {
            self.check_leaves(now);
        }
        self.peers.next_dirty()
    }

    /// Whether [`Hub::next_dirty`] has more.
    pub fn has_dirty(&self) -> bool {
        self.peers.has_dirty() || self.has_new_leaves()
    }

    /// Makes [`Hub::next_dirty`] hand a connection out again: its socket takes more.
    pub fn touch(&mut self, id: ConnId) {
        self.peers.touch(id);
    }

    /// What waits for a connection, and what its owner keeps of it.
    pub fn outbox(&mut self, id: ConnId) -> Option<(&mut T, &mut Outbox)> {
        let peer = self.peers.get_mut(id)?;
        Some((&mut peer.io, &mut peer.outbox))
    }

    /// What the owner keeps of a connection.
    pub fn io(&mut self, id: ConnId) -> Option<&mut T> {
        Some(&mut self.peers.get_mut(id)?.io)
    }

    /// The owner has written to a connection's socket. `is_blocked` means that the socket accepts
    /// no more data: the owner calls [`Hub::touch`] when the poller reports it as writable.
    pub fn written(&mut self, id: ConnId, is_blocked: bool, now: Now) {
        if let Some(peer) = self.peers.get_mut(id)
            && matches!(peer.phase, Phase::Request(_))
        {
            // A client that reads its answers is not idle.
            peer.last_seen_ms = now.ms;
        }
        if self.peers.set_blocked(id, is_blocked) {
            self.check_pause(id, now);
        }
    }

    /// What to do with a connection after its outbox was written. Returns
    /// [`IoAction::ShutdownWrite`] only once.
    pub fn next_action(&mut self, id: ConnId) -> IoAction {
        let Some(peer) = self.peers.get_mut(id) else { return IoAction::Stay };
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

    /// How many connections of any kind there are.
    pub fn connections(&self) -> usize {
        self.peers.len()
    }

    /// All of them. For what happens once in a while, never for an event.
    pub fn ids(&self) -> Vec<ConnId> {
        self.peers.ids()
    }

    /// How often things have happened since the start.
    pub fn counters(&self) -> &Counters {
        &self.peers.counters
    }

    /// The same, for what happens to sockets, which their owner alone sees.
    pub fn counters_mut(&mut self) -> &mut Counters {
        &mut self.peers.counters
    }

    /// Whether the hub has freed much memory since the last call, of connections or of the queue
    /// for other nodes: it is worth while to make the allocator return that memory to the system.
    pub fn has_shrunk(&mut self) -> bool {
        self.bus_has_shrunk() | self.peers.take_gave_back()
    }

    /// Whether there are more connections than there should be. Those that come all the same are
    /// served quickly and not kept.
    fn is_full(&self) -> bool {
        self.limits.connections > 0 && self.peers.len() > self.limits.connections as usize
    }

    /// Whether there are too many connections, in all or from the address of this one.
    fn is_crowded(&self, id: ConnId) -> bool {
        self.is_full() || self.surplus(id) > 0
    }

    /// Unsubscribes a connection from everything and marks it as closing.
    fn retire(&mut self, id: ConnId, mode: CloseMode, now: Now) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        let deadline_ms = now.ms + u64::from(self.limits.close_timeout_ms);
        let end_ms = now.ms + u64::from(self.limits.keep_alive_timeout_ms);
        let was_paused = peer.marks.take(Mark::Paused);
        if matches!(mode, CloseMode::Now) {
            self.peers.clear_outbox(id);
        }
        let Some(peer) = self.peers.get_mut(id) else { return };
        let left_bytes = peer.outbox.bytes();
        let is_for_metrics = match &peer.phase {
            Phase::Request(request) => request.is_for_metrics,
            Phase::Closing(closing) => closing.is_for_metrics,
            Phase::Open(_) => false,
        };
        let closing = Closing { deadline_ms, end_ms, left_bytes, mode, is_for_metrics };
        match std::mem::replace(&mut peer.phase, Phase::Closing(closing)) {
            Phase::Open(subscriber) => {
                _ = self.schedule.forget(id);
                self.forget(id, subscriber, now);
            }
            // A connection that is retired twice keeps its first deadline.
            Phase::Closing(first) => {
                if let Phase::Closing(closing) = &mut peer.phase {
                    (closing.deadline_ms, closing.end_ms) = (first.deadline_ms, first.end_ms);
                }
            }
            Phase::Request(request) => self.release(&request),
        }
        self.peers.touch(id);
        self.peers.arm_by(id, deadline_ms);
        if was_paused {
            // Its socket may have become readable while it was paused; the input is discarded.
            self.schedule_in(id, Lane::Light);
        }
    }

    /// Drops connections whose outbox exceeds its limit. No close frame is sent: it would not fit.
    fn drop_slow(&mut self, now: Now) {
        while let Some(id) = self.peers.too_slow.pop() {
            self.limit_exceeded(id, LimitKind::OutboxBytes, now);
            self.retire(id, CloseMode::Now, now);
        }
    }
}

/// Connections of one address beyond its bound that are told why they are refused; those that come
/// beyond these are closed in silence, so that they do not take the room of others.
const SURPLUS_TOLD: u32 = 64;
/// Milliseconds a request has to arrive while there are too many connections.
const FULL_REQUEST_MS: u64 = 1_000;
