//! The event loop: one thread, one poller, one read buffer.
//!
//! A turn waits until a socket is ready or a deadline passes, reads within the hub's budget (at
//! most one buffer per visit of a connection), fires deadlines, writes outboxes within
//! `flush_bytes_per_turn` and `flushes_per_turn`, and closes sockets. Sockets are closed in one
//! place, at the end of a turn, so that no key is reused while an event may still name it. Each
//! socket is registered once, for both directions.

mod accept;
mod apps;
mod bind;
mod configuration;
mod control;
mod deadlines;
mod descriptors;
mod handover;
mod integrations;
mod listeners;
mod pause;
mod queues;
mod take_over;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};

use super::clock::Clock;
use super::control::ControlPipe;
use super::io::Received;
use super::listen::Listen;
use super::redis::Redis;
use super::socket::Socket;
use super::sys;
use super::tls::TlsAcceptor;
use super::token::{self, CONTROL, REDIS_PUBLISHER, REDIS_SUBSCRIBER, RESOLVED, TRIAL};
use super::webhooks::Webhooks;
use crate::hub::{ConnId, Hub, IoAction, LogThrottle, Now};
use apps::Apps;
use configuration::Configuration;
use descriptors::Descriptors;
use handover::Handover;
use integrations::Integrations;
use listeners::Listeners;
use pause::CatchUp;
use queues::Queues;

pub(crate) use descriptors::connections_within;

/// A bound server. [`Server::run`] serves.
pub struct Server {
    poll: Poll,
    /// The buffer that every read uses.
    buffer: Box<[u8]>,
    clock: Clock,
    /// Delays deadlines after a pause of the process.
    catch_up: CatchUp,
    /// The protocol state of all connections, each with its socket.
    hub: Hub<Socket>,
    /// The listening sockets.
    listeners: Listeners,
    /// The open-file limit, and the share that connections may use.
    descriptors: Descriptors,
    /// The connections that wait for a step of the loop.
    queues: Queues,
    /// Begins the TLS sessions of clients; `None` if this server speaks plain HTTP.
    tls: Option<TlsAcceptor>,
    /// The socket to Redis; `None` if there is only one node.
    redis: Option<Redis>,
    /// The connections to the webhooks of the apps.
    webhooks: Webhooks,
    /// The apps of the folder of apps.
    apps: Apps,
    /// Wakes the event loop from threads.
    waker: Arc<Waker>,
    /// What the server does for systemd and Laravel.
    integrations: Integrations,
    /// The pipe through which signal handlers and each `Stopper` send requests.
    control: ControlPipe,
    /// The configuration in use, and how to read it again.
    configuration: Configuration,
    /// The handover to a newer binary.
    handover: Handover,
    /// Limits the log lines about clients that speak TLS to a server without it.
    tls_on_plain: LogThrottle,
    /// When to return the memory of closed connections to the system.
    trim_ms: Option<u64>,
    /// The number of requests to stop, other than those that count once.
    stop_requests: usize,
    /// When a stopping server ends, even if connections are left.
    end_ms: Option<u64>,
}

