//! The sockets to Redis: resolves, connects, reads and writes without blocking. The hub decides what
//! is sent, how long anything may take and what is logged; it gets each error as one sentence.
//!
//! There are two connections, to the same address: one receives, the other publishes. They begin and
//! end together.

mod blocking;
mod resolve;
mod stream;

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};

use mio::event::Event;
use mio::{Registry, Token};

use super::error::BindError;
use super::io::Answer;
use super::socket::Socket;
use super::tls::Connector;
use super::token::{REDIS_PUBLISHER, REDIS_SUBSCRIBER, RESOLVED};
use crate::config::{Config, Limits, RedisTarget, Transport};
use crate::hub::{BusLink, BusWant, Hub, Now};
use resolve::Resolver;
use stream::Stream;

pub(crate) use blocking::BlockingRedis;

/// The connections to the Redis that this node shares with others.
pub(super) struct Redis {
    target: RedisTarget,
    /// Begins TLS sessions, if Redis speaks TLS.
    tls: Option<Connector>,
    resolver: Resolver,
    /// Whether the attempt to connect is waiting for the resolver.
    is_resolving: bool,
    /// The addresses that this attempt has not tried yet, the next one last.
    addresses: Vec<SocketAddr>,
    /// The address that the attempt is trying; `None` for a Unix socket.
    address: Option<SocketAddr>,
    /// How many addresses the next attempt tries last, because the hub has dropped connections to
    /// them.
    skip: usize,
    subscriber: Option<Stream>,
    /// Connected once the subscriber is open.
    publisher: Option<Stream>,
    /// Whether both connections are open and were reported to the hub.
    is_open: bool,
    /// Whether Redis has sent anything on these connections.
    has_received: bool,
    write_bytes_per_turn: usize,
}

