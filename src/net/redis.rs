//! The sockets to Redis: resolves, connects, reads and writes without blocking. The hub decides what
//! is sent, how long anything may take and what is logged; it gets each error as one sentence.
//!
//! There are two connections, to the same address: one receives, the other publishes. They begin and
//! end together.

mod blocking;
mod dial;
mod sentinel;

use std::io::{self, IoSlice};
use std::sync::Arc;

use mio::event::Event;
use mio::{Registry, Waker};

use super::error::BindError;
use super::io::Answer;
use super::resolve::Resolver;
use super::socket::Socket;
use super::stream::Stream;
use super::tls::Connector;
use super::token::{REDIS_PUBLISHER, REDIS_SUBSCRIBER};
use crate::config::{Config, HostPort, Limits, RedisTarget, Transport};
use crate::hub::{BusLink, BusWant, Hub, Now};
use dial::{Dial, Dialled, Network};
use sentinel::MasterQuery;

pub(crate) use blocking::{BlockingRedis, ask_sentinel};

/// The connections to the Redis that this node shares with others.
pub(super) struct Redis {
    target: RedisTarget,
    /// Begins TLS sessions, if Redis speaks TLS.
    tls: Option<Connector>,
    resolver: Resolver,
    /// Asks the sentinels for the master, if there are any.
    query: Option<MasterQuery>,
    /// Whether the attempt to connect is waiting for the sentinels.
    is_asking: bool,
    /// The attempt to connect the subscriber, and when it ends if another server may take over.
    dial: Option<Dial>,
    dial_until_ms: Option<u64>,
    /// The server of a Redis Cluster of this or the last attempt, for the log.
    server: Option<HostPort>,
    /// How many addresses the next attempt tries last, because the hub has dropped connections to
    /// them.
    skip: usize,
    /// The time that the hub allows for an attempt to connect.
    attempt_ms: u64,
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
        waker: &Arc<Waker>,
        now: Now,
    ) -> Result<Option<Self>, BindError> {
        if !config.server.scaling.enabled {
            return Ok(None);
        }
        let target = RedisTarget::of(&config.server.scaling).map_err(BindError::Redis)?;
        let tls = target.tls.as_ref().map(|tls| Connector::load(tls, now)).transpose();
        let query = match &target.transport {
            Transport::Sentinel(sentinels) => {
                Some(MasterQuery::new(sentinels.clone(), REDIS_SUBSCRIBER))
            }
            _ => None,
        };
        Ok(Some(Redis {
            tls: tls.map_err(BindError::Redis)?,
            target,
            resolver: Resolver::new(waker),
            query,
            is_asking: false,
            dial: None,
            dial_until_ms: None,
            server: None,
            skip: 0,
            attempt_ms: config.limits.redis_connect_timeout_ms.into(),
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
        match (stream, &mut self.query, &mut self.dial) {
            (Some(stream), ..) => stream.on_event(event),
            (None, Some(query), _) if self.is_asking => query.on_event(event),
            (None, _, Some(dial)) => dial.on_event(event),
            _ => {}
        }
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
            false => self.continue_connecting(registry, now).map(|is_open| {
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
                let has_begun = self.dial.as_ref().is_some_and(Dial::has_begun);
                self.skip += usize::from(self.subscriber.is_some() || has_begun);
                self.close();
                Ok(())
            }
            BusWant::Connect => self.connect(hub, registry, now),
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
        self.attempt_ms = limits.redis_connect_timeout_ms.into();
    }

    /// When [`Redis::read`] asks the next sentinel, or gives up connecting, if the server does not
    /// answer before.
    pub(super) fn next_ms(&self) -> Option<u64> {
        match &self.query {
            Some(query) if self.is_asking => query.next_ms(),
            _ => self.dial_until_ms,
        }
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
    fn connect(
        &mut self,
        hub: &mut Hub<Socket>,
        registry: &Registry,
        now: Now,
    ) -> Result<(), String> {
        self.close();
        match &self.target.transport {
            Transport::Unix(path) => {
                let stream = Stream::unix(path, registry, REDIS_SUBSCRIBER);
                self.subscriber = Some(stream.map_err(|error| error.to_string())?);
            }
            Transport::Tcp { host, port } => {
                let host = HostPort { host: host.clone(), port: *port };
                let owner = hub.bus_server();
                self.dial_until_ms = owner.as_ref().map(|_| now.ms + self.attempt_ms / DIAL_SHARE);
                self.server.clone_from(&owner);
                self.dial = Some(Dial::new(owner.unwrap_or(host), REDIS_SUBSCRIBER, self.skip));
            }
            Transport::Sentinel(_) => {
                self.is_asking = true;
                self.query.iter_mut().for_each(|query| query.begin(self.attempt_ms));
            }
        }
        self.continue_connecting(registry, now).map(|_| ())
    }

    /// Continues an attempt to connect. Returns whether both connections are open.
    fn continue_connecting(&mut self, registry: &Registry, now: Now) -> Result<bool, String> {
        let (resolver, tls) = (&mut self.resolver, self.tls.as_ref());
        let mut network = Network { resolver, tls, registry };
        if let Some(query) = self.query.as_mut().filter(|_| self.is_asking) {
            let Some(master) = query.advance(&mut network, now.ms)? else { return Ok(false) };
            self.is_asking = false;
            self.dial_until_ms = Some(now.ms + self.attempt_ms / DIAL_SHARE);
            self.dial = Some(Dial::new(master, REDIS_SUBSCRIBER, self.skip));
        }
        if let Some(dial) = &mut self.dial {
            let dialled = match self.dial_until_ms.is_some_and(|until_ms| now.ms >= until_ms) {
                true => {
                    self.skip += usize::from(dial.has_begun());
                    Err(format!("no answer within {} ms", self.attempt_ms / DIAL_SHARE))
                }
                false => dial.advance(&mut network),
            };
            let dialled = dialled.map_err(|why| match &self.query {
                Some(_) => format!("the master {}: {why}", dial.host()),
                None => why,
            })?;
            let Some(Dialled { host, address, stream }) = dialled else { return Ok(false) };
            self.dial_until_ms = None;
            self.publisher = Some(network.open(address, &host.host, REDIS_PUBLISHER)?);
            (self.subscriber, self.dial) = (Some(stream), None);
            return Ok(false);
        }
        if let Some(publisher) = &mut self.publisher {
            return publisher.continue_connecting().map_err(|error| error.for_redis());
        }
        // The only connection that was begun without a `Dial` is that to a Unix socket.
        let (Some(subscriber), Transport::Unix(path)) =
            (&mut self.subscriber, &self.target.transport)
        else {
            return Ok(false);
        };
        if subscriber.continue_connecting().map_err(|error| error.for_redis())? {
            let publisher = Stream::unix(path, registry, REDIS_PUBLISHER);
            self.publisher = Some(publisher.map_err(|error| error.to_string())?);
        }
        Ok(false)
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
            Err(error) => error.for_redis(),
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
            let why = match &self.server {
                Some(server) => format!("{server}: {why}"),
                None => format!("{}: {why}", self.target),
            };
            hub.bus_lost(&why, now);
        }
    }

    /// Closes the connections or ends the attempt. The resolver continues; the next attempt takes its
    /// answer.
    fn close(&mut self) {
        (self.subscriber, self.publisher, self.dial) = (None, None, None);
        (self.is_open, self.has_received, self.is_asking) = (false, false, false);
        self.dial_until_ms = None;
        self.query.iter_mut().for_each(MasterQuery::end);
    }
}

/// The share of an attempt after which a server that another one has named counts as unreachable, so
/// that the next attempt can ask again soon.
const DIAL_SHARE: u64 = 4;

/// The most parts of commands in one system call, two for each envelope; see `SLICES` in `socket`.
const SLICES: usize = 128;
