//! A connection to Redis whose calls block, up to a timeout. Background threads and commands use
//! it; the event loop must not.

use std::io::{self, ErrorKind, IoSlice, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::io::{Answer, Duplex};
use super::stream::StreamError;
use super::tls::{ClientSession, Connector};

/// A connection, with or without TLS.
pub(super) struct BlockingStream {
    socket: Box<dyn Duplex>,
    session: Option<Box<ClientSession>>,
    timeout: Duration,
}

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

    /// Begins a TLS session. Must be called before anything is sent.
    pub(super) fn secure(&mut self, connector: &Connector) -> Result<(), StreamError> {
        let mut session = connector.session()?;
        match session.shake_hands(&mut *self.socket)? {
            true => self.session = Some(session),
            false => return Err(StreamError::TimedOut(self.timeout)),
        }
        Ok(())
    }

    /// Writes all bytes.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<(), StreamError> {
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
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, StreamError> {
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
