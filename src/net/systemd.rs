//! The protocol between systemd and a service: socket activation (`sd_listen_fds(3)`), and
//! notifications of the service's state (`sd_notify(3)`). Without systemd this
//! does nothing.

use std::env;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use super::sys::{self, Inherited};

/// The listening sockets that systemd has passed to this process; empty without systemd.
///
/// # Errors
///
/// A descriptor that the environment names was not inherited.
pub(crate) fn sockets(inherited: &mut Inherited) -> io::Result<Vec<OwnedFd>> {
    let variable = |name| env::var(name).ok();
    // Child processes of the service inherit the variables as well.
    if variable("LISTEN_PID") != Some(std::process::id().to_string()) {
        return Ok(Vec::new());
    }
    let count = variable("LISTEN_FDS").and_then(|count| count.parse().ok()).unwrap_or(0);
    (FIRST_SOCKET..).take(count).map(|descriptor| inherited.take(descriptor)).collect()
}

const FIRST_SOCKET: i32 = 3;

/// Sends notifications to systemd.
pub(crate) struct SdNotify {
    socket: UnixDatagram,
    to: SocketAddr,
    /// The interval of notifications to the watchdog, if it is in use.
    watchdog_ms: Option<u64>,
    next_ms: u64,
}

impl SdNotify {
    /// The socket that the environment names; `None` if it names none.
    ///
    /// # Errors
    ///
    /// The socket cannot be used.
    pub(crate) fn from_environment() -> io::Result<Option<Self>> {
        let Ok(place) = env::var("NOTIFY_SOCKET") else { return Ok(None) };
        let to = match place.strip_prefix('@') {
            Some(name) => sys::abstract_address(name)?,
            None => SocketAddr::from_pathname(&place)?,
        };
        let socket = UnixDatagram::unbound()?;
        // A notification must not block the event loop.
        socket.set_nonblocking(true)?;
        let is_ours =
            env::var("WATCHDOG_PID").map_or(true, |id| id == std::process::id().to_string());
        let us: Option<u64> = env::var("WATCHDOG_USEC").ok().and_then(|us| us.parse().ok());
        // Twice within the timeout, as systemd recommends.
        let watchdog_ms = us.filter(|us| is_ours && *us > 0).map(|us| (us / 2_000).max(1));
        Ok(Some(SdNotify { socket, to, watchdog_ms, next_ms: 0 }))
    }

    /// Notifies systemd that the server is ready, after its start or a reload.
    pub(super) fn ready(&self) {
        self.send("READY=1");
    }

    /// Notifies systemd that a reload of the configuration or a handover to a newer binary begins.
    pub(super) fn reloading(&self) {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", sys::monotonic_us()));
    }

    /// Notifies systemd that the server stops within `at_most_ms`.
    pub(super) fn stopping(&self, at_most_ms: u64) {
        self.send(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}", at_most_ms.saturating_mul(1_000)));
    }

    /// When [`SdNotify::turn`] is next due.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.watchdog_ms.map(|_| self.next_ms)
    }

    /// Notifies the watchdog, if that is due.
    pub(super) fn turn(&mut self, now_ms: u64) {
        if let Some(every_ms) = self.watchdog_ms.filter(|_| now_ms >= self.next_ms) {
            self.next_ms = now_ms + every_ms;
            self.send("WATCHDOG=1");
        }
    }

    fn send(&self, text: &str) {
        if let Err(error) = self.socket.send_to_addr(text.as_bytes(), &self.to) {
            log::warn!("cannot notify systemd ({text:?}): {error}");
        }
    }
}
