//! Opens a connection whose calls block, for responses without an end and for WebSockets. Commands use
//! it; the event loop must not.

use std::path::Path;
use std::time::Instant;

use super::{Destination, Fetch, RequestError};
use crate::net::blocking_stream::BlockingStream;
use crate::net::clock::Clock;
use crate::net::stream::StreamError;
use crate::net::tls::WebConnector;

/// Connects to a server, with TLS if the destination is secure. The first addresses that do not answer
/// are skipped.
///
/// # Errors
///
/// There is no connection; the text continues a sentence about the server.
pub(crate) fn open(fetch: &Fetch<'_>) -> Result<BlockingStream, RequestError> {
    let Destination { host, port, is_secure } = fetch.destination;
    if host.starts_with('/') {
        return Ok(BlockingStream::unix(Path::new(host), fetch.timeout)?);
    }
    let mut stream = BlockingStream::tcp(host, *port, fetch.timeout)?;
    if *is_secure {
        let now = Clock(Instant::now()).now();
        let connector = WebConnector::load(fetch.authorities, fetch.verifies, now);
        let connector = connector.map_err(|error| RequestError::new(error.reason))?;
        let session = connector.session(host).map_err(StreamError::from)?;
        stream.secure(session)?;
    }
    Ok(stream)
}
