//! The socket to Redis: resolves, connects, reads and writes without ever waiting. What is said
//! on it, how long anything may take and what is logged of it is the hub's business; what goes
//! wrong here is one sentence for it.

mod blocking;
mod resolve;
mod stream;

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};

use mio::Registry;
use mio::event::Event;

use super::error::BindError;
use super::io::Answer;
use super::socket::Socket;
use super::tls::Connector;
use super::token::{REDIS, RESOLVED};
use crate::config::{Config, Limits, RedisTarget, Transport};
use crate::hub::{BusWant, Hub, Now};
use resolve::Resolver;
use stream::Stream;

pub(crate) use blocking::BlockingRedis;

/// The way to the Redis this node shares with others.
pub(super) struct Redis {
    target: RedisTarget,
    /// What TLS sessions begin with, if it speaks TLS.
    tls: Option<Connector>,
    resolver: Resolver,
    /// Whether an attempt to connect waits for the resolver.
    is_resolving: bool,
    /// The addresses this attempt has not tried yet, the next one last.
    addresses: Vec<SocketAddr>,
    /// How many addresses the next attempt passes over: those at which the hub gave up. They are
    /// tried when it comes round to them again.
    skip: usize,
    stream: Option<Stream>,
    /// Whether the hub was told that it is connected.
    is_open: bool,
    /// Whether anything has come since.
    has_heard: bool,
    write_bytes_per_turn: usize,
}

impl Redis {
    /// What a configuration says of Redis; `None` where there is only one node. Loads the
    /// certificates, if it takes any, and connects to nothing yet.
    pub(super) fn load(
        config: &Config,
        registry: &Registry,
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
            resolver: Resolver::new(registry, RESOLVED)?,
            is_resolving: false,
            addresses: Vec::new(),
            skip: 0,
            stream: None,
            is_open: false,
            has_heard: false,
            write_bytes_per_turn: config.limits.write_bytes_per_turn as usize,
        }))
    }

    /// Notes what the poller says of it.
    pub(super) fn note(&mut self, event: &Event) {
        if let Some(stream) = self.stream.as_mut().filter(|_| event.token() == REDIS) {
            stream.note(event);
        }
    }

    /// Goes on connecting, or reads once and hands the hub what has come.
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
            false => self.go_on(registry).map(|is_open| {
                if is_open {
                    self.is_open = true;
                    hub.bus_connected(now);
                }
            }),
        };
        self.settle(read, hub, now);
    }

    /// Does what the hub wants and writes what waits, so much a turn. The last time it says that
    /// this node goes.
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
        self.settle(done, hub, now);
    }

    /// Whether there is something to do without the poller saying more.
    pub(super) fn has_work(&self, hub: &mut Hub<Socket>) -> bool {
        if hub.bus_has_input() {
            return true;
        }
        let Some(stream) = self.stream.as_ref().filter(|_| self.is_open) else { return false };
        let waits = stream.wants_write() || hub.bus_outbox().is_some_and(|o| !o.is_empty());
        stream.readable || (stream.writable && waits)
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

    /// Whether it has certificates that can be loaded anew.
    pub(super) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Loads the certificates for the connections to come.
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
                let asked = self.resolver.ask(host, *port);
                asked.map_err(|error| format!("cannot look up the host name: {error}"))?;
                self.is_resolving = true;
                self.take_answer(registry)
            }
        }
    }

    /// Looks whether the resolver has found the addresses, and begins with the first.
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

    /// Begins with the next address that is left; `why` is what is wrong if there is none.
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

    /// Goes on with an attempt to connect, and says whether it has come to its end.
    fn go_on(&mut self, registry: &Registry) -> Result<bool, String> {
        self.take_answer(registry)?;
        let Some(stream) = &mut self.stream else { return Ok(false) };
        match stream.go_on() {
            Ok(is_open) => Ok(is_open),
            Err(why) => self.try_next(registry, &why).map(|()| false),
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
                self.has_heard = true;
                hub.bus_receive(&buffer[..len], now);
                return Ok(());
            }
            Ok(Answer::Nothing) => return Ok(()),
            Ok(Answer::End) => "it has closed the connection".to_owned(),
            Err(why) => why,
        };
        // What expects TLS does not know what to make of a login.
        let hint = "; if it speaks TLS, its URL must begin with rediss://";
        Err(why + if self.has_heard || self.tls.is_some() { "" } else { hint })
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

    /// Tells the hub what has gone wrong, if something has.
    fn settle(&mut self, result: Result<(), String>, hub: &mut Hub<Socket>, now: Now) {
        if let Err(why) = result {
            self.close();
            hub.bus_lost(&format!("{}: {why}", self.target), now);
        }
    }

    /// Ends the connection or the attempt. The resolver goes on; the next attempt takes its
    /// answer.
    fn close(&mut self) {
        (self.stream, self.is_resolving) = (None, false);
        (self.is_open, self.has_heard) = (false, false);
        self.addresses.clear();
    }
}

/// Envelopes in one call; see `socket`.
const SLICES: usize = 64;
