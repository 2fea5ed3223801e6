//! System calls that the standard library lacks. Those that need `unsafe` are in `process`.

mod process;
#[cfg(feature = "console")]
mod terminal;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
#[cfg(feature = "console")]
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::process::{Pid, Resource, Rlimit, Signal};

pub(crate) use process::{
    Inherited, give_memory_back, hold_signals, ignore_broken_pipes, keep_tables_apart,
    set_inheritable, write_on_signals,
};

#[cfg(feature = "console")]
pub(crate) use terminal::{RawTerminal, terminal_size};

/// Raises the open-file limit of this process as far as it is allowed to, and returns it.
pub fn raise_open_files() -> io::Result<u64> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let (current, maximum) = (limit.current, limit.maximum);
    if current != maximum
        && rustix::process::setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
            .is_ok()
    {
        return Ok(maximum.unwrap_or(u64::MAX));
    }
    Ok(current.unwrap_or(u64::MAX))
}

/// Opens a non-blocking TCP socket that listens on this address. With `reuse_port`, other sockets
/// of the same user may listen there as well, and the system distributes the connections. Without
/// `only_v6`, the IPv6 wildcard address includes IPv4.
pub fn bind_tcp(address: SocketAddr, reuse_port: bool, only_v6: bool) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if reuse_port {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, only_v6)?;
    }
    rustix::net::bind(&socket, &address)?;
    set_backlog(&socket)?;
    Ok(TcpListener::from(socket))
}

/// The length of the backlog, long enough for all clients of a site to reconnect at once. Linux
/// limits it to `net.core.somaxconn`, by default 4096.
const BACKLOG: i32 = 4_096;

/// Sets the length of the backlog, also of a socket that is already listening.
pub fn set_backlog(listener: &impl AsFd) -> io::Result<()> {
    Ok(rustix::net::listen(listener, BACKLOG)?)
}

/// Disables Nagle's algorithm, so that small writes are sent at once. Connections accepted from a
/// listener inherit it.
pub fn set_nodelay(listener: &impl AsFd) -> io::Result<()> {
    Ok(sockopt::set_tcp_nodelay(listener, true)?)
}

/// Opens an anonymous file in memory; `exec` closes it.
pub fn memory_file() -> io::Result<OwnedFd> {
    Ok(rustix::fs::memfd_create(c"reverb-state", rustix::fs::MemfdFlags::CLOEXEC)?)
}

/// Microseconds of `CLOCK_MONOTONIC`, which systemd expects in notifications.
pub fn monotonic_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}

/// Whether a write of a line to this file would not block.
pub fn is_writable_now(file: BorrowedFd<'_>) -> bool {
    is_ready_now(file, PollFlags::OUT)
}

/// Whether a read, or an accept on a listening socket, would not block.
pub fn is_readable_now(file: BorrowedFd<'_>) -> bool {
    is_ready_now(file, PollFlags::IN)
}

fn is_ready_now(file: BorrowedFd<'_>, events: PollFlags) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(file, events)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&at_once)) == Ok(1) && polled[0].revents().intersects(events)
}

/// Sets the longest wait of a read.
#[cfg(feature = "console")]
pub fn set_read_timeout(socket: &impl AsFd, timeout: Duration) -> io::Result<()> {
    Ok(sockopt::set_socket_timeout(socket, sockopt::Timeout::Recv, Some(timeout))?)
}

/// Waits until one of these files has input or is closed, `output` has no reader any more, or the
/// timeout has passed. Returns whether `output` has no reader, and which of the files are ready.
#[cfg(feature = "console")]
pub fn wait_for_input<const N: usize>(
    files: [BorrowedFd<'_>; N],
    output: BorrowedFd<'_>,
    timeout: Option<Duration>,
) -> io::Result<(bool, [bool; N])> {
    let mut polled: Vec<PollFd<'_>> =
        files.iter().map(|file| PollFd::from_borrowed_fd(*file, PollFlags::IN)).collect();
    // The end of a pipe is reported in any case.
    polled.push(PollFd::from_borrowed_fd(output, PollFlags::empty()));
    let timeout = timeout.map(|timeout| Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    match poll(&mut polled, timeout.as_ref()) {
        Ok(_) => {}
        // A signal; its handler has written to one of the files.
        Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let is_closed = polled[N].revents().intersects(PollFlags::ERR | PollFlags::HUP);
    Ok((is_closed, std::array::from_fn(|n| !polled[n].revents().is_empty())))
}

/// Sends a signal to a process.
pub fn send_signal(process: i32, signal: i32) -> io::Result<()> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    let process = Pid::from_raw(process).ok_or_else(invalid)?;
    let signal = Signal::from_named_raw(signal).ok_or_else(invalid)?;
    Ok(rustix::process::kill_process(process, signal)?)
}

/// The memory of this process that is in use (its resident set), in bytes; 0 if the system does not
/// say. The file is one of the kernel's, so reading it does not wait for a disk.
pub(super) fn memory_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok().and_then(|numbers| {
        let resident = numbers.split(' ').nth(1)?;
        resident.parse::<u64>().ok()
    });
    pages.unwrap_or(0) * rustix::param::page_size() as u64
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_full_pipe_is_not_writable() {
        let (mut writer, _reader) = UnixStream::pair().unwrap();
        assert!(is_writable_now(writer.as_fd()));
        writer.set_nonblocking(true).unwrap();
        while writer.write(&[0; 4_096]).is_ok() {}
        assert!(!is_writable_now(writer.as_fd()));
    }

    #[test]
    fn no_two_seeds_are_the_same() {
        assert_ne!(random_seed().unwrap(), random_seed().unwrap());
    }

    #[test]
    fn the_open_file_limit_is_returned() {
        assert!(raise_open_files().unwrap() >= 256);
    }
}
