//! The TLS session of a client: plain bytes for the hub, encrypted bytes for the socket.
//! Certificates and cipher suites are in `acceptor`; TLS to other servers is in `client`.
//!
//! At most one record of 16 KiB is encrypted before the socket can take it. The rest stays in the
//! outbox, where frames are shared with other connections and count against the limit. The bytes of
//! a record are removed from the outbox once the whole record is written.

mod acceptor;
mod client;
mod files;
mod inspect;
#[cfg(feature = "redis")]
mod redis;
mod validity;
mod web;

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::{AlertDescription, ServerConfig, ServerConnection};

pub(super) use acceptor::TlsAcceptor;
pub(super) use client::{ClientSession, SessionError};
pub(crate) use inspect::check_certificate;
#[cfg(feature = "redis")]
pub(super) use redis::Connector;
pub(super) use web::WebConnector;

use super::io::Received;

/// The session of one connection.
pub(super) struct Tls {
    /// The address of the client, for the log. A broken socket no longer returns it.
    address: SocketAddr,
    state: State,
    /// Whether the server has sent anything.
    has_answered: bool,
    /// Bytes of the outbox that are in the record being written.
    in_flight: usize,
    /// Whether to close the writing side once all encrypted bytes are written.
    shutting_down: bool,
    /// Why the session failed.
    failure: Option<String>,
}

#[expect(clippy::large_enum_variant, reason = "sessions are boxed, and few are new")]
enum State {
    /// Nothing has arrived yet, and no buffers are allocated.
    New(Arc<ServerConfig>),
    Begun(ServerConnection),
}

impl Tls {
    fn new(config: Arc<ServerConfig>, address: SocketAddr) -> Self {
        let state = State::New(config);
        Tls {
            address,
            state,
            has_answered: false,
            in_flight: 0,
            shutting_down: false,
            failure: None,
        }
    }

