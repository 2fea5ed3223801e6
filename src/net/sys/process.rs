//! The only module with unsafe code: inherited descriptors, signals, the allocator, and the random
//! numbers of macOS and FreeBSD, for which neither the standard library nor rustix has safe calls. Each
//! function is short, safe to call, and states why it is sound.
#![expect(unsafe_code, reason = "calls of the C library")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};

// The C libraries name it differently.
#[cfg(target_os = "linux")]
use libc::__errno_location as errno_location;
#[cfg(not(target_os = "linux"))]
use libc::__error as errno_location;

/// The inherited descriptors that this process has not taken yet. Only one such value can be
/// created in a process.
///
/// The standard library, mio and `net::sys` set the close-on-exec flag of every descriptor they
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

    /// Takes the descriptor with this number, and sets its close-on-exec flag.
    ///
    /// # Errors
    ///
    /// The descriptor is not open, is a standard stream, was opened by this process, or was taken
    /// before.
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

impl Inherited {
    /// Closes the inherited descriptors that were not taken, except the standard streams.
    pub fn close_others(&mut self) {
        let listed = std::fs::read_dir("/proc/self/fd").map(|entries| {
            let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            names.filter_map(|name| name.parse().ok()).collect()
        });
        let open: Vec<RawFd> = listed.unwrap_or_else(|_| (0..DESCRIPTORS_TRIED).collect());
        for descriptor in open.into_iter().filter(|number| *number > libc::STDERR_FILENO) {
            // SAFETY: the call takes only numbers, and fails if the descriptor is not open.
            let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFD) };
            if flags != -1 && flags & libc::FD_CLOEXEC == 0 {
                // SAFETY: it is open, and nothing owns it: see the type.
                drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
            }
        }
    }
}

/// Without `/proc`, descriptors below this number are tried. A process gets the lowest free number,
/// and PHP executes the server from a console command, which has opened few.
const DESCRIPTORS_TRIED: RawFd = 4_096;

impl Drop for Inherited {
    fn drop(&mut self) {
        INHERITED.store(GONE, Ordering::SeqCst);
    }
}

/// Sets whether a descriptor survives `exec`.
///
/// # Errors
///
/// The descriptor is not open, or an [`Inherited`] exists.
pub fn set_inheritable(descriptor: &impl AsRawFd, on: bool) -> io::Result<()> {
    let order = Ordering::SeqCst;
    if on && INHERITED.compare_exchange(NOT_MADE, GONE, order, order) == Err(IN_USE) {
        return Err(io::Error::other("inherited descriptors are still being taken"));
    }
    let flags = if on { 0 } else { libc::FD_CLOEXEC };
    // SAFETY: the call takes only numbers, and fails if the descriptor is not open.
    check(unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_SETFD, flags) })
}

/// Blocks or unblocks the handled signals. The mask survives an `exec`.
pub fn hold_signals(on: bool) -> io::Result<()> {
    // SAFETY: all zeroes is a valid value of this C struct of numbers, which the calls then fill.
    let mut signals: libc::sigset_t = unsafe { std::mem::zeroed() };
    let how = if on { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
    // SAFETY: the pointers are to that local, or null where the calls allow it.
    unsafe {
        libc::sigemptyset(&raw mut signals);
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR2] {
            libc::sigaddset(&raw mut signals, signal);
        }
        check(libc::sigprocmask(how, &raw const signals, std::ptr::null_mut()))
    }
}

/// Ignores SIGPIPE, so that a write to a closed connection fails instead of ending the process.
/// Rust programs start with SIGPIPE ignored; `exec` resets that, even if it fails.
pub fn ignore_broken_pipes() {
    // SAFETY: no handler is set, and the call may be made at any time.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
}

/// Makes each of these signals write its number, as one byte, to this descriptor, which is never
/// closed.
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
    // SAFETY: one byte of a local is read. A full pipe is ignored, as it holds requests already, and
    // `errno` is restored for the code that was interrupted.
    unsafe {
        let errno = *errno_location();
        libc::write(SIGNAL_DESCRIPTOR.load(Ordering::SeqCst), (&raw const byte).cast(), 1);
        *errno_location() = errno;
    }
}

/// Random bytes of the system, read without a device file. rustix has such a call for Linux only.
#[cfg(not(target_os = "linux"))]
pub fn random_seed() -> io::Result<[u8; 32]> {
    let mut seed = [0_u8; 32];
    // SAFETY: the call fills this local, or fails. It takes at most 256 bytes.
    check(unsafe { libc::getentropy(seed.as_mut_ptr().cast(), seed.len()) })?;
    Ok(seed)
}

/// Makes the C library map allocations of a megabyte and more separately, so that they grow without
/// a copy and leave no hole when freed. By default the library stops doing so once the first of
/// them is freed; a second wave of connections would then take one and a half times the memory of
/// the first.
///
/// Returns whether this was done. It is not if another thread runs or might run.
#[cfg(target_env = "gnu")]
pub fn keep_tables_apart() -> bool {
    if !is_only_thread() {
        return false;
    }
    // SAFETY: the calls take numbers, and set two parameters that the allocator reads without a
    // lock. This is the only thread, and only it can start another.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, TABLE_BYTES);
        // Free memory at the end of the heap is returned from this size on; a smaller size would
        // cost a call each time it is allocated again.
        libc::mallopt(libc::M_TRIM_THRESHOLD, 2 * TABLE_BYTES);
    }
    true
}

/// Does nothing: other C libraries have no such setting.
#[cfg(not(target_env = "gnu"))]
pub fn keep_tables_apart() -> bool {
    false
}

#[cfg(target_env = "gnu")]
fn is_only_thread() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

/// The default of the longest request; nearly all requests are far shorter.
#[cfg(target_env = "gnu")]
const TABLE_BYTES: libc::c_int = 1 << 20;

/// Returns free memory of the process to the system, if the C library can.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes a number, and may be made at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

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
}
