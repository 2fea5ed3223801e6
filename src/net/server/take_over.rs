//! Constructs a server from the listening sockets, connections and hub state that the predecessor
//! of this process has handed over.

use std::io;
use std::time::{Duration, Instant};

use super::Server;
use crate::config::Config;
use crate::hub::{Port, state_version, version_of};
use crate::net::clock::Clock;
use crate::net::error::BindError;
use crate::net::listen::Listen;
use crate::net::socket::Socket;
use crate::net::successor::HandedOver;
use crate::net::sys::{self, Inherited};

impl Server {
    /// Constructs a server that continues where its predecessor stopped.
    ///
    /// # Errors
    ///
    /// Those of [`Server::bind`]; the state cannot be read.
    pub(crate) fn take_over(
        handed: &HandedOver,
        inherited: &mut Inherited,
        config: &Config,
        seed: [u8; 32],
    ) -> Result<Self, BindError> {
        let age_us = sys::monotonic_us().saturating_sub(handed.clock_us);
        let now = Instant::now();
        let clock = Clock(now.checked_sub(Duration::from_micros(age_us)).unwrap_or(now));
        let mut server =
            Server::with(clock, config, seed, |config| listens(handed, inherited, config))?;
        server.handover.has_taken_over = true;
        // The state contains what the spool contains, unless it could not be handed over. A spool
        // that this reload has configured begins empty.
        let waiting = server.webhooks.open_spool(config)?;
        match handed.read_state(inherited)? {
            Some(state) => server.restore(state, inherited)?,
            None => server.hub.restore_spool(waiting, server.clock.now()),
        }
        for id in server.hub.ids() {
            server.watch(id);
            let open = server.hub.port(id).and_then(|it| server.listeners.connections_to(it));
            open.into_iter().for_each(|open| open.push(id));
        }
        let connections = server.hub.connections();
        let noun = if connections == 1 { "connection" } else { "connections" };
        log::info!("took over {connections} {noun}");
        Ok(server)
    }

    fn restore(&mut self, state: Vec<u8>, inherited: &mut Inherited) -> Result<(), BindError> {
        let (written, reads) = (version_of(&state).unwrap_or_default(), state_version());
        let restored = self.hub.restore(state, self.clock.now(), |descriptor| {
            let socket = inherited.take(i32::try_from(descriptor).ok()?).ok()?;
            Some(Socket::new(mio::net::TcpStream::from_std(socket.into()), None))
        });
        restored.map_err(|_| {
            let text = match written == reads {
                true => "the state that was handed over is incomplete".to_owned(),
                false => format!(
                    "the state that was handed over has version {written:?}, and this binary \
                     reads {reads}: the binary was replaced during the reload"
                ),
            };
            BindError::from(io::Error::other(text))
        })
    }
}

/// The listening sockets that were handed over. Metrics and console follow the new configuration.
fn listens(
    handed: &HandedOver,
    inherited: &mut Inherited,
    config: &Config,
) -> Result<Vec<Listen>, BindError> {
    let listens = handed
        .listens
        .iter()
        .map(|(descriptor, purpose)| Listen::take_over(inherited.take(*descriptor)?, *purpose));
    let mut listens = listens.collect::<io::Result<Vec<Listen>>>()?;
    let metrics = config.server.metrics;
    let is_wanted = |at| metrics.is_some_and(|wanted| wanted.port() == 0 || Some(wanted) == at);
    let console = config.server.console.address.as_ref();
    listens.retain(|listen| match listen.port {
        Port::Clients => true,
        Port::Metrics => is_wanted(listen.address()),
        Port::Console => console.is_some_and(|wanted| listen.is_at(wanted)),
    });
    let is_bound = |listens: &[Listen], port| listens.iter().any(|listen| listen.port == port);
    if let Some(address) = metrics.filter(|_| !is_bound(&listens, Port::Metrics)) {
        // An error here must not disconnect clients, so the server runs without metrics.
        match Listen::bind_metrics(address) {
            Ok(listen) => listens.push(listen),
            Err(error) => log::error!(
                "cannot serve metrics on {address}: {error}; the server runs without them"
            ),
        }
    }
    if let Some(address) = console.filter(|_| !is_bound(&listens, Port::Console)) {
        match Listen::bind_console(address) {
            Ok(listen) => listens.push(listen),
            Err(error) => log::error!(
                "cannot serve the console on {address}: {error}; the server runs without it"
            ),
        }
    }
    Ok(listens)
}
