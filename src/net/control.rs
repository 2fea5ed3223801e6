//! Requests to a running server, from a signal handler or another thread: to stop, to read its
//! configuration and certificates again, or to hand over to a newer binary. Each byte on a socket
//! pair is one request: the number of its signal.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream as StdUnixStream;

use mio::net::UnixStream;

use super::sys;

/// Asks a server to stop. The first time it tells its clients and waits for them; the second time
/// it ends at once.
#[derive(Debug)]
pub struct Stopper(StdUnixStream);

impl Stopper {
    /// Asks.
    pub fn stop(&self) {
        // A server that has ended already cannot be requests, and a full pipe has been.
        let _ = (&self.0).write(&[libc::SIGTERM as u8]);
    }

    /// Requests that the server read its configuration and certificates again, as SIGHUP does.
    pub fn reload(&self) {
        let _ = (&self.0).write(&[libc::SIGHUP as u8]);
    }

    /// Installs the signal handlers: SIGTERM and SIGINT request a stop, SIGUSR2 a handover to a
    /// newer binary, and with `reload` SIGHUP that configuration and certificates are read again.
    ///
    /// # Errors
    ///
    /// The system's, when it refuses.
    pub fn ask_on_signals(self, reload: bool) -> io::Result<()> {
        let signals = [libc::SIGTERM, libc::SIGINT, libc::SIGUSR2, libc::SIGHUP];
        let signals = if reload { &signals[..] } else { &signals[..3] };
        sys::write_on_signals(self.0.into(), signals)?;
        // A process that was executed in place of another may have held them back.
        sys::hold_signals(false)
    }
}

/// Where a server learns that it was requests.
pub(super) struct ControlPipe(pub UnixStream);

impl ControlPipe {
    pub(super) fn new() -> io::Result<(ControlPipe, StdUnixStream)> {
        let (reader, writer) = StdUnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        Ok((ControlPipe(UnixStream::from_std(reader)), writer))
    }

    /// What it was asked since the last look.
    pub(super) fn take(&mut self) -> Requests {
        let (mut buffer, mut requests) = ([0; 16], Requests::default());
        while let Ok(len @ 1..) = self.0.read(&mut buffer) {
            for byte in &buffer[..len] {
                match i32::from(*byte) {
                    libc::SIGHUP => requests.reload = true,
                    libc::SIGUSR2 => requests.handover = true,
                    _ => requests.stops += 1,
                }
            }
        }
        requests
    }
}

/// What a server was requests.
#[derive(Default)]
pub(super) struct Requests {
    /// How often to stop.
    pub stops: usize,
    /// Whether to read the configuration and the certificates again.
    pub reload: bool,
    /// Whether to give way to a newer binary.
    pub handover: bool,
}

pub(super) fn stopper(writer: &StdUnixStream) -> io::Result<Stopper> {
    writer.try_clone().map(Stopper)
}
