//! The loop: one thread, one poller, one buffer to read into.
//!
//! A turn waits until a socket is ready or a deadline passes, reads within the hub's budget (at
//! most one buffer per visit of a connection), fires deadlines, writes outboxes within
//! `flush_bytes_per_turn` and `flushes_per_turn`, and closes sockets. Sockets are closed in one
//! place, at the end of a turn, so that no key is reused while an event may still name it. Each
//! socket is registered once, for both directions.

mod accept;
mod attach;
mod bind;
mod catch_up;
mod configure;
mod control;
mod deadlines;
mod replace;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use super::clock::Clock;
use super::control::{ControlPipe, Stopper};
use super::io::Received;
use super::listen::Listen;
use super::pulse::Pulse;
use super::redis::Redis;
use super::restart_key;
use super::socket::Socket;
use super::successor::{Outcome, Successor};
use super::sys;
use super::systemd::SdNotify;
use super::tls::TlsAcceptor;
use super::token::{self, CONTROL, REDIS, RESOLVED, TRIAL};
use crate::config::{Config, Limits};
use crate::hub::{ConnId, Hub, IoAction, LogThrottle, Now};
use accept::Files;
use catch_up::CatchUp;
use configure::Configure;
use replace::Reload;

pub(crate) use accept::connections_within;

/// A bound server that has not begun to serve.
pub struct Server {
    poll: Poll,
    /// The addresses it listens at, that for metrics among them.
    listens: Vec<Listen>,
    /// Connections of that one, and some that have gone since.
    watchers: Vec<ConnId>,
    /// What is told to systemd, if it runs under it.
    notices: Option<SdNotify>,
    /// What feeds the messages card of Laravel Pulse, if it is fed.
    pulse: Option<Pulse>,
    /// Watches for `php artisan reverb:restart`; `None` if there is no key to watch.
    restarts: Option<restart_key::Watch>,
    /// What speaks TLS, if this server does.
    secure: Option<TlsAcceptor>,
    /// The way to the other nodes, if there are to be any.
    redis: Option<Redis>,
    stops: ControlPipe,
    /// The other end of `stops`, for as many stoppers as are wanted.
    stop_writer: StdUnixStream,
    hub: Hub<Socket>,
    clock: Clock,
    catch_up: CatchUp,
    files: Files,
    limits: Limits,
    /// Connections whose TLS handshake can proceed, in the order they became ready.
    to_shake: VecDeque<ConnId>,
    /// Connections that die at the end of the turn.
    to_reap: Vec<ConnId>,
    buffer: Box<[u8]>,
    /// Clients that speak TLS to a server that does not.
    misdirected: LogThrottle,
    /// Whether it was asked for something by a signal or a stopper since the last look.
    asked: bool,
    /// When to give back the memory of those who have gone.
    trim_ms: Option<u64>,
    /// When a server that was asked to stop ends, whoever is still there.
    end_ms: Option<u64>,
    /// How the configuration is read anew, if it can be.
    configure: Option<Configure>,
    /// The one it runs with.
    config: Config,
    /// What is executed in place of this one if that is asked for.
    successor: Option<Successor>,
    /// How far that is.
    reload: Option<Reload>,
    /// Sends the result of a reload to `reverb reload`.
    outcome: Outcome,
    /// Whether this server goes on where another has stopped.
    has_taken_over: bool,
}