impl Server {
    /// The first TCP address the server listens at.
    ///
    /// # Errors
    ///
    /// The server listens on Unix sockets only.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        let address = self.listeners.for_clients().find_map(Listen::address);
        address.ok_or_else(|| io::Error::other("the server listens on Unix sockets only"))
    }

    /// All addresses and Unix sockets the server listens at, as text.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.listeners.for_clients().map(Listen::name)
    }

    /// The address of the metrics port, if there is one.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.listeners.metrics_address()
    }

    /// The URL of the console, or `unix:` and the path of its socket, if there is one.
    pub fn console_url(&self) -> Option<String> {
        let listen = self.listeners.console()?;
        Some(match listen.address() {
            Some(address) => format!("http://{address}/"),
            None => listen.name(),
        })
    }

    /// The maximum number of connections: `limits.connections`, or, if that is configured as 0, as
    /// many as the open-file limit allows.
    pub fn connections_max(&self) -> u32 {
        self.configuration.current.limits.connections
    }

    /// Whether the server speaks TLS, to clients or to Redis, and so has certificates to reload.
    pub fn has_certificates(&self) -> bool {
        self.tls.is_some() || self.redis.as_ref().is_some_and(Redis::is_secure)
    }

    /// Serves until a stop is requested and complete.
    ///
    /// # Errors
    ///
    /// The poller failed. No client can cause that.
    pub fn run(mut self) -> io::Result<()> {
        self.integrations.ready();
        if self.handover.has_taken_over {
            self.handover.outcome.send(Ok(()));
        }
        let mut events = Events::with_capacity(EVENTS);
        self.catch_up.start(self.clock.now());
        loop {
            let timeout = self.sleep_for();
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let (now, began) = (self.clock.now(), Instant::now());
            self.catch_up.begin_turn(timeout, now);
            for event in &events {
                self.note(event);
            }
            if let Some(tls) = &mut self.tls {
                tls.check(now);
            }
            self.integrations.turn(self.hub.counters(), now);
            let accepted = self.accept(now);
            let shaken = self.shake_hands(now);
            self.hub.begin_turn();
            self.read(now);
            // After the reads, so that the server still answers requests that arrived before a
            // stop.
            self.handle_control(now);
            self.change_apps(now);
            let is_idle = events.is_empty() && !self.has_input();
            let is_catching_up = self.catch_up.check(is_idle, now);
            if !is_catching_up && self.hub.is_tick_due(now) {
                self.hub.tick(now);
            }
            let registry = self.poll.registry();
            if let Some(redis) = &mut self.redis {
                redis.read(&mut self.hub, &mut self.buffer, registry, now);
            }
            self.flush(accepted * ACCEPT_FLUSHES + shaken * HANDSHAKE_FLUSHES, now);
            self.close_queued(now);
            self.trim(now);
            let has_ended = self.has_ended(now);
            if let Some(redis) = self.redis.as_mut().filter(|_| !is_catching_up || has_ended) {
                redis.write(&mut self.hub, self.poll.registry(), now, has_ended);
            }
            if !is_catching_up {
                let registry = self.poll.registry();
                self.webhooks.turn(&mut self.hub, &mut self.buffer, registry, now);
            }
            self.hub.end_turn(began.elapsed());
            self.continue_handover(now);
            if has_ended {
                self.webhooks.finish_spool(&mut self.hub);
                return Ok(());
            }
            if !is_catching_up {
                self.sample(now);
                self.assert_none_is_overdue(now);
            }
        }
    }

    /// Gives the console its next sample, if that is due.
    fn sample(&mut self, now: Now) {
        if self.hub.next_sample_ms().is_some_and(|due_ms| due_ms <= now.ms) {
            self.hub.sample(sys::memory_bytes(), now);
        }
    }

    /// Whether bytes may have arrived that the server has not read.
    fn has_input(&self) -> bool {
        let redis_has = self.redis.as_ref().is_some_and(Redis::has_arrived);
        redis_has || self.hub.has_work() || !self.queues.handshakes.is_empty()
    }

    /// How long the poller may wait: zero if work is left, `None` if there is no deadline.
    fn sleep_for(&mut self) -> Option<Duration> {
        let accepts = !self.handover.leaves_new_connections() && self.listeners.has_work();
        let reads = self.has_input();
        let talks = self.redis.as_ref().is_some_and(|redis| redis.has_work(&mut self.hub));
        let sends = self.webhooks.has_work() || self.hub.has_dirty();
        let changes = self.apps.has_work();
        if reads || accepts || talks || sends || changes || self.catch_up.is_on() {
            return Some(Duration::ZERO);
        }
        let due_ms = self.next_deadline_ms()?;
        Some(Duration::from_millis(due_ms.saturating_sub(self.clock.now().ms)))
    }

    /// Records an event of the poller. The steps of the turn act on it.
    fn note(&mut self, event: &mio::event::Event) {
        let id = match event.token() {
            CONTROL => return self.control.is_ready = true,
            // Needs no record: every turn continues the handover.
            TRIAL => return,
            REDIS_SUBSCRIBER | REDIS_PUBLISHER | RESOLVED => {
                self.redis.iter_mut().for_each(|redis| redis.on_event(event));
                return self.webhooks.on_event(event);
            }
            token if token::webhook_key(token).is_some() => return self.webhooks.on_event(event),
            Token(key) => match token::listener_index(Token(key), self.listeners.sockets.len()) {
                Some(index) => return self.listeners.sockets[index].ready = true,
                None => ConnId(key as u32),
            },
        };
        let Some(socket) = self.hub.io(id) else { return };
        let has_ended = event.is_read_closed() || event.is_error();
        socket.read_closed |= has_ended;
        let has_room = event.is_writable() && !std::mem::replace(&mut socket.writable, true);
        if (event.is_readable() || has_ended) && !socket.ended {
            self.queue_to_read(id, has_ended);
        }
        if has_room {
            self.hub.touch(id);
        }
    }

    /// Registers a connection with the poller.
    fn watch(&mut self, id: ConnId) {
        let Some(socket) = self.hub.io(id) else { return };
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = Token(id.0 as usize);
        // If bytes have already arrived, the poller reports them in the next turn.
        if let Err(error) = self.poll.registry().register(&mut socket.stream, token, interest) {
            log::error!("cannot register a connection with the poller: {error}; closing it");
            self.queues.to_close.push(id);
        }
    }

    /// Queues a connection for reading: in `handshakes` until its TLS handshake is complete, then
    /// in the hub. `has_ended` says that the client has closed its side.
    fn queue_to_read(&mut self, id: ConnId, has_ended: bool) {
        let Some(socket) = self.hub.io(id) else { return };
        match socket.is_handshaking() {
            true if std::mem::replace(&mut socket.queued, true) => {}
            true => self.queues.handshakes.push_back(id),
            false if has_ended => self.hub.ready_to_end(id),
            false => self.hub.ready(id),
        }
    }

    /// Continues at most `tls_handshakes_per_turn` TLS handshakes. The limit exists because a
    /// handshake is the most expensive step of a connection. Returns how many there were.
    fn shake_hands(&mut self, now: Now) -> u32 {
        let per_turn = self.configuration.current.limits.tls_handshakes_per_turn;
        for shaken_before in 0..per_turn {
            let Some(id) = self.queues.handshakes.pop_front() else { return shaken_before };
            // Data may have arrived together with the end of the handshake. It counts against the
            // budget of one visit.
            self.hub.begin_visit();
            self.read_one(id, BUFFER_BYTES, now);
        }
        per_turn
    }

    /// Reads from connections that may have input, until the budget of the turn is spent.
    fn read(&mut self, now: Now) {
        while let Some((id, bytes)) = self.hub.next_read(now) {
            self.read_one(id, bytes.min(BUFFER_BYTES), now);
        }
    }

    fn read_one(&mut self, id: ConnId, bytes: usize, now: Now) {
        let Some(socket) = self.hub.io(id) else { return };
        socket.queued = false;
        match socket.receive(&mut self.buffer[..bytes]) {
            Received::Bytes { len, more } => {
                if socket.tls.is_none() && is_tls_hello(&self.buffer[..len]) {
                    let address = socket.stream.peer_addr().ok();
                    let address = address.map_or("a client".to_owned(), |from| from.to_string());
                    self.tls_on_plain.warn(now.ms, format_args!("{address}: {TLS_ON_PLAIN}"));
                }
                self.hub.receive(id, &mut self.buffer[..len], now);
                if more {
                    self.queue_to_read(id, false);
                }
            }
            Received::Nothing => {}
            Received::End => {
                socket.ended = true;
                self.hub.finished(id, now);
            }
            Received::Broken => {
                socket.ended = true;
                // Removes the memberships here, so that the work counts toward the budget of this
                // turn's reads. `close_queued` then only closes the socket.
                self.hub.finished(id, now);
                self.queues.to_close.push(id);
            }
            Received::NotTls => {
                if let (Some(acceptor), Some(tls)) = (&mut self.tls, socket.tls.take()) {
                    acceptor.log_plain(&tls, now);
                }
                // The client sent plain HTTP. The server discards it and responds without
                // encryption.
                self.hub.ready(id);
                self.hub.counters_mut().process.tls_failures += 1;
                self.hub.reject(id, PLAIN_ON_TLS, now);
            }
        }
    }

    /// Writes outboxes with new output, within the limits of one turn. An event for ten thousand
    /// clients therefore does not delay an event for a single client. If an outbox must wait for a
    /// later turn, output that is queued before that turn is written with it. `more` is how many more
    /// connections it writes to because of accepts and handshakes, which the hub does not count.
    fn flush(&mut self, more: u32, now: Now) {
        let bytes_max = self.configuration.current.limits.write_bytes_per_turn as usize;
        let mut left = self.configuration.current.limits.flush_bytes_per_turn as usize;
        for _ in 0..self.hub.flushes_of_turn().saturating_add(more) {
            let Some(id) = self.hub.next_dirty(now) else { return };
            let Some((socket, outbox)) = self.hub.outbox(id) else { continue };
            let before = outbox.bytes();
            if socket.send(outbox, bytes_max).is_err() {
                self.hub.finished(id, now);
                self.queues.to_close.push(id);
                if self.hub.is_turn_over() {
                    return;
                }
                continue;
            }
            left = left.saturating_sub(before - outbox.bytes());
            let (is_blocked, is_over) = (!socket.writable, outbox.is_empty());
            self.hub.written(id, is_blocked, now);
            if !is_blocked && !is_over {
                self.hub.touch(id);
            }
            match self.hub.next_action(id) {
                IoAction::Stay => {}
                IoAction::Drop => self.queues.to_close.push(id),
                IoAction::ShutdownWrite => {
                    if let Some(socket) = self.hub.io(id) {
                        socket.shutdown();
                    }
                }
            }
            if left == 0 {
                return;
            }
        }
    }

    /// Closes the sockets of the connections in `to_close`.
    fn close_queued(&mut self, now: Now) {
        if !self.queues.to_close.is_empty() {
            self.listeners.retry_soon(now.ms);
        }
        while let Some(id) = self.queues.to_close.pop() {
            // Closing the descriptor also removes it from the poller.
            let Some(mut socket) = self.hub.close(id, now) else { continue };
            if let (Some(acceptor), Some(tls)) = (&mut self.tls, &mut socket.tls) {
                tls.note_abandoned();
                let failed = acceptor.log_failure(tls, now);
                self.hub.counters_mut().process.tls_failures += u64::from(failed);
                tls.close(&mut socket.stream, false);
            }
        }
    }

    /// Returns free memory to the system [`TRIM_PAUSE_MS`] after the last of many connections has
    /// closed. This takes a few milliseconds, so it is not done while more are closing.
    fn trim(&mut self, now: Now) {
        if self.hub.has_shrunk() {
            self.trim_ms = Some(now.ms + TRIM_PAUSE_MS);
        } else if self.trim_ms.is_some_and(|due_ms| due_ms <= now.ms) {
            self.trim_ms = None;
            self.queues.to_close.shrink_to_fit();
            sys::give_memory_back();
        }
    }
}

/// Whether these bytes begin a TLS handshake: a record of type handshake (22) and version 3.x that
/// contains a ClientHello (1).
fn is_tls_hello(bytes: &[u8]) -> bool {
    matches!(bytes, [0x16, 0x03, _, _, _, 0x01, ..])
}

const TLS_ON_PLAIN: &str = "sent TLS to a port that speaks plain HTTP: use http:// and ws://, \
                            or give the server a certificate (options.tls)";
const PLAIN_ON_TLS: &str = "This port speaks TLS: use https:// or wss://.";
/// The writes that take as long as accepting a connection: 12 µs.
const ACCEPT_FLUSHES: u32 = 2;
/// The writes that take as long as a step of a TLS handshake: 0.1 to 0.3 ms.
const HANDSHAKE_FLUSHES: u32 = 32;
/// Milliseconds from the last close until memory is returned. By then the wheel has also dropped
/// the entries for `request_timeout_ms`, which is ten seconds by default.
const TRIM_PAUSE_MS: u64 = 12_000;
/// The most events of one poll. Even a mass disconnect takes only a few turns.
const EVENTS: usize = 4_096;
/// The size of the read buffer, and so the most bytes read in one visit of a connection.
const BUFFER_BYTES: usize = 65_536;
