//! An attempt to connect to one host, without blocking: looks up its name, and tries its addresses
//! one after the other. Which host to connect to is decided in the parent.

use std::net::{IpAddr, SocketAddr};

use mio::event::Event;
use mio::{Registry, Token};

use crate::config::HostPort;
use crate::net::resolve::Resolver;
use crate::net::stream::Stream;
use crate::net::tls::Connector;

/// What connections are made with.
pub(super) struct Network<'a> {
    pub resolver: &'a mut Resolver,
    /// Begins TLS sessions, if Redis speaks TLS.
    pub tls: Option<&'a Connector>,
    pub registry: &'a Registry,
}

impl Network<'_> {
    /// Begins to connect to an address of this host.
    pub(super) fn open(
        &self,
        address: SocketAddr,
        host: &str,
        token: Token,
    ) -> Result<Stream, String> {
        let session = self.tls.map(|tls| tls.session(host)).transpose();
        let session = session.map_err(|error| error.for_redis())?;
        Stream::tcp(address, session, self.registry, token).map_err(|error| error.to_string())
    }
}

/// The attempt.
pub(super) struct Dial {
    host: HostPort,
    token: Token,
    /// How many addresses are tried last, because earlier connections to them were dropped.
    skip: usize,
    is_resolving: bool,
    /// The addresses that are not tried yet, the next one last.
    addresses: Vec<SocketAddr>,
    /// The address that is being tried, and the connection to it.
    current: Option<(SocketAddr, Stream)>,
}

/// An open connection.
pub(super) struct Dialled {
    pub host: HostPort,
    pub address: SocketAddr,
    pub stream: Stream,
}

impl Dial {
    /// An attempt that begins with the first [`Dial::advance`].
    pub(super) fn new(host: HostPort, token: Token, skip: usize) -> Self {
        let address = host.host.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, host.port));
        let addresses: Vec<SocketAddr> = address.into_iter().collect();
        Dial { is_resolving: addresses.is_empty(), host, token, skip, addresses, current: None }
    }

    pub(super) fn host(&self) -> &HostPort {
        &self.host
    }

    /// Whether a connection was begun.
    pub(super) fn has_begun(&self) -> bool {
        self.current.is_some()
    }

    /// Records what the poller reported.
    pub(super) fn on_event(&mut self, event: &Event) {
        if let Some((_, stream)) = &mut self.current {
            stream.on_event(event);
        }
    }

    /// Continues to connect. Returns the connection once it is open.
    pub(super) fn advance(&mut self, network: &mut Network<'_>) -> Result<Option<Dialled>, String> {
        if self.is_resolving && !self.take_answer(network)? {
            return Ok(None);
        }
        let why = match &mut self.current {
            None => "the host name has no address".to_owned(),
            Some((_, stream)) => match stream.continue_connecting() {
                Ok(true) => return Ok(self.take()),
                Ok(false) => return Ok(None),
                Err(error) => error.for_redis(),
            },
        };
        self.try_next(network, why).map(|()| None)
    }

    fn take(&mut self) -> Option<Dialled> {
        let (address, stream) = self.current.take()?;
        Some(Dialled { host: self.host.clone(), address, stream })
    }

    /// Takes the addresses, once the resolver has found them. Returns whether it has.
    fn take_answer(&mut self, network: &mut Network<'_>) -> Result<bool, String> {
        let found = network.resolver.look_up(&self.host);
        let found = found.map_err(|error| format!("cannot look up the host name: {error}"))?;
        let Some(answer) = found else { return Ok(false) };
        self.is_resolving = false;
        self.addresses =
            answer.map_err(|error| format!("the host name cannot be resolved: {error}"))?;
        let count = self.addresses.len().max(1);
        self.addresses.rotate_left(self.skip % count);
        self.addresses.reverse();
        Ok(true)
    }

    /// Connects to the next untried address; `why` is the error if none is left.
    fn try_next(&mut self, network: &Network<'_>, mut why: String) -> Result<(), String> {
        self.current = None;
        while let Some(address) = self.addresses.pop() {
            match network.open(address, &self.host.host, self.token) {
                Ok(stream) => {
                    self.current = Some((address, stream));
                    return Ok(());
                }
                Err(error) => why = error,
            }
        }
        Err(why)
    }
}
