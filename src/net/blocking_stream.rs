//! A connection to Redis or to a server of the Pusher protocol, whose calls block, up to a timeout.
//! Background threads and commands use it; the event loop must not.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::io::Answer;
use super::stream::StreamError;
#[cfg(feature = "console")]
use super::sys;
use super::tls::ClientSession;

/// A connection, with or without TLS.
pub(crate) struct BlockingStream {
    socket: Box<dyn Socket>,
    session: Option<Box<ClientSession>>,
    timeout: Duration,
}

/// The socket below TLS.
trait Socket: Read + Write + Send + AsFd {}

impl<T: Read + Write + Send + AsFd> Socket for T {}

impl BlockingStream {
    /// Connects to the first address of the host that accepts. No call blocks for longer than
    /// `timeout`, except in the system's resolver.
    pub(super) fn tcp(host: &str, port: u16, timeout: Duration) -> io::Result<Self> {
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
    pub(super) fn unix(path: &Path, timeout: Duration) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(BlockingStream { socket: Box::new(stream), session: None, timeout })
    }

    /// Begins this TLS session. Must be called before anything is sent.
    pub(super) fn secure(&mut self, mut session: Box<ClientSession>) -> Result<(), StreamError> {
        match session.shake_hands(&mut self.socket)? {
            true => self.session = Some(session),
            false => return Err(StreamError::TimedOut(self.timeout)),
        }
        Ok(())
    }

    /// Sets the longest wait of a read from now on.
    #[cfg(feature = "console")]
    pub(crate) fn set_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        self.timeout = timeout;
        sys::set_read_timeout(&self.socket, timeout)
    }

    /// Writes all bytes.
    pub(super) fn send(&mut self, mut bytes: &[u8]) -> Result<(), StreamError> {
        let result = match &mut self.session {
            None => self.socket.write_all(bytes),
            Some(session) => loop {
                // Without input, the call writes what is already encrypted.
                let is_last = bytes.is_empty();
                match session.write(&mut self.socket, &[IoSlice::new(bytes)]) {
                    Ok(_) if is_last => break Ok(()),
                    Ok(written) => bytes = &bytes[written..],
                    Err(error) => break Err(error),
                }
            },
        };
        result.map_err(|error| self.failed(error))
    }

    /// Waits for bytes and reads them; 0 is the end.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, StreamError> {
        let Some(session) = &mut self.session else {
            // A signal interrupts a read that has a timeout, also if its handler asks for a restart.
            return loop {
                match self.socket.read(buffer) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    read => break read.map_err(|error| self.failed(error)),
                }
            };
        };
        match session.read(&mut self.socket, buffer)? {
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

/// For libraries that read from a stream. An error of the kind `WouldBlock` means that the timeout has
/// passed.
#[cfg(feature = "console")]
impl Read for BlockingStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.receive(buffer).map_err(into_io)
    }
}

#[cfg(feature = "console")]
impl Write for BlockingStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(bytes).map(|()| bytes.len()).map_err(into_io)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(feature = "console")]
fn into_io(error: StreamError) -> io::Error {
    match error {
        StreamError::TimedOut(_) => io::Error::new(ErrorKind::WouldBlock, error.to_string()),
        StreamError::Io(error) => error,
        StreamError::Tls(error) => io::Error::other(error.to_string()),
    }
}
