//! Calls of the operating system that the standard library does not have: processors, processor
//! time, and connections from a chosen address. This module is independent of what is measured.

use std::io;
use std::mem::size_of;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::FromRawFd;

use mio::net::TcpStream;

/// The processors this process may run on.
pub fn processors() -> Vec<usize> {
    // SAFETY: all zeroes is a valid value of this set of bits, and the call writes no more than
    // the given size.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set);
        set
    };
    // SAFETY: the number is below the size of the set.
    (0..libc::CPU_SETSIZE as usize).filter(|&n| unsafe { libc::CPU_ISSET(n, &set) }).collect()
}

/// Keeps this thread, and the processes it starts from now on, on one processor.
pub fn pin(processor: usize) {
    // SAFETY: as above; the call reads no more than the given size.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(processor, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

/// Lowers the priority of the calling thread.
pub fn lower_priority() {
    // SAFETY: the call takes only numbers; 0 is the calling thread.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) };
}

/// Processor time of a whole process so far, in nanoseconds.
pub fn process_cpu_ns(pid: u32) -> u64 {
    let mut clock: libc::clockid_t = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both pointers are to locals of the types the calls write.
    let failed = unsafe {
        libc::clock_getcpuclockid(pid as libc::pid_t, &raw mut clock) != 0
            || libc::clock_gettime(clock, &raw mut time) != 0
    };
    assert!(!failed, "process {pid} has exited");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Starts to connect from this address, so that more connections are possible than one address
/// has ports. `receive_buffer` is the size of the kernel's receive buffer.
pub fn connect_from(
    source: Ipv4Addr,
    target: SocketAddrV4,
    receive_buffer: Option<i32>,
) -> io::Result<TcpStream> {
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: the call takes numbers alone; the descriptor is owned by the stream from here on.
    let stream = unsafe {
        let descriptor = check(libc::socket(libc::AF_INET, kind, 0))?;
        TcpStream::from_raw_fd(descriptor)
    };
    set_option(&stream, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    // The port is chosen when the target is known: it may be used for several targets.
    set_option(&stream, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
    if let Some(bytes) = receive_buffer {
        set_option(&stream, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes)?;
    }
    let size = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&stream);
    let (from, to) = (address(SocketAddrV4::new(source, 0)), address(target));
    // SAFETY: the pointers are to locals that outlive the calls, and the size is their own.
    unsafe {
        check(libc::bind(descriptor, (&raw const from).cast(), size))?;
        match check(libc::connect(descriptor, (&raw const to).cast(), size)) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
    }
    Ok(stream)
}

fn set_option(socket: &TcpStream, level: i32, name: i32, value: i32) -> io::Result<()> {
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(socket);
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the pointer is to a local that outlives the call, and the size is its own.
    check(unsafe { libc::setsockopt(descriptor, level, name, (&raw const value).cast(), size) })?;
    Ok(())
}

fn address(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
