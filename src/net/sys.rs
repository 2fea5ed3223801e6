//! The one module with unsafe code: calls of the operating system that the standard library does
//! not have. Each is a few lines, safe from outside, and says why it is sound.
#![expect(unsafe_code, reason = "calls of the C library")]

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};

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

/// A TCP socket that listens at this address and never waits. With `reuse_port` others of the
/// same user may listen there as well, and the system deals out who comes; an IPv6 address that
/// means all of them means IPv4 as well unless `only_v6`.
pub fn bind_tcp(address: SocketAddr, reuse_port: bool, only_v6: bool) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the call takes numbers alone.
    let descriptor = unsafe { libc::socket(family, kind, 0) };
    check(descriptor)?;
    // SAFETY: the descriptor was just made, and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
    set_option(&socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, true)?;
    if reuse_port {
        set_option(&socket, libc::SOL_SOCKET, libc::SO_REUSEPORT, true)?;
    }
    if address.is_ipv6() {
        set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, only_v6)?;
    }
    match address {
        SocketAddr::V4(address) => {
            let address = libc::sockaddr_in {
                sin_family: family as libc::sa_family_t,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                sin_zero: [0; 8],
            };
            let size = size_of_val(&address) as libc::socklen_t;
            // SAFETY: the pointer is to a local of the family it names, and the size is its own.
            check(unsafe { libc::bind(descriptor, (&raw const address).cast(), size) })?;
        }
        SocketAddr::V6(address) => {
            let address = libc::sockaddr_in6 {
                sin6_family: family as libc::sa_family_t,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: address.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                sin6_scope_id: address.scope_id(),
            };
            let size = size_of_val(&address) as libc::socklen_t;
            // SAFETY: as above.
            check(unsafe { libc::bind(descriptor, (&raw const address).cast(), size) })?;
        }
    }
    set_backlog(&socket)?;
    Ok(TcpListener::from(socket))
}

/// Connections the system keeps until they are accepted: those of a site whose clients all come
/// back at once. Linux cuts it to `net.core.somaxconn`, which is 4096.
const BACKLOG: i32 = 4_096;

/// Has the system keep those who come until they are accepted, also of a socket that listens
/// already.
pub fn set_backlog(listener: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: the call takes numbers alone, and the descriptor is open while it is borrowed.
    check(unsafe { libc::listen(listener.as_raw_fd(), BACKLOG) })
}

/// Has small writes sent at once. Connections accepted from a listener inherit it.
pub fn set_nodelay(listener: &impl AsRawFd) -> io::Result<()> {
    set_option(listener, libc::IPPROTO_TCP, libc::TCP_NODELAY, true)
}

fn set_option(socket: &impl AsRawFd, level: i32, name: i32, on: bool) -> io::Result<()> {
    let on = libc::c_int::from(on);
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the pointer is to a local that outlives the call, and the size is its own.
    check(unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const on).cast(), size)
    })
}

/// The descriptors this process has inherited and not taken yet. A process can make only one such
/// value.
///
/// The standard library, mio and this module set the close-on-exec flag of every descriptor they
/// open. A descriptor without the flag is therefore inherited and has no owner; taking it sets the
/// flag. [`set_inheritable`] clears the flag of descriptors that have an owner, and therefore fails
/// while this value lives.
pub struct Inherited(());

/// The state of the only [`Inherited`].
static INHERITED: AtomicU8 = AtomicU8::new(NOT_MADE);
const NOT_MADE: u8 = 0;
const IN_USE: u8 = 1;
const GONE: u8 = 2;

impl Inherited {
    /// The inherited descriptors of this process.
    ///
    /// # Errors
    ///
    /// This was called before, or a descriptor was made inheritable.
    pub fn of_process() -> io::Result<Self> {
        let order = Ordering::SeqCst;
        match INHERITED.compare_exchange(NOT_MADE, IN_USE, order, order) {
            Ok(_) => Ok(Inherited(())),
            Err(_) => Err(io::Error::other("descriptors are inherited once in a process")),
        }
    }

    /// Takes the descriptor with this number; an `exec` closes it from now on.
    ///
    /// # Errors
    ///
    /// The number is not an open descriptor, or it is a standard stream, or this process has opened
    /// the descriptor or taken it before.
    pub fn take(&mut self, descriptor: RawFd) -> io::Result<OwnedFd> {
        // SAFETY: the call takes only numbers, and fails if the descriptor is not open.
        let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFD) };
        check(flags)?;
        if descriptor <= libc::STDERR_FILENO || flags & libc::FD_CLOEXEC != 0 {
            let text = format!("descriptor {descriptor} was not inherited, or is taken already");
            return Err(io::Error::other(text));
        }
        // SAFETY: as above.
        check(unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) })?;
        // SAFETY: it is open, and nothing else owns it: see the type.
        Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
    }
}

impl Drop for Inherited {
    fn drop(&mut self) {
        INHERITED.store(GONE, Ordering::SeqCst);
    }
}

/// Whether a descriptor stays open over an `exec`.
///
/// # Errors
///
/// The system's, or [`Inherited`] is in use.
pub fn set_inheritable(descriptor: &impl AsRawFd, on: bool) -> io::Result<()> {
    let order = Ordering::SeqCst;
    if on && INHERITED.compare_exchange(NOT_MADE, GONE, order, order) == Err(IN_USE) {
        return Err(io::Error::other("inherited descriptors are still being taken"));
    }
    let flags = if on { 0 } else { libc::FD_CLOEXEC };
    // SAFETY: the call takes only numbers, and fails if the descriptor is not open.
    check(unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_SETFD, flags) })
}

