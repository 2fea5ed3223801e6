//! What macOS and FreeBSD have instead of the functions of `linux`.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::SocketAddr;

use rustix::net::{AddressFamily, SocketType, sockopt};

pub use super::process::random_seed;

/// Neither system has a `/proc` that every machine mounts. A server writes a file instead: see
/// `commands::processes`.
pub const HAS_PROC: bool = false;

/// Opens a non-blocking TCP socket. macOS takes no flags when it opens one. The server opens its
/// sockets before it starts a child process that could inherit them.
pub fn tcp_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

/// Lets other sockets listen at the address of this one. On FreeBSD only this option distributes the
/// connections; macOS has none that does.
#[cfg(target_os = "freebsd")]
pub fn share_port(socket: &OwnedFd) -> io::Result<()> {
    Ok(sockopt::set_socket_reuseport_lb(socket, true)?)
}

/// Lets other sockets listen at the address of this one. macOS gives all connections to one of them.
#[cfg(not(target_os = "freebsd"))]
pub fn share_port(socket: &OwnedFd) -> io::Result<()> {
    Ok(sockopt::set_socket_reuseport(socket, true)?)
}

/// Fails: only Linux has the abstract namespace.
pub fn abstract_address(name: &str) -> io::Result<SocketAddr> {
    let text = format!("@{name}: only Linux has addresses without a file");
    Err(io::Error::new(io::ErrorKind::Unsupported, text))
}

/// Opens an anonymous file in memory; `exec` closes it.
#[cfg(target_os = "freebsd")]
pub fn memory_file() -> io::Result<OwnedFd> {
    Ok(rustix::fs::memfd_create(c"reverb-state", rustix::fs::MemfdFlags::CLOEXEC)?)
}

/// Opens a file that has no name any more; `exec` closes it. macOS has no files in memory that
/// `write` accepts.
#[cfg(not(target_os = "freebsd"))]
pub fn memory_file() -> io::Result<OwnedFd> {
    use std::os::unix::fs::OpenOptionsExt;

    // Another user cannot guess the name and create a link there.
    let name = base16ct::lower::encode_string(&random_seed()?);
    let path = std::env::temp_dir().join(format!("reverb-state-{name}"));
    let mut options = std::fs::OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file.into())
}
