//! The one module with unsafe code: calls of the operating system that the standard library does
//! not have. Each is a few lines, safe from outside, and says why it is sound.
#![expect(unsafe_code, reason = "calls of the C library")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

/// Raises the number of files this process may open as far as it is allowed to, and says how
/// many that are.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a local of the type the call writes.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    if limit.rlim_cur < limit.rlim_max {
        let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
        // SAFETY: the pointer is to a local of the type the call reads.
        if check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) }).is_ok() {
            limit = raised;
        }
    }
    Ok(limit.rlim_cur)
}

/// Sets how many connections may wait to be accepted, for a socket that listens already.
pub fn set_backlog(listener: &impl AsRawFd, backlog: i32) -> io::Result<()> {
    // SAFETY: the call takes numbers alone, and the descriptor is open while it is borrowed.
    check(unsafe { libc::listen(listener.as_raw_fd(), backlog) })
}

/// Has small writes sent at once. Connections accepted from a listener inherit it.
pub fn set_nodelay(listener: &impl AsRawFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the pointer is to a local that outlives the call, and the size is its own.
    check(unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_NODELAY,
            (&raw const on).cast(),
            size,
        )
    })
}

/// Whether a write of a line to this file would be taken at once.
pub fn is_writable_now(file: BorrowedFd<'_>) -> bool {
    let mut poll = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: the pointer is to one local of the type the call reads and writes, and says so.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
    ready == 1 && poll.revents & libc::POLLOUT != 0
}

/// Gives memory that is free inside the process back to the system, where its C library can.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes a number, and may be made at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Sends a signal to a process.
pub fn send_signal(process: i32, signal: i32) -> io::Result<()> {
    // SAFETY: the call takes numbers alone.
    check(unsafe { libc::kill(process, signal) })
}

/// The user this process runs as.
pub fn user() -> u32 {
    // SAFETY: the call takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// From now on each of these signals writes one byte, its number, to this descriptor, which must
/// stay open until the process ends.
pub fn write_on_signals(descriptor: RawFd, signals: &[libc::c_int]) -> io::Result<()> {
    SIGNAL_DESCRIPTOR.store(descriptor, Ordering::SeqCst);
    for &signal in signals {
        // SAFETY: all zeroes is a valid value of this C struct of numbers and a pointer.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = on_signal as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        // SAFETY: the handler calls nothing but `write`, which a handler may, and both pointers
        // are valid for the call.
        check(unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) })?;
    }
    Ok(())
}

static SIGNAL_DESCRIPTOR: AtomicI32 = AtomicI32::new(-1);

extern "C" fn on_signal(signal: libc::c_int) {
    let byte = signal as u8;
    // SAFETY: one byte of a local is read. The result is of no use: a full pipe holds requests
    // enough, and `errno` is put back for the code that was interrupted.
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(SIGNAL_DESCRIPTOR.load(Ordering::SeqCst), (&raw const byte).cast(), 1);
        *libc::__errno_location() = errno;
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;
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
    fn the_open_file_limit_is_told() {
        assert!(raise_open_files().unwrap() >= 256);
    }
}
