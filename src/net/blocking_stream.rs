//! A connection whose calls block, up to a timeout. Background threads and commands use it; the
//! event loop must not.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::clock;
use super::io::{Answer, Duplex};
use super::tls::{ClientSession, Connector, SessionError};
use crate::config::RedisTls;
use crate::hub::Now;

/// A connection, with or without TLS.
pub(crate) struct BlockingStream {
    socket: Box<dyn Duplex>,
    session: Option<Box<ClientSession>>,
    timeout: Duration,
}

impl BlockingStream {
    /// Connects to the first address of the host that accepts. No call blocks for longer than
    /// `timeout`, except in the system's resolver.
    pub(crate) fn tcp(host: &str, port: u16, timeout: Duration) -> io::Result<Self> {
        let mut last = io::Error::other("the host name has no address");
        for address in (host, port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(timeout))?;
                    stream.set_write_timeout(Some(timeout))?;
                    return Ok(BlockingStream { socket: Box::new(stream), session: None, timeout });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Connects to a Unix socket.
    pub(crate) fn unix(path: &Path, timeout: Duration) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(BlockingStream { socket: Box::new(stream), session: None, timeout })
    }

    /// Begins a TLS session with this host. Must be called before anything is sent.
    pub(super) fn secure(&mut self, connector: &Connector, host: &str) -> Result<(), StreamError> {
        let mut session = connector.session(host)?;
        match session.shake_hands(&mut *self.socket)? {
            true => self.session = Some(session),
            false => return Err(StreamError::TimedOut(self.timeout)),
        }
        Ok(())
    }

    /// Begins a TLS session. Unless `verifies` is false, the certificate must be valid for this
    /// name and issued by one of `authorities`, by default those of the system.
    pub(crate) fn secure_as(
        &mut self,
        host: &str,
        verifies: bool,
        authorities: Option<&Path>,
    ) -> Result<(), String> {
        let tls = RedisTls {
            cafile: authorities.map(Path::to_owned),
            verify_peer: verifies,
            peer_name: Some(host.to_owned()),
            ..RedisTls::default()
        };
        let now = Now { ms: 0, unix_s: clock::unix_s() };
        let connector = Connector::load(&tls, now).map_err(|error| error.reason)?;
        self.secure(&connector, host).map_err(|error| error.to_string())
    }

    /// Writes all bytes.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> Result<(), StreamError> {
        let result = match &mut self.session {
            None => self.socket.write_all(bytes),
            Some(session) => loop {
                // Without input, the call writes what is already encrypted.
                let is_last = bytes.is_empty();
                match session.write(&mut *self.socket, &[IoSlice::new(bytes)]) {
                    Ok(_) if is_last => break Ok(()),
                    Ok(written) => bytes = &bytes[written..],
                    Err(error) => break Err(error),
                }
            },
        };
        result.map_err(|error| self.failed(error))
    }

    /// Waits for bytes and reads them; 0 is the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, StreamError> {
        let Some(session) = &mut self.session else {
            return self.socket.read(buffer).map_err(|error| self.failed(error));
        };
        match session.read(&mut *self.socket, buffer)? {
            Answer::Bytes(len) => Ok(len),
            Answer::Nothing => Err(StreamError::TimedOut(self.timeout)),
            Answer::End => Ok(0),
        }
    }

    fn failed(&self, error: io::Error) -> StreamError {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => StreamError::TimedOut(self.timeout),
            _ => StreamError::Io(error),
        }
    }
}

/// Why a stream is no longer usable.
pub(crate) enum StreamError {
    /// The other side did not send or receive for this long.
    TimedOut(Duration),
    /// A system call failed.
    Io(io::Error),
    /// The TLS session failed.
    Tls(SessionError),
}

impl StreamError {
    /// The reason, with the setting to change if the server is Redis.
    #[cfg(feature = "redis")]
    pub(super) fn for_redis(&self) -> String {
        match self {
            StreamError::Tls(error) => error.for_redis(),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamError::TimedOut(timeout) => {
                write!(f, "no answer within {} ms", timeout.as_millis())
            }
            StreamError::Io(error) => error.fmt(f),
            StreamError::Tls(error) => error.fmt(f),
        }
    }
}

impl From<SessionError> for StreamError {
    fn from(error: SessionError) -> Self {
        StreamError::Tls(error)
    }
}