    /// Reads and decrypts until the buffer is full or no more input is available. [`Tls::flush`]
    /// sends the responses of the handshake. If the client has closed its writing side before the
    /// server sent anything, the handshake cannot complete, and the read fails without computing
    /// anything.
    pub(super) fn read(
        &mut self,
        stream: &mut TcpStream,
        buffer: &mut [u8],
        read_closed: bool,
    ) -> Received {
        if let Some(received) = self.begin(stream, read_closed) {
            return received;
        }
        if read_closed && !self.has_answered {
            return self.fail(GONE);
        }
        let State::Begun(connection) = &mut self.state else { return Received::Broken };
        if self.failure.is_some() {
            return Received::Broken;
        }
        let mut wire = Wire { stream, taken: 0, is_drained: false };
        let mut len = 0;
        let end = loop {
            let ended = match connection.reader().read(&mut buffer[len..]) {
                Ok(0) => Some(Received::End),
                Ok(count) => {
                    len += count;
                    if len < buffer.len() {
                        continue;
                    }
                    None
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => None,
                    // The client has disconnected without a close alert, as most do.
                    io::ErrorKind::UnexpectedEof => Some(Received::End),
                    _ => Some(Received::Broken),
                },
            };
            // The poller reports the last bytes and the end as one event, so once it has, a short
            // read must be followed by another.
            if ended.is_some() || len == buffer.len() || (wire.is_drained && !read_closed) {
                break ended;
            }
            // Records may be empty. This bound keeps a client that sends many of them from delaying
            // the others.
            if wire.taken >= buffer.len() {
                return Received::Bytes { len, more: true };
            }
            match connection.read_tls(&mut wire) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break None,
                Err(_) => break Some(Received::Broken),
            }
            if let Err(error) = connection.process_new_packets() {
                self.failure = Some(reason(&error));
                break Some(Received::Broken);
            }
        };
        if matches!(end, Some(Received::End)) && connection.is_handshaking() {
            return self.fail(GONE);
        }
        // The bytes are returned first; the next read returns the end again.
        match len {
            0 => end.unwrap_or(Received::Nothing),
            len => Received::Bytes { len, more: end.is_some() || len == buffer.len() },
        }
    }

    /// Begins the session, if the first byte may begin a TLS record. Otherwise returns the result
    /// of the read.
    fn begin(&mut self, stream: &TcpStream, read_closed: bool) -> Option<Received> {
        let State::New(config) = &self.state else { return None };
        let mut first = [0];
        match stream.peek(&mut first) {
            Ok(0) => return Some(Received::End),
            // No TLS record begins with a letter; every HTTP method does.
            Ok(_) if first[0].is_ascii_alphabetic() => return Some(Received::NotTls),
            Ok(_) if read_closed => return Some(self.fail(GONE)),
            Ok(_) => {}
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {
                    return Some(Received::Nothing);
                }
                _ => return Some(Received::Broken),
            },
        }
        match ServerConnection::new(Arc::clone(config)) {
            Ok(mut connection) => {
                connection.set_buffer_limit(Some(RECORD_BYTES));
                self.state = State::Begun(connection);
                None
            }
            Err(error) => Some(self.fail(&reason(&error))),
        }
    }

    fn fail(&mut self, why: &str) -> Received {
        self.failure = Some(why.to_owned());
        Received::Broken
    }

    /// Encrypts as much as fits in one record and writes it. Returns how many bytes of the slices were
    /// written. After [`io::ErrorKind::WouldBlock`] the next call must begin with the same bytes.
    pub(super) fn write(
        &mut self,
        stream: &mut TcpStream,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        if !self.flush(stream)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.in_flight == 0 {
            let State::Begun(connection) = &mut self.state else {
                return Err(io::ErrorKind::WouldBlock.into());
            };
            // Nothing can be encrypted before the handshake is complete.
            if connection.is_handshaking() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.in_flight = connection.writer().write_vectored(slices)?;
            if self.in_flight == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            if !self.flush(stream)? {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        Ok(std::mem::take(&mut self.in_flight))
    }

    /// Whether encrypted bytes wait to be written.
    pub(super) fn wants_write(&self) -> bool {
        matches!(&self.state, State::Begun(connection) if connection.wants_write())
    }

    /// Writes the encrypted bytes. Returns whether none are left.
    pub(super) fn flush(&mut self, stream: &mut TcpStream) -> io::Result<bool> {
        if let State::Begun(connection) = &mut self.state {
            while connection.wants_write() {
                self.has_answered = true;
                match connection.write_tls(stream) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                    Err(error) => return Err(error),
                }
            }
        }
        if std::mem::take(&mut self.shutting_down) {
            stream.shutdown(Shutdown::Write)?;
        }
        Ok(true)
    }

    /// Sends the close alert. With `shutdown`, also closes the writing side of the socket once all
    /// encrypted bytes are written.
    pub(super) fn close(&mut self, stream: &mut TcpStream, shutdown: bool) {
        if let State::Begun(connection) = &mut self.state
            && !connection.is_handshaking()
        {
            connection.send_close_notify();
        }
        self.shutting_down |= shutdown;
        // This fails if the client has disconnected already.
        let _ = self.flush(stream);
    }

    /// Whether the handshake is not complete.
    pub(super) fn is_handshaking(&self) -> bool {
        match &self.state {
            State::New(_) => true,
            State::Begun(connection) => connection.is_handshaking(),
        }
    }

    /// Records that the connection is being closed. An incomplete handshake then counts as failed.
    pub(super) fn note_abandoned(&mut self) {
        if let State::Begun(connection) = &self.state
            && connection.is_handshaking()
            && self.failure.is_none()
        {
            self.failure = Some("the client did not complete it in time".to_owned());
        }
    }

    fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// The host name in the ClientHello.
    fn server_name(&self) -> Option<&str> {
        match &self.state {
            State::New(_) => None,
            State::Begun(connection) => connection.server_name(),
        }
    }
}

/// A socket that records how much was read, and whether the last read emptied it.
struct Wire<'a> {
    stream: &'a mut TcpStream,
    taken: usize,
    is_drained: bool,
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(len) => {
                    self.taken += len;
                    self.is_drained = len < buffer.len();
                    return Ok(len);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// The text of an error of the library, with a cause for common errors.
fn reason(error: &rustls::Error) -> String {
    use AlertDescription as Alert;
    match error {
        rustls::Error::AlertReceived(
            Alert::UnknownCA | Alert::BadCertificate | Alert::CertificateUnknown,
        ) => format!("{error}: the client does not trust this server's certificate"),
        rustls::Error::InvalidMessage(_) => format!("{error}: the client does not speak TLS"),
        _ => error.to_string(),
    }
}

const GONE: &str = "the client disconnected in the middle of it";

/// The maximum length of a record.
const RECORD_BYTES: usize = 16_384;

#[cfg(test)]
mod tests;