impl Redis {
    /// The connection that this configuration describes; `None` if there is only one node. Loads
    /// the certificates, if there are any, and does not connect yet.
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
            address: None,
            skip: 0,
            subscriber: None,
            publisher: None,
            is_open: false,
            has_received: false,
            write_bytes_per_turn: config.limits.write_bytes_per_turn as usize,
        }))
    }

    /// Records what the poller reported.
    pub(super) fn on_event(&mut self, event: &Event) {
        let stream = match event.token() {
            REDIS_SUBSCRIBER => &mut self.subscriber,
            REDIS_PUBLISHER => &mut self.publisher,
            _ => return,
        };
        stream.iter_mut().for_each(|stream| stream.on_event(event));
    }

    /// Continues to connect, or reads once from each connection and passes the bytes to the hub.
    pub(super) fn read(
        &mut self,
        hub: &mut Hub<Socket>,
        buffer: &mut [u8],
        registry: &Registry,
        now: Now,
    ) {
        hub.bus_resume(now);
        let read = match self.is_open {
            true => BusLink::ALL.into_iter().try_for_each(|link| {
                // What the hub holds must be handled before more is read; replies never wait.
                let waits = link == BusLink::Subscriber && hub.bus_has_input();
                if waits { Ok(()) } else { self.receive(link, hub, buffer, now) }
            }),
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
                self.skip += usize::from(self.subscriber.is_some());
                self.close();
                Ok(())
            }
            BusWant::Connect => self.connect(registry),
        };
        let done =
            done.and_then(|()| BusLink::ALL.into_iter().try_for_each(|link| self.send(link, hub)));
        self.report(done, hub, now);
    }

    /// Whether there is work that the poller will not report.
    pub(super) fn has_work(&self, hub: &mut Hub<Socket>) -> bool {
        if hub.bus_has_input() {
            return true;
        }
        self.is_open
            && BusLink::ALL.into_iter().any(|link| {
                let Some(stream) = self.stream_of(link) else { return false };
                let has_queued = hub.bus_outbox(link).is_some_and(|outbox| !outbox.is_empty());
                stream.readable || (stream.writable && (stream.wants_write() || has_queued))
            })
    }

    fn stream_of_mut(&mut self, link: BusLink) -> Option<&mut Stream> {
        match link {
            BusLink::Subscriber => self.subscriber.as_mut(),
            BusLink::Publisher => self.publisher.as_mut(),
        }
    }

    fn stream_of(&self, link: BusLink) -> Option<&Stream> {
        match link {
            BusLink::Subscriber => self.subscriber.as_ref(),
            BusLink::Publisher => self.publisher.as_ref(),
        }
    }

    /// Applies a new limit of the bytes written in a turn; the hub applies the other limits of
    /// Redis.
    pub(super) fn set_limits(&mut self, limits: &Limits) {
        self.write_bytes_per_turn = limits.write_bytes_per_turn as usize;
    }

    /// Whether Redis may have sent bytes that the server has not read.
    pub(super) fn has_arrived(&self) -> bool {
        self.is_open && self.subscriber.as_ref().is_some_and(|stream| stream.readable)
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
                let stream = Stream::unix(path, registry, REDIS_SUBSCRIBER);
                self.subscriber = Some(stream.map_err(|error| error.to_string())?);
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
        self.subscriber = None;
        while let Some(address) = self.addresses.pop() {
            self.address = Some(address);
            match self.open(address, registry, REDIS_SUBSCRIBER) {
                Ok(stream) => {
                    self.subscriber = Some(stream);
                    return Ok(());
                }
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    /// Begins to connect to an address.
    fn open(
        &self,
        address: SocketAddr,
        registry: &Registry,
        token: Token,
    ) -> Result<Stream, String> {
        let tls = self.tls.as_ref().map(Connector::session).transpose();
        let tls = tls.map_err(|error| error.for_redis())?;
        Stream::tcp(address, tls, registry, token).map_err(|error| error.to_string())
    }

    /// Continues an attempt to connect. Returns whether both connections are open.
    fn continue_connecting(&mut self, registry: &Registry) -> Result<bool, String> {
        self.take_answer(registry)?;
        if let Some(publisher) = &mut self.publisher {
            return publisher.continue_connecting();
        }
        let Some(subscriber) = &mut self.subscriber else { return Ok(false) };
        match subscriber.continue_connecting() {
            Ok(true) => self.connect_publisher(registry).map(|()| false),
            Ok(false) => Ok(false),
            Err(why) => self.try_next(registry, &why).map(|()| false),
        }
    }

    /// Connects the publisher to the server of the subscriber.
    fn connect_publisher(&mut self, registry: &Registry) -> Result<(), String> {
        self.publisher = Some(match (&self.target.transport, self.address) {
            (Transport::Unix(path), _) => {
                let stream = Stream::unix(path, registry, REDIS_PUBLISHER);
                stream.map_err(|error| error.to_string())?
            }
            (Transport::Tcp { .. }, Some(address)) => {
                self.open(address, registry, REDIS_PUBLISHER)?
            }
            (Transport::Tcp { .. }, None) => return Err("no address".to_owned()),
        });
        Ok(())
    }

    fn receive(
        &mut self,
        link: BusLink,
        hub: &mut Hub<Socket>,
        buffer: &mut [u8],
        now: Now,
    ) -> Result<(), String> {
        let Some(stream) = self.stream_of_mut(link).filter(|stream| stream.readable) else {
            return Ok(());
        };
        let why = match stream.read(buffer) {
            Ok(Answer::Bytes(len)) => {
                self.has_received = true;
                hub.bus_receive(link, &buffer[..len], now);
                return Ok(());
            }
            Ok(Answer::Nothing) => return Ok(()),
            Ok(Answer::End) => "it has closed the connection".to_owned(),
            Err(why) => why,
        };
        // A Redis that expects TLS closes the connection when it receives a plain login.
        let hint = "; if it requires TLS, its URL must begin with rediss://";
        Err(why + if self.has_received || self.tls.is_some() { "" } else { hint })
    }

    fn send(&mut self, link: BusLink, hub: &mut Hub<Socket>) -> Result<(), String> {
        let (is_open, bytes_max) = (self.is_open, self.write_bytes_per_turn);
        let Some(stream) = self.stream_of_mut(link).filter(|_| is_open) else { return Ok(()) };
        let Some(outbox) = hub.bus_outbox(link) else { return Ok(()) };
        let mut sent = 0;
        while stream.writable && sent < bytes_max {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = outbox.slices(&mut slices, bytes_max - sent);
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

    /// Reports an error to the hub, and closes the connections.
    fn report(&mut self, result: Result<(), String>, hub: &mut Hub<Socket>, now: Now) {
        if let Err(why) = result {
            self.close();
            hub.bus_lost(&format!("{}: {why}", self.target), now);
        }
    }

    /// Closes the connections or ends the attempt. The resolver continues; the next attempt takes its
    /// answer.
    fn close(&mut self) {
        (self.subscriber, self.publisher, self.is_resolving) = (None, None, false);
        self.address = None;
        (self.is_open, self.has_received) = (false, false);
        self.addresses.clear();
    }
}

/// The most parts of commands in one system call, two for each envelope; see `SLICES` in `socket`.
const SLICES: usize = 128;