/// A file that lies in memory alone and has no name; closed by an `exec`.
pub fn memory_file() -> io::Result<OwnedFd> {
    // SAFETY: the name is a constant with its zero.
    let descriptor = unsafe { libc::memfd_create(c"reverb-state".as_ptr(), libc::MFD_CLOEXEC) };
    check(descriptor)?;
    // SAFETY: the descriptor was just made, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Has the signals that [`write_on_signals`] is for wait, also over an `exec`, or come.
pub fn hold_signals(on: bool) -> io::Result<()> {
    // SAFETY: all zeroes is a valid value of this C struct of numbers, which the calls then fill.
    let mut signals: libc::sigset_t = unsafe { std::mem::zeroed() };
    let how = if on { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
    // SAFETY: the pointers are to that local, or to nothing where the calls take that.
    unsafe {
        libc::sigemptyset(&raw mut signals);
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR2] {
            libc::sigaddset(&raw mut signals, signal);
        }
        check(libc::sigprocmask(how, &raw const signals, std::ptr::null_mut()))
    }
}

/// Has writes to a connection that is gone fail, and not end the process: as at the start of every
/// program, which an `exec` that fails takes back.
pub fn ignore_broken_pipes() {
    // SAFETY: no handler is set, and the call may be made at any time.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
}

/// Microseconds of the clock that systemd goes by.
pub fn monotonic_us() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a local of the type the call writes; this clock always is there.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}

/// Whether a write of a line to this file would be taken at once.
pub fn is_writable_now(file: BorrowedFd<'_>) -> bool {
    is_ready_now(file, libc::POLLOUT)
}

/// Whether a read, or an accept on a listening socket, would not block.
pub fn is_readable_now(file: BorrowedFd<'_>) -> bool {
    is_ready_now(file, libc::POLLIN)
}

fn is_ready_now(file: BorrowedFd<'_>, events: libc::c_short) -> bool {
    let mut poll = libc::pollfd { fd: file.as_raw_fd(), events, revents: 0 };
    // SAFETY: the pointer is to one local of the type the call reads and writes, and says so.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
    ready == 1 && poll.revents & events != 0
}

/// Makes the C library map tables of a megabyte and more separately, for good: they grow without a
/// copy, and leave no hole when freed. By default the library does so only until the first of them
/// is freed, and a second wave of connections then takes half as much memory again as the first.
///
/// Returns whether that was done: not if there is another thread, or no way to know.
#[cfg(target_env = "gnu")]
pub fn keep_tables_apart() -> bool {
    if !is_only_thread() {
        return false;
    }
    // SAFETY: the calls take numbers, and set two parameters that the allocator reads without a
    // lock. This is the only thread, and only it can start another.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, TABLE_BYTES);
        // What is free at the end of the rest goes back from so much on; asked for again and again
        // it would cost a call each time.
        libc::mallopt(libc::M_TRIM_THRESHOLD, 2 * TABLE_BYTES);
    }
    true
}

/// Other C libraries have nothing to set.
#[cfg(not(target_env = "gnu"))]
pub fn keep_tables_apart() -> bool {
    false
}

#[cfg(target_env = "gnu")]
fn is_only_thread() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

/// As long as a request may be unless it is configured otherwise; nearly all are shorter by far.
#[cfg(target_env = "gnu")]
const TABLE_BYTES: libc::c_int = 1 << 20;

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

/// From now on each of these signals writes one byte, its number, to this descriptor, which stays
/// open until the process ends.
pub fn write_on_signals(descriptor: OwnedFd, signals: &[libc::c_int]) -> io::Result<()> {
    SIGNAL_DESCRIPTOR.store(descriptor.into_raw_fd(), Ordering::SeqCst);
    for &signal in signals {
        // SAFETY: all zeroes is a valid value of this C struct of numbers and a pointer.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = on_signal as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        // SAFETY: the handler calls only `write`, which is async-signal-safe, on a descriptor that
        // is never closed. Both pointers are valid for the call.
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

/// Bytes of the system's randomness, for which no file need be there.
pub fn random_seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    loop {
        // SAFETY: the pointer is to a local with room for as many bytes. So few come whole or not
        // at all.
        let len = unsafe { libc::getrandom(seed.as_mut_ptr().cast(), seed.len(), 0) };
        match check(len as libc::c_int) {
            Ok(()) => return Ok(seed),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
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
    fn only_what_the_process_was_started_with_is_inherited_and_each_of_it_once() {
        let mut inherited = Inherited::of_process().unwrap();
        assert!(Inherited::of_process().is_err());
        let (ours, _peer) = UnixStream::pair().unwrap();
        for descriptor in [-1, 0, 1, 2, ours.as_raw_fd()] {
            assert!(inherited.take(descriptor).is_err(), "{descriptor}");
        }
        assert!(set_inheritable(&ours, true).is_err());
        // SAFETY: the call takes numbers alone; the copy, which an `exec` leaves open, has no owner.
        let copy = unsafe { libc::dup(ours.as_raw_fd()) };
        let taken = inherited.take(copy).unwrap();
        assert!(inherited.take(copy).is_err());
        drop(inherited);
        assert!(set_inheritable(&taken, true).is_ok());
        assert!(Inherited::of_process().is_err());
    }

    #[test]
    fn the_allocator_is_left_alone_where_there_are_threads() {
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(!keep_tables_apart()));
        });
    }

    #[test]
    fn no_two_seeds_are_the_same() {
        assert_ne!(random_seed().unwrap(), random_seed().unwrap());
    }

    #[test]
    fn the_open_file_limit_is_told() {
        assert!(raise_open_files().unwrap() >= 256);
    }
}