impl Server {
    /// The first address of the network it is bound to.
    ///
    /// # Errors
    ///
    /// It listens at files alone.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        let mut listens = self.listens.iter().filter(|listen| !listen.is_for_metrics);
        let address = listens.find_map(Listen::address);
        address.ok_or_else(|| io::Error::other("the server has no address of the network"))
    }

    /// All of them, and the files it listens at, as they are told to people.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.listens.iter().filter(|listen| !listen.is_for_metrics).map(Listen::name)
    }

    /// The address figures are served at, if they are.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.listens.iter().filter(|listen| listen.is_for_metrics).find_map(Listen::address)
    }

    /// The most connections at a time: as configured, or as the open-file limit allows.
    pub fn connections_max(&self) -> u32 {
        self.limits.connections
    }

    /// Whether it speaks TLS, to clients or to Redis, so that there are certificates to load anew.
    pub fn has_certificates(&self) -> bool {
        self.secure.is_some() || self.redis.as_ref().is_some_and(Redis::is_secure)
    }

    /// Has this server give every message back to who sent it.
    #[doc(hidden)]
    pub fn echo(&mut self) {
        self.hub.echo();
    }

    /// What asks this server to stop.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn stopper(&self) -> io::Result<Stopper> {
        super::control::stopper(&self.stop_writer)
    }

    /// Serves until it is asked to stop.
    ///
    /// # Errors
    ///
    /// The poller's; no client can cause one.
    pub fn run(mut self) -> io::Result<()> {
        self.notices.iter().for_each(SdNotify::ready);
        if self.has_taken_over {
            self.outcome.tell("");
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
            if let Some(secure) = &mut self.secure {
                secure.check(now);
            }
            if let Some(notices) = &mut self.notices {
                notices.turn(now.ms);
            }
            if let Some(pulse) = &mut self.pulse {
                pulse.turn(self.hub.counters(), now);
            }
            self.accept(now);
            self.shake_hands(now);
            self.hub.begin_turn();
            self.read(now);
            // After what has come already: a request that is here is still answered.
            if std::mem::take(&mut self.asked) {
                self.handle_control(now);
            }
            let is_catching_up = self.is_catching_up(&events, now);
            if !is_catching_up && self.hub.is_tick_due(now) {
                self.hub.tick(now);
            }
            let registry = self.poll.registry();
            if let Some(redis) = &mut self.redis {
                redis.read(&mut self.hub, &mut self.buffer, registry, now);
            }
            self.flush(now);
            self.reap(now);
            self.trim(now);
            let has_ended = self.has_ended(now);
            if let Some(redis) = self.redis.as_mut().filter(|_| !is_catching_up || has_ended) {
                redis.write(&mut self.hub, self.poll.registry(), now, has_ended);
            }
            self.hub.counters_mut().turns.count(began.elapsed());
            self.go_on_reloading(now);
            if has_ended {
                return Ok(());
            }
            if !is_catching_up {
                self.assert_none_is_overdue(now);
            }
        }
    }

    /// How long nothing is due: not at all if work is left, for ever if there is nobody.
    fn sleep_for(&mut self) -> Option<Duration> {
        let accepts = !self.is_about_to_go() && self.listens.iter().any(Listen::has_work);
        let reads = self.hub.has_work() || !self.to_shake.is_empty();
        let talks = self.redis.as_ref().is_some_and(|redis| redis.has_work(&mut self.hub));
        if reads || self.catch_up.is_on() || self.hub.has_dirty() || accepts || talks {
            return Some(Duration::ZERO);
        }
        let due_ms = self.next_deadline_ms()?;
        Some(Duration::from_millis(due_ms.saturating_sub(self.clock.now().ms)))
    }

    /// Notes what the poller says; nothing is done about it yet.
    fn note(&mut self, event: &mio::event::Event) {
        let id = match event.token() {
            CONTROL => return self.asked = true,
            // It is looked at in every turn while it lasts.
            TRIAL => return,
            REDIS | RESOLVED => return self.redis.iter_mut().for_each(|redis| redis.note(event)),
            Token(key) => match token::listener_index(Token(key), self.listens.len()) {
                Some(index) => return self.listens[index].ready = true,
                None => ConnId(key as u32),
            },
        };
        let Some(socket) = self.hub.io(id) else { return };
        socket.read_closed |= event.is_read_closed() || event.is_error();
        let has_room = event.is_writable() && !std::mem::replace(&mut socket.writable, true);
        let reads = event.is_readable() || event.is_read_closed() || event.is_error();
        if reads && !socket.ended {
            self.queue_to_read(id);
        }
        if has_room {
            self.hub.touch(id);
        }
    }

    /// Queues a connection to be read: during its TLS handshake in `to_shake`, later in the hub.
    fn queue_to_read(&mut self, id: ConnId) {
        let Some(socket) = self.hub.io(id) else { return };
        match socket.is_handshaking() {
            true if std::mem::replace(&mut socket.queued, true) => {}
            true => self.to_shake.push_back(id),
            false => self.hub.ready(id),
        }
    }

    /// Goes on with handshakes, so many a turn: they are what costs the most by far.
    fn shake_hands(&mut self, now: Now) {
        for _ in 0..self.limits.tls_handshakes_per_turn {
            let Some(id) = self.to_shake.pop_front() else { return };
            // Data that arrived with the end of the handshake is handled within the budget of one
            // visit.
            self.hub.begin_visit();
            self.read_one(id, BUFFER_BYTES, now);
        }
    }

    /// Reads from the connections that may have input, until the turn's budget is used up.
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
                    self.misdirected.warn(now.ms, format_args!("{address}: {TLS_ON_PLAIN}"));
                }
                self.hub.receive(id, &mut self.buffer[..len], now);
                if more {
                    self.queue_to_read(id);
                }
            }
            Received::Nothing => {}
            Received::End => {
                socket.ended = true;
                self.hub.finished(id, now);
            }
            Received::Broken => {
                socket.ended = true;
                // Leaving the channels counts toward the budget of this turn; `reap` only closes
                // the socket.
                self.hub.finished(id, now);
                self.to_reap.push(id);
            }
            Received::NotTls => {
                if let (Some(secure), Some(tls)) = (&mut self.secure, socket.tls.take()) {
                    secure.note_plain(&tls, now);
                }
                // The server discards the client's input, and answers without encryption.
                self.hub.ready(id);
                self.hub.counters_mut().tls_failures += 1;
                self.hub.reject(id, PLAIN_ON_TLS, now);
            }
        }
    }

    /// Writes the outboxes that have changed, within the limits of one turn: an event for ten
    /// thousand clients does not delay one for a single client, and bytes queued before the next
    /// turn join the same write.
    fn flush(&mut self, now: Now) {
        let bytes_max = self.limits.write_bytes_per_turn as usize;
        let mut left = self.limits.flush_bytes_per_turn as usize;
        for _ in 0..self.limits.flushes_per_turn {
            let Some(id) = self.hub.next_dirty(now) else { return };
            let Some((socket, outbox)) = self.hub.outbox(id) else { continue };
            let before = outbox.bytes();
            if socket.send(outbox, bytes_max).is_err() {
                self.hub.finished(id, now);
                self.to_reap.push(id);
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
                IoAction::Drop => self.to_reap.push(id),
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

    fn reap(&mut self, now: Now) {
        if !self.to_reap.is_empty() {
            self.retry_accepting(now);
        }
        while let Some(id) = self.to_reap.pop() {
            // Closing the descriptor takes it off the poller as well.
            let Some(mut socket) = self.hub.close(id, now) else { continue };
            if let (Some(secure), Some(tls)) = (&mut self.secure, &mut socket.tls) {
                tls.note_abandoned();
                let failed = secure.note_failure(tls, now);
                self.hub.counters_mut().tls_failures += u64::from(failed);
                tls.close(&mut socket.stream, false);
            }
        }
    }

    /// Gives memory back some time after many have gone: not in the middle of their going, as it
    /// takes a few milliseconds.
    fn trim(&mut self, now: Now) {
        if self.hub.has_shrunk() {
            self.trim_ms = Some(now.ms + TRIM_PAUSE_MS);
        } else if self.trim_ms.is_some_and(|due_ms| due_ms <= now.ms) {
            self.trim_ms = None;
            self.to_reap.shrink_to_fit();
            sys::give_memory_back();
        }
    }
}

/// Whether these bytes are the beginning of a TLS handshake: a record of this kind (22) and a
/// version 3.x, with a client's hello (1) in it.
fn is_tls_hello(bytes: &[u8]) -> bool {
    matches!(bytes, [0x16, 0x03, _, _, _, 0x01, ..])
}

const TLS_ON_PLAIN: &str = "spoke TLS to this port, which speaks plain HTTP: use http:// and ws://, \
                            or give the server a certificate (options.tls)";
const PLAIN_ON_TLS: &str = "This port speaks TLS: use https:// or wss://.";
/// Milliseconds without many going after which their memory is given back: by then the wheel has
/// let go of the ten seconds they had for their first request as well.
const TRIM_PAUSE_MS: u64 = 12_000;
/// Events of one turn. A mass disconnect is seen in a few turns with this many.
const EVENTS: usize = 4_096;
/// What is read of a connection in one turn.
const BUFFER_BYTES: usize = 65_536;
