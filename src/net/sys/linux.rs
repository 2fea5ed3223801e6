//! What only Linux has. `bsd` has the same functions for the other systems.

use std::io;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// Whether `/proc` has the sockets, files and flags of each process.
pub const HAS_PROC: bool = true;

/// Opens a non-blocking TCP socket.
pub fn tcp_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(family, SocketType::STREAM, flags, None)?)
}

/// Lets other sockets listen at the address of this one; the system distributes the connections.
pub fn share_port(socket: &OwnedFd) -> io::Result<()> {
    Ok(sockopt::set_socket_reuseport(socket, true)?)
}

/// The address with this name in the abstract namespace, which has no files.
pub fn abstract_address(name: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(name)
}

/// Opens an anonymous file in memory; `exec` closes it.
pub fn memory_file() -> io::Result<OwnedFd> {
    Ok(rustix::fs::memfd_create(c"reverb-state", rustix::fs::MemfdFlags::CLOEXEC)?)
}

/// Random bytes of the system, read without a device file.
pub fn random_seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    loop {
        // The system returns so few bytes in one call or fails.
        match rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty()) {
            Ok(_) => return Ok(seed),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
