//! Constructs a server: loads certificates, binds sockets and creates the poller. Also the setters
//! to call before [`Server::run`]. Serving is in `server`.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use mio::{Interest, Poll, Waker};

use super::apps::Apps;
use super::configuration::Configuration;
use super::descriptors::Descriptors;
use super::handover::Handover;
use super::integrations::Integrations;
use super::listeners::Listeners;
use super::pause::CatchUp;
use super::queues::Queues;
use super::{BUFFER_BYTES, Server};
use crate::config::Config;
use crate::config::laravel::{PulseStream, RestartKey};
use crate::hub::{ConsoleKeys, Hub, Listener, LogThrottle, Policy};
use crate::net::clock::Clock;
use crate::net::control::{ControlPipe, Stopper};
use crate::net::error::BindError;
use crate::net::listen::Listen;
use crate::net::pulse::Pulse;
use crate::net::redis::Redis;
use crate::net::restart_key;
use crate::net::successor::{Outcome, Successor};
use crate::net::sys;
use crate::net::systemd::SdNotify;
use crate::net::tls::TlsAcceptor;
use crate::net::token;
use crate::net::webhooks::Webhooks;

impl Server {
    /// Loads the certificates of this configuration, if it has any, binds its addresses and raises
    /// the open-file limit.
    ///
    /// `seed` determines the socket ids of connections. Use random bytes of the operating system.
    ///
    /// # Errors
    ///
    /// A certificate file is unusable; an address is in use, does not belong to this machine, or
    /// cannot be resolved.
    pub fn bind(config: &Config, seed: [u8; 32]) -> Result<Self, BindError> {
        Server::on(Vec::new(), config, seed)
    }

    /// Like [`Server::bind`], but uses `sockets`, which are already listening, instead of the
    /// configured hosts and port. Binds those if `sockets` is empty.
    ///
    /// # Errors
    ///
    /// Those of [`Server::bind`]; a socket is not listening.
    pub fn on(sockets: Vec<OwnedFd>, config: &Config, seed: [u8; 32]) -> Result<Self, BindError> {
        let mut server = Server::with(Clock(Instant::now()), config, seed, |config| {
            let mut listens = match sockets.is_empty() {
                true => Listen::bind_all(&config.server)?,
                false => sockets.into_iter().map(Listen::inherit).collect::<io::Result<_>>()?,
            };
            if let Some(address) = config.server.metrics {
                let bound = Listen::bind_metrics(address);
                listens.push(bound.map_err(|error| BindError::Metrics(address, error))?);
            }
            if let Some(address) = &config.server.console.address {
                let bound = Listen::bind_console(address);
                let failed = |error| BindError::Console(address.clone(), error);
                listens.push(bound.map_err(failed)?);
            }
            Ok(listens)
        })?;
        let waiting = server.webhooks.open_spool(config)?;
        server.hub.restore_spool(waiting, server.clock.now());
        Ok(server)
    }

    /// Loads the files that a server with this configuration would load. Binds nothing.
    ///
    /// # Errors
    ///
    /// Those of [`Server::bind`], except for addresses.
    pub(crate) fn try_files(config: &Config) -> Result<(), BindError> {
        let now = Clock(Instant::now()).now();
        TlsAcceptor::load(&config.server.tls, config.limits.certificate_check_ms, now)
            .map_err(BindError::Tls)?;
        let waker = Arc::new(Waker::new(Poll::new()?.registry(), token::RESOLVED)?);
        Redis::load(config, &waker, now)?;
        Webhooks::load(config, &waker, now).map(|_| ())
    }

