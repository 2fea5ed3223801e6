//! The listening socket: bound with a long backlog, accepted from within a budget, and never lost
//! when descriptors run out.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, ToSocketAddrs};

use mio::net::{TcpListener, TcpStream};

use super::sys;
use crate::hub::Episode;

/// A listening socket.
pub(super) struct Listen {
    pub socket: TcpListener,
    /// Whether connections may be waiting: the poller says so once.
    pub ready: bool,
    /// Whether the last turn ended before all were accepted, as far as is known.
    pub cut_short: bool,
    /// When to try again after descriptors ran out.
    pub retry_ms: Option<u64>,
    /// What was said of it.
    exhausted: Episode,
}

/// Why no connection came of an attempt to accept one.
pub(super) enum NotAccepted {
    /// None waits.
    None,
    /// There are no descriptors or no memory left; `untold` as [`Episode::note`] says it.
    Exhausted { untold: Option<u64>, error: io::Error },
}

impl Listen {
    /// Binds the first address of `host` that can be. Names are resolved here, before the loop
    /// begins, and nowhere else.
    pub(super) fn bind(host: &str, port: u16) -> io::Result<Self> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let listener = StdListener::bind(&*(host, port).to_socket_addrs()?.collect::<Vec<_>>())?;
        listener.set_nonblocking(true)?;
        sys::set_backlog(&listener, BACKLOG)?;
        sys::set_nodelay(&listener)?;
        Ok(Listen {
            socket: TcpListener::from_std(listener),
            ready: true,
            cut_short: false,
            retry_ms: None,
            exhausted: Episode::default(),
        })
    }

    /// Whether connections may be waiting that can be accepted now.
    pub(super) fn has_work(&self) -> bool {
        self.ready && self.retry_ms.is_none()
    }

    /// The next connection that waits.
    pub(super) fn accept(&mut self, now_ms: u64) -> Result<(TcpStream, SocketAddr), NotAccepted> {
        loop {
            let error = match self.socket.accept() {
                Ok(accepted) => {
                    self.retry_ms = None;
                    return Ok(accepted);
                }
                Err(error) => error,
            };
            match error.kind() {
                io::ErrorKind::WouldBlock => {
                    (self.ready, self.cut_short) = (false, false);
                    return Err(NotAccepted::None);
                }
                // The client has gone already, or a signal came: the next may be better.
                io::ErrorKind::Interrupted
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset => {}
                _ => {
                    // What waits stays in the backlog. No event will tell of it again, so it is
                    // asked for every tenth of a second until there is room.
                    let untold = self.exhausted.note(now_ms);
                    self.ready = false;
                    self.retry_ms = Some(now_ms + RETRY_MS);
                    return Err(NotAccepted::Exhausted { untold, error });
                }
            }
        }
    }
}

/// Connections the system keeps until they are accepted: those of a site whose clients all come
/// back at once. Linux cuts it to `net.core.somaxconn`, which is 4096.
const BACKLOG: i32 = 4_096;
const RETRY_MS: u64 = 100;
