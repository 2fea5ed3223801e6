//! A non-blocking connection to another server, from the beginning of the attempt: TCP, with or
//! without TLS, or a Unix socket. The poller is edge-triggered, so the stream remembers its
//! readiness. Connections of clients to this server are in `socket`.

use std::fmt;
use std::io::{self, IoSlice, Read as _, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use mio::event::Event;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

use super::io::Answer;
use super::tls::{ClientSession, SessionError};

/// A connection to another server.
pub(super) struct Stream {
    socket: Socket,
    tls: Option<Box<ClientSession>>,
    /// Whether there may be bytes to read.
    pub readable: bool,
    /// Cleared by a short write or `EWOULDBLOCK`, set by the next writable event.
    pub writable: bool,
    /// Whether the poller reported that the other side has closed its writing side. A short read must
    /// then be followed by another, which returns the end.
    read_closed: bool,
}

/// The socket below TLS.
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Begins to connect to an address, with TLS if there is a session.
    pub(super) fn tcp(
        address: SocketAddr,
        tls: Option<Box<ClientSession>>,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let mut socket = TcpStream::connect(address)?;
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Stream::new(Socket::Tcp(socket), tls))
    }

    /// Connects to a Unix socket.
    pub(super) fn unix(path: &Path, registry: &Registry, token: Token) -> io::Result<Self> {
        let mut socket = UnixStream::connect(path)?;
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Stream::new(Socket::Unix(socket), None))
    }

    fn new(socket: Socket, tls: Option<Box<ClientSession>>) -> Self {
        Stream { socket, tls, readable: false, writable: false, read_closed: false }
    }

    /// Records what the poller reported.
    pub(super) fn on_event(&mut self, event: &Event) {
        self.read_closed |= event.is_read_closed() || event.is_error();
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.writable |= event.is_writable();
    }

    /// Continues to connect. Returns whether the connection is open.
    pub(super) fn continue_connecting(&mut self) -> Result<bool, StreamError> {
        if !self.readable && !self.writable {
            return Ok(false);
        }
        if !self.socket.is_connected().map_err(StreamError::Io)? {
            (self.readable, self.writable) = (false, false);
            return Ok(false);
        }
        if let Some(tls) = &mut self.tls
            && !tls.shake_hands(&mut self.socket)?
        {
            (self.readable, self.writable) = (false, false);
            return Ok(false);
        }
        // Bytes may have arrived together with the end of the handshake; the poller does not report
        // them again.
        (self.readable, self.writable) = (true, true);
        Ok(true)
    }

    /// Reads once, as much as fits in the buffer.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<Answer, StreamError> {
        let read = match &mut self.tls {
            Some(tls) => tls.read(&mut self.socket, buffer)?,
            None => match self.socket.read(buffer) {
                Ok(0) => Answer::End,
                // A short read emptied the socket. The poller reports the last bytes and the end as
                // one event, so the end must be read without another.
                Ok(len) => {
                    self.readable = len == buffer.len() || self.read_closed;
                    return Ok(Answer::Bytes(len));
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => Answer::Nothing,
                    io::ErrorKind::Interrupted => return Ok(Answer::Nothing),
                    _ => return Err(StreamError::Io(error)),
                },
            },
        };
        if let Answer::Nothing = read {
            self.readable = false;
        }
        Ok(read)
    }

    /// Whether encrypted bytes wait to be written. They are no longer in the outbox.
    pub(super) fn wants_write(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Writes as much as the socket takes. Returns how many bytes of the slices were written or
    /// encrypted.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let written = match &mut self.tls {
            Some(tls) => tls.write(&mut self.socket, slices),
            None => self.socket.write_vectored(slices),
        };
        match &written {
            // A short write means that the socket is full. The poller reports when it is not.
            Ok(written) => self.writable = *written == offered || self.tls.is_some(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(0),
            Err(_) => self.writable = false,
        }
        written
    }
}

impl Socket {
    /// Whether the socket is connected; the error if connecting failed.
    fn is_connected(&self) -> io::Result<bool> {
        let (error, peer) = match self {
            Socket::Tcp(socket) => (socket.take_error()?, socket.peer_addr().map(|_| ())),
            Socket::Unix(socket) => (socket.take_error()?, Ok(())),
        };
        if let Some(error) = error {
            return Err(error);
        }
        match peer {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
            Ok(()) => {
                // Disables Nagle's algorithm: messages are written whole, so a delay gains nothing.
                if let Socket::Tcp(socket) = self {
                    socket.set_nodelay(true)?;
                }
                Ok(true)
            }
        }
    }
}

impl io::Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.read(buffer),
            Socket::Unix(socket) => socket.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.write_vectored(slices),
            Socket::Unix(socket) => socket.write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Why a stream is no longer usable.
pub(super) enum StreamError {
    /// The other side did not send or receive for this long.
    #[cfg_attr(
        not(any(feature = "redis", feature = "console")),
        expect(dead_code, reason = "only blocking streams time out")
    )]
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
