//! The socket to Redis: resolves, connects, reads and writes without blocking. The hub decides what
//! is sent, how long anything may take and what is logged; it gets each error as one sentence.

mod blocking;

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mio::event::Event;
use mio::{Registry, Waker};

use super::error::BindError;
use super::io::Answer;
use super::resolve::Resolver;
use super::socket::Socket;
use super::stream::Stream;
use super::tls::Connector;
use super::token::REDIS;
use crate::config::{Config, Limits, RedisTarget, Transport};
use crate::hub::{BusWant, Hub, Now};

pub(crate) use blocking::BlockingRedis;

/// The connection to the Redis that this node shares with others.
pub(super) struct Redis {
    target: RedisTarget,
    /// Begins TLS sessions, if Redis speaks TLS.
    tls: Option<Connector>,
    resolver: Resolver,
    /// Whether the attempt to connect is waiting for the resolver.
    is_resolving: bool,
    /// The addresses that this attempt has not tried yet, the next one last.
    addresses: Vec<SocketAddr>,
    /// How many addresses the next attempt tries last, because the hub has dropped connections to
    /// them.
    skip: usize,
    stream: Option<Stream>,
    /// Whether the connection is open and was reported to the hub.
    is_open: bool,
    /// Whether Redis has sent anything on this connection.
    has_received: bool,
    write_bytes_per_turn: usize,
}

impl Redis {
    /// The connection that this configuration describes; `None` if there is only one node. Loads
    /// the certificates, if there are any, and does not connect yet.
    pub(super) fn load(
        config: &Config,
        waker: &Arc<Waker>,
        now: Now,
    ) -> Result<Option<Self>, BindError> {
        if !config.server.scaling.enabled {
            return Ok(None);
        }
        let target = RedisTarget::of(&config.server.scaling).map_err(BindError::Redis)?;
        let tls = target.tls.as_ref().map(|tls| Connector::load(tls, now)).transpose();
        Ok(Some(Redis {
            tls: tls.map_err(BindError::Redis)?,
            target,
            resolver: Resolver::new(waker),
            is_resolving: false,
            addresses: Vec::new(),
            skip: 0,
            stream: None,
            is_open: false,
            has_received: false,
            write_bytes_per_turn: config.limits.write_bytes_per_turn as usize,
        }))
    }

    /// Records what the poller reported.
    pub(super) fn on_event(&mut self, event: &Event) {
        if let Some(stream) = self.stream.as_mut().filter(|_| event.token() == REDIS) {
            stream.on_event(event);
        }
    }

    /// Continues to connect, or reads once and passes the bytes to the hub.
    pub(super) fn read(
        &mut self,
        hub: &mut Hub<Socket>,
        buffer: &mut [u8],
        registry: &Registry,
        now: Now,
    ) {
        hub.bus_resume(now);
        let read = match self.is_open {
            true if hub.bus_has_input() => Ok(()),
            true => self.receive(hub, buffer, now),
            false => self.continue_connecting(registry).map(|is_open| {
                if is_open {
                    self.is_open = true;
                    hub.bus_connected(now);
                }
            }),
        };
        self.report(read, hub, now);
    }

    /// Connects or disconnects as the hub requests, then writes the outbox, up to
    /// `write_bytes_per_turn`. With `is_last`, this node announces its stop to the other nodes.
    pub(super) fn write(
        &mut self,
        hub: &mut Hub<Socket>,
        registry: &Registry,
        now: Now,
        is_last: bool,
    ) {
        if is_last {
            hub.bus_leave(now);
        }
        let done = match hub.bus_wants(now) {
            BusWant::Nothing => Ok(()),
            BusWant::Drop => {
                self.skip += usize::from(self.stream.is_some());
                self.close();
                Ok(())
            }
            BusWant::Connect => self.connect(registry),
        };
        let done = done.and_then(|()| self.send(hub));
        self.report(done, hub, now);
    }

    /// Whether there is work that the poller will not report.
    pub(super) fn has_work(&self, hub: &mut Hub<Socket>) -> bool {
        if hub.bus_has_input() {
            return true;
        }
        let Some(stream) = self.stream.as_ref().filter(|_| self.is_open) else { return false };
        let has_output = stream.wants_write() || hub.bus_outbox().is_some_and(|o| !o.is_empty());
        stream.readable || (stream.writable && has_output)
    }

    /// Applies a new limit of the bytes written in a turn; the hub applies the other limits of
    /// Redis.
    pub(super) fn set_limits(&mut self, limits: &Limits) {
        self.write_bytes_per_turn = limits.write_bytes_per_turn as usize;
    }

    /// Whether Redis may have sent bytes that the server has not read.
    pub(super) fn has_arrived(&self) -> bool {
        self.is_open && self.stream.as_ref().is_some_and(|stream| stream.readable)
    }

