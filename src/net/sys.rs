//! System calls that the standard library lacks. Those that need `unsafe` are in `process`, those that
//! differ between systems in `linux` and `bsd`.

#[cfg(not(target_os = "linux"))]
mod bsd;
#[cfg(target_os = "linux")]
mod linux;
mod process;
#[cfg(feature = "console")]
mod terminal;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
#[cfg(feature = "console")]
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, sockopt};
use rustix::process::{Flock, FlockType, Pid, Resource, Rlimit, Signal};

#[cfg(not(target_os = "linux"))]
use bsd as system;
#[cfg(target_os = "linux")]
use linux as system;

pub(crate) use process::{
    Inherited, give_memory_back, hold_signals, ignore_broken_pipes, keep_tables_apart,
    set_inheritable, write_on_signals,
};

#[cfg(feature = "console")]
pub(crate) use terminal::{RawTerminal, terminal_size};

pub use system::{HAS_PROC, abstract_address, memory_file, random_seed};

/// Raises the open-file limit of this process as far as it is allowed to, and returns it.
pub fn raise_open_files() -> io::Result<u64> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let (current, maximum) = (limit.current, limit.maximum);
    let unlimited = u64::MAX;
    for wanted in [maximum, Some(OPEN_MAX)] {
        if current.unwrap_or(unlimited) >= wanted.unwrap_or(unlimited) {
            break;
        }
        let raised = Rlimit { current: wanted, maximum };
        if rustix::process::setrlimit(Resource::Nofile, raised).is_ok() {
            return Ok(wanted.unwrap_or(unlimited));
        }
    }
    Ok(current.unwrap_or(unlimited))
}

/// The highest limit that macOS accepts if it is not the number of `kern.maxfilesperproc`. There, the
/// maximum of a process is no number by default, and not accepted.
const OPEN_MAX: u64 = 10_240;

/// Opens a non-blocking TCP socket that listens on this address. With `reuse_port`, other sockets
/// of the same user may listen there as well, and the system distributes the connections (macOS does
/// not). Without `only_v6`, the IPv6 wildcard address includes IPv4.
pub fn bind_tcp(address: SocketAddr, reuse_port: bool, only_v6: bool) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = system::tcp_socket(family)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if reuse_port {
        system::share_port(&socket)?;
    }
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, only_v6)?;
    }
    rustix::net::bind(&socket, &address)?;
    set_backlog(&socket)?;
    Ok(TcpListener::from(socket))
}

/// The length of the backlog, long enough for all clients of a site to reconnect at once. Linux
/// limits it to `net.core.somaxconn`, by default 4096; macOS and FreeBSD to `kern.ipc.somaxconn`, by
/// default 128.
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

/// Whether a process has ended. On Linux, a zombie counts as ended.
pub fn has_ended(process: i32) -> bool {
    if HAS_PROC {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
        let is_zombie = |stat: String| stat.rsplit(')').next().is_some_and(|s| s.starts_with(" Z"));
        return stat.map_or(true, is_zombie);
    }
    let found = Pid::from_raw(process).map(rustix::process::test_kill_process);
    matches!(found, None | Some(Err(rustix::io::Errno::SRCH)))
}

/// Locks a file for as long as this process runs this program and does not open the file again.
///
/// # Errors
///
/// Another process has locked the file.
pub fn lock(file: &impl AsFd) -> io::Result<()> {
    let operation = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    Ok(rustix::fs::fcntl_lock(file, operation)?)
}

/// The other process that has locked a file, if there is one.
pub fn lock_owner(file: &impl AsFd) -> io::Result<Option<i32>> {
    let found = rustix::process::fcntl_getlk(file, &Flock::from(FlockType::WriteLock))?;
    Ok(found.and_then(|lock| lock.pid).map(|process| process.as_raw_nonzero().get()))
}

/// The memory of this process that is in use (its resident set), in bytes; 0 if the system does not
/// say, as macOS and FreeBSD do not. The file is one of the kernel's, so reading it does not wait for a disk.
pub(super) fn memory_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok().and_then(|numbers| {
        let resident = numbers.split(' ').nth(1)?;
        resident.parse::<u64>().ok()
    });
    pages.unwrap_or(0) * rustix::param::page_size() as u64
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
