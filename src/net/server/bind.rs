//! Making a server: certificates, sockets and the poller, before anything is served.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use mio::{Interest, Poll};

use super::accept::Files;
use super::catch_up::CatchUp;
use super::{BUFFER_BYTES, Server};
use crate::config::Config;
use crate::hub::{Hub, LogThrottle, Policy};
use crate::net::clock::Clock;
use crate::net::control::ControlPipe;
use crate::net::error::BindError;
use crate::net::listen::Listen;
use crate::net::redis::Redis;
use crate::net::successor::Outcome;
use crate::net::sys;
use crate::net::tls::TlsAcceptor;
use crate::net::token;

impl Server {
    /// Loads the certificates of this configuration, if it has any, binds its address and raises
    /// the open-file limit.
    ///
    /// `seed` decides the socket ids of the connections: take it from the operating system's
    /// random numbers.
    ///
    /// # Errors
    ///
    /// A file that cannot be used, named with what is wrong in it; the system's, when the address
    /// is taken, is not this machine's, or cannot be resolved.
    pub fn bind(config: &Config, seed: [u8; 32]) -> Result<Self, BindError> {
        Server::on(Vec::new(), config, seed)
    }

    /// The same on sockets that listen already, in place of the configured hosts and port, if
    /// there are any.
    ///
    /// # Errors
    ///
    /// Those of [`Server::bind`]; a socket that does not listen.
    pub fn on(sockets: Vec<OwnedFd>, config: &Config, seed: [u8; 32]) -> Result<Self, BindError> {
        Server::with(Clock(Instant::now()), config, seed, |config| {
            let mut listens = match sockets.is_empty() {
                true => Listen::bind_all(&config.server)?,
                false => sockets.into_iter().map(Listen::inherit).collect::<io::Result<_>>()?,
            };
            if let Some(address) = config.server.metrics {
                let bound = Listen::bind_metrics(address);
                listens.push(bound.map_err(|error| BindError::Metrics(address, error))?);
            }
            Ok(listens)
        })
    }

    /// Loads the files that a server of this configuration would, and binds nothing.
    ///
    /// # Errors
    ///
    /// As those of [`Server::bind`], but for addresses.
    pub fn try_files(config: &Config) -> Result<(), BindError> {
        let now = Clock(Instant::now()).now();
        TlsAcceptor::load(&config.server.tls, config.limits.certificate_check_ms, now)
            .map_err(BindError::Tls)?;
        Redis::load(config, Poll::new()?.registry(), now).map(|_| ())
    }

    /// A server with this clock, on the sockets that `listens` finds once all else is there.
    pub(super) fn with(
        clock: Clock,
        config: &Config,
        seed: [u8; 32],
        listens: impl FnOnce(&Config) -> Result<Vec<Listen>, BindError>,
    ) -> Result<Self, BindError> {
        let mut config = config.clone();
        let check_ms = config.limits.certificate_check_ms;
        let secure =
            TlsAcceptor::load(&config.server.tls, check_ms, clock.now()).map_err(BindError::Tls)?;
        let files = Files::new(sys::raise_open_files()?);
        files.bound(&mut config.limits);
        let mut listens = listens(&config)?;
        let (mut stops, stop_writer) = ControlPipe::new()?;
        let poll = Poll::new()?;
        let readable = Interest::READABLE;
        for (at, listen) in listens.iter_mut().enumerate() {
            poll.registry().register(listen.source(), token::listener(at), readable)?;
        }
        poll.registry().register(&mut stops.0, token::CONTROL, readable)?;
        let redis = Redis::load(&config, poll.registry(), clock.now())?;
        Ok(Server {
            poll,
            listens,
            watchers: Vec::new(),
            notices: None,
            pulse: None,
            restarts: None,
            secure,
            redis,
            stops,
            stop_writer,
            hub: Hub::new(&config, seed, clock.now()),
            clock,
            catch_up: CatchUp::default(),
            files,
            outcome: Outcome::new()?,
            limits: config.limits.clone(),
            configure: None,
            config,
            to_shake: VecDeque::new(),
            to_reap: Vec::new(),
            buffer: vec![0; BUFFER_BYTES].into(),
            misdirected: LogThrottle::new(Policy::A_FEW_CLIENTS),
            asked: false,
            trim_ms: None,
            end_ms: None,
            successor: None,
            reload: None,
            has_taken_over: false,
        })
    }
}
