//! A listening socket. It has a long backlog, and stays open when descriptors run out. Accepted
//! connections are in `socket`.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};

use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UnixListener};

use super::sys;
use crate::config::{self, ConsoleAddress};
use crate::hub::{LogThrottle, Policy, Port};

/// A listening socket.
pub(super) struct Listen {
    socket: Socket,
    /// What it serves.
    pub port: Port,
    /// Whether connections may be pending. The poller is edge-triggered and reports that once.
    pub ready: bool,
    /// Whether the last turn reached `limits.accepts_per_turn`, so that more may be pending.
    pub cut_short: bool,
    /// When to try again after descriptors ran out.
    pub retry_ms: Option<u64>,
    /// Limits the log lines about connections that could not be accepted.
    pub exhausted: LogThrottle,
}

enum Socket {
    Tcp(TcpListener),
    /// A Unix socket, and its file if the server removes it at the end.
    Unix(UnixListener, Option<PathBuf>),
}

/// The result of an attempt to accept a connection.
pub(super) enum Accepted {
    /// A connection, and the address of the client if the socket is a TCP one.
    Connection(TcpStream, Option<SocketAddr>),
    /// No connection is pending.
    NonePending,
    /// There are no descriptors or no memory left. The connection stays in the backlog.
    Exhausted(io::Error),
}

/// The purpose of a listening socket, encoded as a letter in a handover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Clients connect to it.
    Clients,
    /// Clients connect to it, and its file is removed when the server ends.
    ClientsOwnFile,
    /// It serves metrics.
    Metrics,
    /// It serves the console.
    Console,
    /// It serves the console, and its file is removed when the server ends.
    ConsoleOwnFile,
}

impl Purpose {
    pub(super) fn letter(self) -> char {
        match self {
            Purpose::Clients => 's',
            Purpose::ClientsOwnFile => 'f',
            Purpose::Metrics => 'm',
            Purpose::Console => 'c',
            Purpose::ConsoleOwnFile => 'd',
        }
    }

    /// The purpose with this letter. An unknown letter, from a newer version, means `Clients`.
    pub(super) fn from_letter(letter: char) -> Self {
        match letter {
            'f' => Purpose::ClientsOwnFile,
            'm' => Purpose::Metrics,
            'c' => Purpose::Console,
            'd' => Purpose::ConsoleOwnFile,
            _ => Purpose::Clients,
        }
    }

    fn port(self) -> Port {
        match self {
            Purpose::Clients | Purpose::ClientsOwnFile => Port::Clients,
            Purpose::Metrics => Port::Metrics,
            Purpose::Console | Purpose::ConsoleOwnFile => Port::Console,
        }
    }

    fn has_own_file(self) -> bool {
        matches!(self, Purpose::ClientsOwnFile | Purpose::ConsoleOwnFile)
    }
}

impl Listen {
    /// Binds every host of a server. Host names are resolved here, before the event loop begins.
    ///
    /// # Errors
    ///
    /// A host cannot be resolved or bound; the error names the first one.
    pub(super) fn bind_all(server: &config::Server) -> io::Result<Vec<Self>> {
        let hosts = server.hosts().count();
        let bound = server.hosts().map(|host| match host.starts_with('/') {
            true => bind_unix(Path::new(host)).map_err(|error| at(host, error)),
            false => {
                // A single `::` includes IPv4; together with `0.0.0.0` it must not.
                let bound = bind_tcp(host, server.port, server.reuse_port, hosts > 1);
                bound.map_err(|error| at(&format!("{host}:{}", server.port), error))
            }
        });
        bound.map(|socket| socket.map(Listen::new)).collect()
    }

    /// Binds the address for metrics.
    pub(super) fn bind_metrics(address: SocketAddr) -> io::Result<Self> {
        let listener = Socket::Tcp(TcpListener::from_std(sys::bind_tcp(address, false, false)?));
        Ok(Listen { port: Port::Metrics, ..Listen::new(listener) })
    }