    /// A server with this clock, on the sockets that `listens` returns. It is called once the
    /// certificates are loaded.
    pub(super) fn with(
        clock: Clock,
        config: &Config,
        seed: [u8; 32],
        listens: impl FnOnce(&Config) -> Result<Vec<Listen>, BindError>,
    ) -> Result<Self, BindError> {
        let mut config = config.clone();
        let check_ms = config.limits.certificate_check_ms;
        let tls =
            TlsAcceptor::load(&config.server.tls, check_ms, clock.now()).map_err(BindError::Tls)?;
        let descriptors =
            Descriptors::new(sys::raise_open_files()?, Webhooks::descriptors(&config));
        descriptors.bound(&mut config.limits);
        let mut listens = listens(&config)?;
        let mut control = ControlPipe::new()?;
        let poll = Poll::new()?;
        let readable = Interest::READABLE;
        for (index, listen) in listens.iter_mut().enumerate() {
            poll.registry().register(listen.source(), token::listener(index), readable)?;
        }
        poll.registry().register(&mut control.reader, token::CONTROL, readable)?;
        let waker = Arc::new(Waker::new(poll.registry(), token::RESOLVED)?);
        let redis = Redis::load(&config, &waker, clock.now())?;
        let webhooks = Webhooks::load(&config, &waker, clock.now())?;
        Ok(Server {
            poll,
            buffer: vec![0; BUFFER_BYTES].into(),
            hub: Hub::new(&config, seed, clock.now()),
            clock,
            catch_up: CatchUp::default(),
            listeners: Listeners::new(listens),
            descriptors,
            queues: Queues::default(),
            tls,
            redis,
            webhooks,
            apps: Apps::default(),
            waker,
            integrations: Integrations::default(),
            control,
            configuration: Configuration { current: config, read: None },
            handover: Handover::new(Outcome::new()?),
            tls_on_plain: LogThrottle::new(Policy::A_FEW_CLIENTS),
            trim_ms: None,
            stop_requests: 0,
            end_ms: None,
        })
    }

    /// Sets the listener, which is called for each event.
    pub fn listen(&mut self, listener: Box<dyn Listener>) {
        self.hub.listen(listener);
    }

    /// Makes this server send every message back to its sender.
    #[doc(hidden)]
    pub fn echo(&mut self) {
        self.hub.echo();
    }

    /// A sender of requests to this server, such as to stop.
    ///
    /// # Errors
    ///
    /// The socket cannot be duplicated.
    pub fn stopper(&self) -> io::Result<Stopper> {
        self.control.stopper()
    }

    /// Opens the console: until then its address answers every request with status 503.
    pub fn open_console(&mut self, keys: &ConsoleKeys) {
        self.hub.open_console(keys, &self.configuration.current, self.clock.now());
    }

    /// Makes this server notify systemd of its state.
    pub(crate) fn notify(&mut self, systemd: SdNotify) {
        self.integrations.systemd = Some(systemd);
    }

    /// Makes this server stop when `php artisan reverb:restart` is run.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub(crate) fn watch_restarts(&mut self, key: RestartKey) -> io::Result<()> {
        let limits = &self.configuration.current.limits;
        self.integrations.restart_key = restart_key::watch(key, limits, self.stopper()?)?;
        Ok(())
    }

    /// Makes this server feed the messages card of Laravel Pulse.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub(crate) fn feed_pulse(&mut self, stream: PulseStream, config: &Config) -> io::Result<()> {
        self.integrations.pulse = Some(Pulse::start(stream, config)?);
        Ok(())
    }

    /// Sets how the configuration is read again, on SIGHUP.
    pub(crate) fn configure_by(&mut self, read: impl FnMut() -> Result<Config, String> + 'static) {
        self.configuration.read = Some(Box::new(read));
    }

    /// Sets the binary to execute when a handover is requested. Without it requests are rejected.
    pub(crate) fn succeed_by(&mut self, successor: Option<Successor>) {
        self.handover.successor = successor;
    }

    /// Sets the runtime folder, where `reverb reload` waits for the result on systems without
    /// abstract addresses.
    pub(crate) fn report_reloads_in(&mut self, folder: PathBuf) {
        self.handover.outcome.folder = Some(folder);
    }
}
