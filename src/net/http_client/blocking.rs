//! One request that blocks until its response, on a poller of its own. Commands use it; the event
//! loop must not.

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};

use super::{Connection, Context, Destination, Names, Request, RequestError};
use crate::net::clock::Clock;
use crate::net::tls::WebConnector;
use crate::proto::http::ResponseReader;

/// A request of a command.
pub(crate) struct Fetch<'a> {
    pub destination: &'a Destination,
    /// Whether the certificate is verified: its issuer and the host name.
    pub verifies: bool,
    /// The file with the trusted authorities; `None` means those of the system.
    pub authorities: Option<&'a Path>,
    /// Whether addresses of private networks are refused.
    pub refuses_private: bool,
    pub timeout: Duration,
}

/// Sends a request, and reads the response up to its end or until `is_enough`. An empty request
/// only connects.
///
/// # Errors
///
/// There is no response; the text continues a sentence about the server.
pub(crate) fn fetch(
    fetch: &Fetch<'_>,
    head: Vec<u8>,
    body: &[u8],
    is_enough: fn(&ResponseReader) -> bool,
) -> Result<ResponseReader, RequestError> {
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(8));
    let waker = Arc::new(Waker::new(poll.registry(), RESOLVED)?);
    let (clock, mut names) = (Clock(Instant::now()), Names::new(&waker));
    let tls = match fetch.destination.is_secure {
        false => None,
        true => {
            let tls = WebConnector::load(fetch.authorities, fetch.verifies, clock.now());
            Some(tls.map_err(|error| io::Error::other(error.reason))?)
        }
    };
    let timeout_ms = u64::try_from(fetch.timeout.as_millis()).unwrap_or(u64::MAX);
    let (kept_max, body) = (KEPT_BYTES, Rc::from(body));
    let mut connection = Connection::new(fetch.destination.clone(), SOCKET);
    connection.send(Request { head, body, kept_max, is_enough, timeout_ms }, clock.now());
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let now = clock.now();
        let mut context = Context {
            registry: poll.registry(),
            names: &mut names,
            tls: tls.as_ref(),
            refuses_private: fetch.refuses_private,
            buffer: &mut buffer,
            now,
        };
        if let Some(result) = connection.advance(&mut context) {
            return result;
        }
        let wait_ms = match connection.has_work() {
            true => Some(0),
            false => connection.deadline_ms().map(|due_ms| due_ms.saturating_sub(now.ms)),
        };
        match poll.poll(&mut events, wait_ms.map(Duration::from_millis)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        events.iter().filter(|event| event.token() == SOCKET).for_each(|e| connection.on_event(e));
    }
}

const SOCKET: Token = Token(0);
const RESOLVED: Token = Token(1);
/// The most bytes kept of a body. Error pages of proxies are shorter.
const KEPT_BYTES: usize = 65_536;
const BUFFER_BYTES: usize = 16_384;
