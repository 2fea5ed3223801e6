//! An HTTP/1.1 client for the event loop: one connection to one server, a state machine that never
//! blocks. It sends a request, reads the response, and keeps the connection for the next request.
//! Webhooks use it from the event loop, `reverb check` from a poller of its own (`blocking`).
//!
//! The owner calls, in this order:
//!
//! 1. [`Connection::send`] with a request; at most one is under way.
//! 2. [`Connection::on_event`] for each event of the poller.
//! 3. [`Connection::advance`] after that, when a name was resolved, when
//!    [`Connection::deadline_ms`] has passed, and while [`Connection::has_work`].
//!
//! What a request contains and what a response means is not known here.

mod blocking;
mod error;
mod exchange;
mod names;
#[cfg(feature = "console")]
mod open;
mod private;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use mio::event::Event;
use mio::{Registry, Token};

use super::io::Answer;
use super::stream::Stream;
use super::tls::WebConnector;
use crate::hub::Now;
use crate::proto::http::ResponseReader;

pub(crate) use blocking::{Fetch, fetch};
pub(crate) use error::RequestError;
use exchange::Exchange;
pub(super) use exchange::Request;
pub(super) use names::Names;
#[cfg(feature = "console")]
pub(crate) use open::open;

/// The server to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    /// A host name or an address, without brackets; if it begins with `/`, a Unix socket.
    pub host: String,
    pub port: u16,
    pub is_secure: bool,
}

/// What a connection needs to proceed.
pub(super) struct Context<'a> {
    pub registry: &'a Registry,
    pub names: &'a mut Names,
    /// Begins TLS sessions; `None` if no destination needs them.
    pub tls: Option<&'a WebConnector>,
    /// Whether addresses of private networks are refused.
    pub refuses_private: bool,
    pub buffer: &'a mut [u8],
    pub now: Now,
}

/// A connection, or the attempt to open one.
pub(super) struct Connection {
    destination: Destination,
    token: Token,
    stage: Stage,
    /// The addresses that this attempt has not tried yet, the next one last.
    addresses: Vec<SocketAddr>,
    stream: Option<Stream>,
    exchange: Option<Exchange>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Closed,
    Resolving,
    /// Until the connection, with TLS if it is secure, is open.
    Connecting {
        /// When to try the next address.
        deadline_ms: u64,
    },
    Open,
}

impl Connection {
    pub(super) fn new(destination: Destination, token: Token) -> Self {
        Connection {
            destination,
            token,
            stage: Stage::Closed,
            addresses: Vec::new(),
            stream: None,
            exchange: None,
        }
    }

    /// Begins a request. [`Connection::advance`] sends it.
    ///
    /// A request under way is given up, and its connection closed: its response must not be taken
    /// for that of the next request.
    pub(super) fn send(&mut self, request: Request, now: Now) {
        if self.exchange.is_some() {
            self.close();
        }
        let is_reused = self.stage == Stage::Open;
        if !is_reused {
            self.stage = Stage::Resolving;
        }
        let deadline_ms = now.ms.saturating_add(request.timeout_ms);
        self.exchange = Some(Exchange::new(request, is_reused, deadline_ms));
    }

    /// Records what the poller reported.
    pub(super) fn on_event(&mut self, event: &Event) {
        self.stream.iter_mut().for_each(|stream| stream.on_event(event));
    }

    /// Whether there is no socket.
    #[cfg(feature = "webhooks")]
    pub(super) fn is_closed(&self) -> bool {
        self.stage == Stage::Closed
    }

    /// Whether the connection waits for its host name to be resolved.
    #[cfg(feature = "webhooks")]
    pub(super) fn is_resolving(&self) -> bool {
        self.stage == Stage::Resolving
    }

    /// Whether there is work that the poller will not report.
    pub(super) fn has_work(&self) -> bool {
        let (Some(stream), Some(exchange)) = (&self.stream, &self.exchange) else { return false };
        let has_output = stream.wants_write() || !exchange.is_written();
        self.stage == Stage::Open && (stream.readable || (stream.writable && has_output))
    }