    /// Binds the address of the console.
    pub(super) fn bind_console(address: &ConsoleAddress) -> io::Result<Self> {
        let listener = match address {
            ConsoleAddress::Tcp(address) => {
                let socket = sys::bind_tcp(*address, false, false)?;
                sys::set_nodelay(&socket)?;
                Socket::Tcp(TcpListener::from_std(socket))
            }
            ConsoleAddress::Unix(path) => bind_unix(path)?,
        };
        Ok(Listen { port: Port::Console, ..Listen::new(listener) })
    }

    /// Takes over a socket that is already listening, TCP or Unix.
    pub(super) fn inherit(socket: OwnedFd) -> io::Result<Self> {
        let tcp = StdTcpListener::from(socket);
        tcp.set_nonblocking(true)?;
        sys::set_backlog(&tcp)?;
        let socket = match tcp.local_addr() {
            Ok(_) => {
                sys::set_nodelay(&tcp)?;
                Socket::Tcp(TcpListener::from_std(tcp))
            }
            Err(_) => {
                let unix = StdUnixListener::from(OwnedFd::from(tcp));
                unix.local_addr()?;
                Socket::Unix(UnixListener::from_std(unix), None)
            }
        };
        Ok(Listen::new(socket))
    }

    /// The descriptor and purpose, which the successor needs to take over this socket.
    pub(super) fn handed_over(&self) -> (RawFd, Purpose) {
        let (descriptor, has_own_file) = match &self.socket {
            Socket::Tcp(socket) => (socket.as_raw_fd(), false),
            Socket::Unix(socket, file) => (socket.as_raw_fd(), file.is_some()),
        };
        let purpose = match (self.port, has_own_file) {
            (Port::Clients, false) => Purpose::Clients,
            (Port::Clients, true) => Purpose::ClientsOwnFile,
            (Port::Metrics, _) => Purpose::Metrics,
            (Port::Console, false) => Purpose::Console,
            (Port::Console, true) => Purpose::ConsoleOwnFile,
        };
        (descriptor, purpose)
    }

    /// Takes over a socket from the predecessor of this process.
    pub(super) fn take_over(socket: OwnedFd, purpose: Purpose) -> io::Result<Self> {
        let mut listen = Listen::inherit(socket)?;
        listen.port = purpose.port();
        if let (Socket::Unix(socket, path), true) = (&mut listen.socket, purpose.has_own_file()) {
            // From now on this process removes the file.
            *path = socket.local_addr()?.as_pathname().map(Path::to_owned);
        }
        Ok(listen)
    }

    fn new(socket: Socket) -> Self {
        Listen {
            socket,
            port: Port::Clients,
            ready: true,
            cut_short: false,
            retry_ms: None,
            exhausted: LogThrottle::new(Policy::ONE_AN_EPISODE),
        }
    }

    /// The socket, for the poller.
    pub(super) fn source(&mut self) -> &mut dyn Source {
        match &mut self.socket {
            Socket::Tcp(socket) => socket,
            Socket::Unix(socket, _) => socket,
        }
    }

