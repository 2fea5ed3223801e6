//! How signal handlers and other threads send requests to the event loop: to stop, to read the
//! configuration and certificates again, or to hand over to a newer binary. Each byte on a socket
//! pair is one request: the number of its signal, or [`STOP_ONCE`]. How requests are carried out is
//! in `server/control`.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream as StdUnixStream;

use mio::net::UnixStream;

use super::{sys, threads};

/// The request of [`Stopper::stop_once`]. No signal has this number.
const STOP_ONCE: libc::c_int = 0;

/// Sends requests to a server, from any thread.
#[derive(Debug)]
pub struct Stopper(StdUnixStream);

impl Stopper {
    /// Requests a stop. After the first request the server asks its clients to reconnect and waits
    /// until they have disconnected; after the second it ends at once.
    pub fn stop(&self) {
        self.request(libc::SIGTERM);
    }

    /// Requests a stop that has no effect on a server that is stopping already. It does not count as
    /// the first of two requests, because a signal may follow for the same reason: Ctrl-C, for
    /// example, ends a parent process and signals the server.
    pub(crate) fn stop_once(&self) {
        self.request(STOP_ONCE);
    }

    /// Requests a stop, as [`Stopper::stop_once`] does, when standard input ends.
    ///
    /// # Errors
    ///
    /// The thread that waits for this cannot be started.
    pub(crate) fn stop_with_stdin(self) -> io::Result<()> {
        let wait = move || {
            // What arrives has no meaning.
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            log::info!("stopping: standard input has ended");
            self.stop_once();
        };
        threads::start("stdin", Box::new(wait)).map(drop)
    }

    /// Requests that the server read its configuration and certificates again, as SIGHUP does.
    pub fn reload(&self) {
        self.request(libc::SIGHUP);
    }

    fn request(&self, signal: libc::c_int) {
        // This fails if the server has ended, or if the pipe is full of requests.
        let _ = (&self.0).write(&[signal as u8]);
    }

    /// Installs the signal handlers: SIGTERM and SIGINT request a stop, SIGUSR2 a handover to a
    /// newer binary, and, if `reload` is true, SIGHUP a reload of configuration and certificates.
    ///
    /// # Errors
    ///
    /// A system call failed.
    pub(crate) fn on_signals(self, reload: bool) -> io::Result<()> {
        let signals = [libc::SIGTERM, libc::SIGINT, libc::SIGUSR2, libc::SIGHUP];
        let signals = if reload { &signals[..] } else { &signals[..3] };
        sys::write_on_signals(self.0.into(), signals)?;
        // The process that executed this binary may have left the signals blocked.
        sys::hold_signals(false)
    }
}

/// Both ends of the pipe through which requests arrive.
pub(super) struct ControlPipe {
    /// The reading end, which the poller watches.
    pub reader: UnixStream,
    /// The writing end; every [`Stopper`] has a copy.
    writer: StdUnixStream,
    /// Whether requests may have arrived since the last [`ControlPipe::take`].
    pub is_ready: bool,
}

impl ControlPipe {
    pub(super) fn new() -> io::Result<Self> {
        let (reader, writer) = StdUnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        Ok(ControlPipe { reader: UnixStream::from_std(reader), writer, is_ready: false })
    }

    /// A sender of requests.
    pub(super) fn stopper(&self) -> io::Result<Stopper> {
        self.writer.try_clone().map(Stopper)
    }

    /// The requests that have arrived since the last call.
    pub(super) fn take(&mut self) -> Requests {
        let (mut buffer, mut requests) = ([0; 16], Requests::default());
        while let Ok(len @ 1..) = self.reader.read(&mut buffer) {
            for byte in &buffer[..len] {
                match i32::from(*byte) {
                    libc::SIGHUP => requests.reload = true,
                    libc::SIGUSR2 => requests.handover = true,
                    STOP_ONCE => requests.stop_once = true,
                    _ => requests.stops += 1,
                }
            }
        }
        requests
    }
}

impl AsFd for ControlPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }
}

/// Requests that have arrived.
#[derive(Default)]
pub(super) struct Requests {
    /// The number of requests to stop.
    pub stops: usize,
    /// Whether to stop, unless the server is stopping already.
    pub stop_once: bool,
    /// Whether to read the configuration and the certificates again.
    pub reload: bool,
    /// Whether to hand over to a newer binary.
    pub handover: bool,
}

impl Requests {
    /// Whether any of them is a request to stop.
    pub(super) fn is_stop(&self) -> bool {
        self.stops > 0 || self.stop_once
    }
}
