//! The listening socket: bound with a long backlog, accepted from within a budget, and never lost
//! when descriptors run out.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, ToSocketAddrs};

use mio::net::{TcpListener, TcpStream};

use super::sys;

/// A listening socket.
pub(super) struct Listen {
    pub socket: TcpListener,
    /// Whether connections may be waiting: the poller says so once.
    pub ready: bool,
    /// When to try again after descriptors ran out.
    pub retry_ms: Option<u64>,
    /// When it was last said that they had.
    told_ms: Option<u64>,
}

/// Why no connection came of an attempt to accept one.
pub(super) enum NotAccepted {
    /// None waits.
    None,
    /// There are no descriptors or no memory left; says whether this is news.
    Exhausted { news: bool, error: io::Error },
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
            retry_ms: None,
            told_ms: None,
        })
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
                    self.ready = false;
                    return Err(NotAccepted::None);
                }
                // The client has gone already, or a signal came: the next may be better.
                io::ErrorKind::Interrupted
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset => {}
                _ => {
                    // What waits stays in the backlog. No event will tell of it again, so it is
                    // asked for every tenth of a second until there is room.
                    let news = self.told_ms.is_none_or(|told_ms| now_ms >= told_ms + TELL_MS);
                    if news {
                        self.told_ms = Some(now_ms);
                    }
                    self.ready = false;
                    self.retry_ms = Some(now_ms + RETRY_MS);
                    return Err(NotAccepted::Exhausted { news, error });
                }
            }
        }
    }
}

/// Connections the system keeps until they are accepted: those of a site whose clients all come
/// back at once. Linux cuts it to `net.core.somaxconn`, which is 4096.
const BACKLOG: i32 = 4_096;
const RETRY_MS: u64 = 100;
/// How often it is said that descriptors have run out.
const TELL_MS: u64 = 10_000;