    /// The address of a TCP socket.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(socket) => socket.local_addr().ok(),
            Socket::Unix(..) => None,
        }
    }

    /// Whether it is bound to this address of the console.
    pub(super) fn is_at(&self, wanted: &ConsoleAddress) -> bool {
        match (&self.socket, wanted) {
            (Socket::Tcp(socket), ConsoleAddress::Tcp(wanted)) => {
                let is_same = |address: SocketAddr| match wanted.port() {
                    0 => address.ip() == wanted.ip(),
                    _ => address == *wanted,
                };
                socket.local_addr().is_ok_and(is_same)
            }
            (Socket::Unix(socket, _), ConsoleAddress::Unix(path)) => {
                let address = socket.local_addr();
                address.is_ok_and(|address| address.as_pathname() == Some(path))
            }
            _ => false,
        }
    }

    /// The address or the path, as text.
    pub(super) fn name(&self) -> String {
        match &self.socket {
            Socket::Tcp(socket) => socket.local_addr().map(|a| a.to_string()).unwrap_or_default(),
            Socket::Unix(socket, _) => {
                let address = socket.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                format!("unix:{}", path.unwrap_or(Path::new("")).display())
            }
        }
    }

    /// Whether connections may be pending that can be accepted now.
    pub(super) fn has_work(&self) -> bool {
        self.ready && self.retry_ms.is_none()
    }

    /// Accepts the next pending connection.
    pub(super) fn accept(&mut self, now_ms: u64) -> Accepted {
        loop {
            let error = match self.socket.accept() {
                Ok((stream, address)) => {
                    self.retry_ms = None;
                    return Accepted::Connection(stream, address);
                }
                Err(error) => error,
            };
            match error.kind() {
                io::ErrorKind::WouldBlock => return self.none_pending(),
                // The client has disconnected already, or a signal arrived.
                io::ErrorKind::Interrupted
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset => {}
                _ => return self.exhausted(error, now_ms),
            }
        }
    }

    /// Stands in for [`Listen::accept`] while no descriptor is available: pending connections stay
    /// in the backlog.
    pub(super) fn put_off(&mut self, now_ms: u64) -> Accepted {
        let is_pending = match &self.socket {
            Socket::Tcp(socket) => sys::is_readable_now(socket.as_fd()),
            Socket::Unix(socket, _) => sys::is_readable_now(socket.as_fd()),
        };
        match is_pending {
            true => self.exhausted(no_room(), now_ms),
            false => self.none_pending(),
        }
    }

    /// Records that the backlog is empty. The poller reports the next connection.
    fn none_pending(&mut self) -> Accepted {
        (self.ready, self.cut_short, self.retry_ms) = (false, false, None);
        Accepted::NonePending
    }

    /// Records that descriptors ran out. Pending connections stay in the backlog. The poller does
    /// not report them again, so the server retries every tenth of a second and after each close.
    fn exhausted(&mut self, error: io::Error, now_ms: u64) -> Accepted {
        self.ready = false;
        self.retry_ms = Some(now_ms + RETRY_MS);
        Accepted::Exhausted(error)
    }
}

impl Socket {
    /// Accepts a connection. A Unix connection is returned as a `TcpStream` too: the system calls
    /// for reading, writing and shutting down are the same.
    fn accept(&self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        match self {
            Socket::Tcp(socket) => socket.accept().map(|(stream, from)| (stream, Some(from))),
            Socket::Unix(socket, _) => {
                let (stream, _) = socket.accept()?;
                let stream = OwnedFd::from(StdUnixStream::from(stream));
                Ok((TcpStream::from_std(stream.into()), None))
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Socket::Unix(_, Some(path)) = self {
            // This fails if the file has been removed already.
            _ = fs::remove_file(path);
        }
    }
}

/// Binds the first address of a host that can be bound.
fn bind_tcp(host: &str, port: u16, reuse_port: bool, only_v6: bool) -> io::Result<Socket> {
    let mut last = None;
    for address in (host, port).to_socket_addrs()? {
        match sys::bind_tcp(address, reuse_port, only_v6) {
            Ok(socket) => {
                sys::set_nodelay(&socket)?;
                return Ok(Socket::Tcp(TcpListener::from_std(socket)));
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other("the host name has no address")))
}

/// Binds a Unix socket. The file of an earlier server is replaced if no process listens on it.
fn bind_unix(path: &Path) -> io::Result<Socket> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && StdUnixStream::connect(path).is_err_and(refused) {
        fs::remove_file(path)?;
    }
    let socket = StdUnixListener::bind(path)?;
    socket.set_nonblocking(true)?;
    sys::set_backlog(&socket)?;
    Ok(Socket::Unix(UnixListener::from_std(socket), Some(path.to_owned())))
}

fn at(place: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{place}: {error}"))
}

/// The error when only reserved descriptors are free.
fn no_room() -> io::Error {
    io::Error::other(
        "the remaining open files are reserved for Redis, reloads, certificates and the log",
    )
}

const RETRY_MS: u64 = 100;