    /// Whether the connection uses TLS, so that certificates can be reloaded.
    pub(super) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Loads the certificates again, for new connections.
    pub(super) fn reload(&mut self, now: Now) {
        if let Some(tls) = &mut self.tls {
            tls.reload(now);
        }
    }

    /// Begins an attempt to connect.
    fn connect(&mut self, registry: &Registry) -> Result<(), String> {
        self.close();
        match &self.target.transport {
            Transport::Unix(path) => {
                let stream = Stream::unix(path, registry, REDIS);
                self.stream = Some(stream.map_err(|error| error.to_string())?);
                Ok(())
            }
            Transport::Tcp { host, port } => {
                if let Ok(address) = host.parse::<IpAddr>() {
                    self.addresses = vec![SocketAddr::new(address, *port)];
                    return self.try_next(registry, "no address");
                }
                let started = self.resolver.look_up(host, *port);
                started.map_err(|error| format!("cannot look up the host name: {error}"))?;
                self.is_resolving = true;
                self.take_answer(registry)
            }
        }
    }

    /// Connects to the first address, once the resolver has found the addresses.
    fn take_answer(&mut self, registry: &Registry) -> Result<(), String> {
        if !self.is_resolving {
            return Ok(());
        }
        let Some(answer) = self.resolver.take_answer() else { return Ok(()) };
        self.is_resolving = false;
        self.addresses =
            answer.map_err(|error| format!("the host name cannot be resolved: {error}"))?;
        let count = self.addresses.len().max(1);
        self.addresses.rotate_left(self.skip % count);
        self.addresses.reverse();
        self.try_next(registry, "the host name has no address")
    }

    /// Connects to the next untried address; `why` is the error if none is left.
    fn try_next(&mut self, registry: &Registry, why: &str) -> Result<(), String> {
        let mut why = why.to_owned();
        self.stream = None;
        while let Some(address) = self.addresses.pop() {
            let tls = self.tls.as_ref().map(Connector::session).transpose();
            let tls = tls.map_err(|error| error.for_redis())?;
            match Stream::tcp(address, tls, registry, REDIS) {
                Ok(stream) => {
                    self.stream = Some(stream);
                    return Ok(());
                }
                Err(error) => why = error.to_string(),
            }
        }
        Err(why)
    }

    /// Continues an attempt to connect. Returns whether the connection is open.
    fn continue_connecting(&mut self, registry: &Registry) -> Result<bool, String> {
        self.take_answer(registry)?;
        let Some(stream) = &mut self.stream else { return Ok(false) };
        match stream.continue_connecting() {
            Ok(is_open) => Ok(is_open),
            Err(error) => self.try_next(registry, &error.for_redis()).map(|()| false),
        }
    }

    fn receive(
        &mut self,
        hub: &mut Hub<Socket>,
        buffer: &mut [u8],
        now: Now,
    ) -> Result<(), String> {
        let Some(stream) = self.stream.as_mut().filter(|stream| stream.readable) else {
            return Ok(());
        };
        let why = match stream.read(buffer) {
            Ok(Answer::Bytes(len)) => {
                self.has_received = true;
                hub.bus_receive(&buffer[..len], now);
                return Ok(());
            }
            Ok(Answer::Nothing) => return Ok(()),
            Ok(Answer::End) => "it has closed the connection".to_owned(),
            Err(error) => error.for_redis(),
        };
        // A Redis that expects TLS closes the connection when it receives a plain login.
        let hint = "; if it requires TLS, its URL must begin with rediss://";
        Err(why + if self.has_received || self.tls.is_some() { "" } else { hint })
    }

    fn send(&mut self, hub: &mut Hub<Socket>) -> Result<(), String> {
        let Some(stream) = self.stream.as_mut().filter(|_| self.is_open) else { return Ok(()) };
        let Some(outbox) = hub.bus_outbox() else { return Ok(()) };
        let mut sent = 0;
        while stream.writable && sent < self.write_bytes_per_turn {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = outbox.slices(&mut slices, self.write_bytes_per_turn - sent);
            if filled == 0 && !stream.wants_write() {
                return Ok(());
            }
            let written = match stream.write(&slices[..filled]) {
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.to_string()),
            };
            outbox.consume(written);
            sent += written;
        }
        Ok(())
    }

    /// Reports an error to the hub, and closes the connection.
    fn report(&mut self, result: Result<(), String>, hub: &mut Hub<Socket>, now: Now) {
        if let Err(why) = result {
            self.close();
            hub.bus_lost(&format!("{}: {why}", self.target), now);
        }
    }

    /// Closes the connection or ends the attempt. The resolver continues; the next attempt takes its
    /// answer.
    fn close(&mut self) {
        (self.stream, self.is_resolving) = (None, false);
        (self.is_open, self.has_received) = (false, false);
        self.addresses.clear();
    }
}

/// The most envelopes in one system call; see `SLICES` in `socket`.
const SLICES: usize = 64;
