//! Asking a running server to stop, from a signal or from another thread: each byte on a pair of
//! sockets is one request.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
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
        // A server that has ended already cannot be asked, and a full pipe has been.
        let _ = (&self.0).write(&[1]);
    }

    /// Has SIGTERM and SIGINT ask from now on.
    ///
    /// # Errors
    ///
    /// The system's, when it refuses.
    pub fn stop_on_signals(self) -> io::Result<()> {
        sys::write_on_stop_signals(self.0.as_raw_fd())?;
        // The handler writes to the descriptor until the process ends.
        std::mem::forget(self);
        Ok(())
    }
}

/// Where a server learns that it was asked.
pub(super) struct StopRequests(pub UnixStream);

impl StopRequests {
    pub(super) fn new() -> io::Result<(StopRequests, StdUnixStream)> {
        let (reader, writer) = StdUnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        Ok((StopRequests(UnixStream::from_std(reader)), writer))
    }

    /// How often it was asked since the last look.
    pub(super) fn count(&mut self) -> usize {
        let (mut buffer, mut count) = ([0; 16], 0);
        while let Ok(len @ 1..) = self.0.read(&mut buffer) {
            count += len;
        }
        count
    }
}

pub(super) fn stopper(writer: &StdUnixStream) -> io::Result<Stopper> {
    writer.try_clone().map(Stopper)
}
