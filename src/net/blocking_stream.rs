//! A connection that waits for the other side, within bounds: for threads of their own and for
//! commands. The loop, which waits for nobody, has no use for it.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::clock;
use super::redis::{Connector, Read as Received, Session};
use crate::config::RedisTls;
use crate::hub::Now;

/// What carries bytes both ways.
pub(crate) trait Duplex: Read + Write + Send {}

impl<T: Read + Write + Send> Duplex for T {}

/// A connection, with or without TLS.
pub(crate) struct BlockingStream {
    carrier: Box<dyn Duplex>,
    session: Option<Box<Session>>,
    timeout: Duration,
}

impl BlockingStream {
    /// Connects to the first address of a name or address that takes it. Neither this nor any later
    /// wait takes longer than `timeout`, but that the system's resolver takes its own time.
    pub(crate) fn tcp(host: &str, port: u16, timeout: Duration) -> io::Result<Self> {
        let mut last = io::Error::other("the name has no address");
        for address in (host, port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(timeout))?;
                    stream.set_write_timeout(Some(timeout))?;
                    return Ok(BlockingStream {
                        carrier: Box::new(stream),
                        session: None,
                        timeout,
                    });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Connects to a socket file.
    pub(crate) fn unix(path: &Path, timeout: Duration) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(BlockingStream { carrier: Box::new(stream), session: None, timeout })
    }

    /// Goes on with TLS, which must be the first thing said.
    pub(super) fn secure(&mut self, connector: &Connector) -> Result<(), String> {
        let mut session = connector.session()?;
        match session.shake_hands(&mut *self.carrier)? {
            true => self.session = Some(session),
            false => return Err(self.silence()),
        }
        Ok(())
    }

    /// The same to a host that is to have a certificate for its name, from one of these
    /// authorities or of the system's, if that `verifies` anything.
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
        // What an operator of Redis can do about it is no help here.
        let secured = self.secure(&connector);
        secured.map_err(|why| why.split("; REDIS_TLS").next().unwrap_or_default().to_owned())
    }

    /// Writes all of it.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        let result = match &mut self.session {
            None => self.carrier.write_all(bytes),
            Some(session) => loop {
                // The last time there is nothing left but what is encrypted and waits.
                let is_last = bytes.is_empty();
                match session.write(&mut *self.carrier, &[IoSlice::new(bytes)]) {
                    Ok(_) if is_last => break Ok(()),
                    Ok(written) => bytes = &bytes[written..],
                    Err(error) => break Err(error),
                }
            },
        };
        result.map_err(|error| self.in_words(&error))
    }

    /// Reads what has come, or waits for it; 0 is the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, String> {
        let Some(session) = &mut self.session else {
            return self.carrier.read(buffer).map_err(|error| self.in_words(&error));
        };
        match session.read(&mut *self.carrier, buffer)? {
            Received::Bytes(len) => Ok(len),
            Received::Nothing => Err(self.silence()),
            Received::End => Ok(0),
        }
    }

    fn in_words(&self, error: &io::Error) -> String {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => self.silence(),
            _ => error.to_string(),
        }
    }

    fn silence(&self) -> String {
        format!("no answer within {} ms", self.timeout.as_millis())
    }
}