    /// When to call [`Connection::advance`] next at the latest, if a request is under way.
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        let exchange = self.exchange.as_ref()?;
        Some(match self.stage {
            Stage::Connecting { deadline_ms } => exchange.deadline_ms.min(deadline_ms),
            _ => exchange.deadline_ms,
        })
    }

    /// Continues as far as possible without blocking. Returns the result once the request has
    /// ended.
    pub(super) fn advance(
        &mut self,
        context: &mut Context<'_>,
    ) -> Option<Result<ResponseReader, RequestError>> {
        if self.exchange.is_none() {
            self.check_idle(context.buffer);
            return None;
        }
        let mut result = self.proceed(context);
        if result.is_err() && self.may_retry(context.now) {
            result = self.retry(context);
        }
        match result {
            Ok(false) => None,
            Ok(true) => self.exchange.take().map(|exchange| Ok(exchange.reader)),
            Err(error) => {
                self.close();
                // The server has decided about the request once the head of the response is here.
                let exchange = self.exchange.take()?;
                Some(match exchange.reader.status() {
                    Some(_) => Ok(exchange.reader),
                    None => Err(error),
                })
            }
        }
    }

    /// Closes an idle connection if the server has closed it, or has sent bytes that belong to no
    /// request. With TLS, the server may also send tickets for later sessions, which are no such
    /// bytes.
    fn check_idle(&mut self, buffer: &mut [u8]) {
        let Some(stream) = self.stream.as_mut().filter(|stream| stream.readable) else { return };
        if !matches!(stream.read(buffer), Ok(Answer::Nothing)) {
            self.close();
        }
    }

    /// Closes the socket. A request under way is not affected; end it first.
    pub(super) fn close(&mut self) {
        (self.stream, self.stage) = (None, Stage::Closed);
        self.addresses.clear();
    }

    /// Whether a failed request is sent once more on a new connection: the server closed the kept
    /// one before it responded, which is normal after a pause. After the deadline it is not.
    fn may_retry(&self, now: Now) -> bool {
        let exchange = self.exchange.as_ref();
        let is_unread = |exchange: &Exchange| exchange.is_reused && exchange.reader.is_empty();
        exchange.is_some_and(|exchange| is_unread(exchange) && now.ms < exchange.deadline_ms)
    }

    fn retry(&mut self, context: &mut Context<'_>) -> Result<bool, RequestError> {
        self.close();
        self.exchange.iter_mut().for_each(Exchange::restart);
        self.stage = Stage::Resolving;
        self.proceed(context)
    }

    /// Proceeds through the stages. Returns whether the response is complete.
    fn proceed(&mut self, context: &mut Context<'_>) -> Result<bool, RequestError> {
        let Some(exchange) = &self.exchange else { return Ok(false) };
        if context.now.ms >= exchange.deadline_ms {
            return Err(RequestError::new(self.timed_out(exchange.request.timeout_ms)));
        }
        if self.stage == Stage::Resolving && !self.resolve(context)? {
            return Ok(false);
        }
        if matches!(self.stage, Stage::Connecting { .. }) && !self.continue_connecting(context)? {
            return Ok(false);
        }
        match self.stage {
            Stage::Open => self.exchange(context.buffer),
            _ => Ok(false),
        }
    }

    fn timed_out(&self, timeout_ms: u64) -> String {
        match self.stage {
            Stage::Resolving => format!("its host name was not resolved within {timeout_ms} ms"),
            Stage::Connecting { .. } => format!("no connection within {timeout_ms} ms"),
            Stage::Open | Stage::Closed => format!("no answer within {timeout_ms} ms"),
        }
    }

    /// Looks up the addresses, and begins to connect to the first. Returns whether they are known.
    fn resolve(&mut self, context: &mut Context<'_>) -> Result<bool, RequestError> {
        let Destination { host, port, .. } = &self.destination;
        if host.starts_with('/') {
            let stream = Stream::unix(Path::new(host), context.registry, self.token);
            self.stream = Some(stream?);
            self.stage = Stage::Connecting { deadline_ms: u64::MAX };
            return Ok(true);
        }
        let addresses = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, *port)],
            Err(_) => match context.names.look_up(host, *port, context.now) {
                None => return Ok(false),
                Some(found) => found.map_err(|why| {
                    RequestError::new(format!("its host name cannot be resolved: {why}"))
                })?,
            },
        };
        self.addresses = addresses;
        if context.refuses_private {
            self.addresses.retain(|address| !private::is_private(address.ip()));
            if self.addresses.is_empty() {
                return Err(RequestError::new(PRIVATE));
            }
        }
        self.addresses.truncate(ADDRESSES_MAX);
        self.addresses.reverse();
        self.connect_to_next(context, RequestError::new("its host name has no address"))?;
        Ok(true)
    }

    /// Begins to connect to the next untried address; `error` is the result if none is left.
    fn connect_to_next(
        &mut self,
        context: &mut Context<'_>,
        mut error: RequestError,
    ) -> Result<(), RequestError> {
        self.stream = None;
        while let Some(address) = self.addresses.pop() {
            let tls = match (self.destination.is_secure, context.tls) {
                (false, _) => None,
                (true, None) => return Err(RequestError::new(NO_TLS)),
                (true, Some(tls)) => Some(
                    tls.session(&self.destination.host)
                        .map_err(|error| RequestError::new(error.to_string()))?,
                ),
            };
            match Stream::tcp(address, tls, context.registry, self.token) {
                Ok(stream) => {
                    self.stream = Some(stream);
                    self.stage = Stage::Connecting { deadline_ms: self.share_ms(context.now) };
                    return Ok(());
                }
                Err(failed) => error = failed.into(),
            }
        }
        Err(error)
    }

    /// When the attempt to reach the current address ends: the time left, shared with the untried
    /// addresses. An address without a route must not use up the time of the others.
    fn share_ms(&self, now: Now) -> u64 {
        let end_ms = self.exchange.as_ref().map_or(now.ms, |exchange| exchange.deadline_ms);
        let left_ms = end_ms.saturating_sub(now.ms);
        now.ms + (left_ms / (self.addresses.len() as u64 + 1)).max(1)
    }

    /// Continues to connect. Returns whether the connection is open.
    fn continue_connecting(&mut self, context: &mut Context<'_>) -> Result<bool, RequestError> {
        while let (Stage::Connecting { deadline_ms }, Some(stream)) =
            (self.stage, self.stream.as_mut())
        {
            let error = match stream.continue_connecting() {
                Ok(true) => {
                    self.stage = Stage::Open;
                    return Ok(true);
                }
                Ok(false) if context.now.ms < deadline_ms => return Ok(false),
                Ok(false) => RequestError::new("an address does not accept connections"),
                Err(error) => RequestError::from(error),
            };
            self.connect_to_next(context, error)?;
        }
        Ok(false)
    }

    /// Writes the request and reads the response. Returns whether it is complete.
    fn exchange(&mut self, buffer: &mut [u8]) -> Result<bool, RequestError> {
        let (Some(stream), Some(exchange)) = (&mut self.stream, &mut self.exchange) else {
            return Ok(false);
        };
        let is_complete = exchange.proceed(stream, buffer)?;
        if is_complete && !exchange.keeps_connection() {
            self.close();
        }
        Ok(is_complete)
    }
}

const PRIVATE: &str = "its address is private (REVERB_WEBHOOK_PRIVATE_ADDRESSES is false)";
const NO_TLS: &str = "the certificates that https needs could not be loaded (SSL_CERT_FILE)";
/// The most addresses that one request tries. Each gets its share of the timeout, so more would
/// leave too little for a slow server.
const ADDRESSES_MAX: usize = 4;
