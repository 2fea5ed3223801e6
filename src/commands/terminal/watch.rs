//! The end of a command that would run for ever: by a signal, or because the reader of its output has
//! gone.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::{process, thread};

use crate::commands::Failure;
use crate::net::sys;

/// Makes SIGINT, SIGTERM and the end of the reader of standard output end this process with exit code
/// 0. Each line is one write, so only one that does not fit in the pipe can be cut.
pub(super) fn end_quietly() -> Result<(), Failure> {
    let signals = signals(&[libc::SIGINT, libc::SIGTERM])?;
    thread::spawn(move || {
        loop {
            let waited = sys::wait_for_input([signals.as_fd()], io::stdout().as_fd(), None);
            match waited {
                Ok((false, [false])) => {}
                // Without this wait the signals would have no effect.
                Ok(_) | Err(_) => process::exit(0),
            }
        }
    });
    Ok(())
}

/// A socket that receives a byte for each of these signals: its number.
pub(super) fn signals(numbers: &[libc::c_int]) -> Result<UnixStream, Failure> {
    let pipe = || -> io::Result<UnixStream> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        sys::write_on_signals(writer.into(), numbers)?;
        Ok(reader)
    };
    pipe().map_err(|error| Failure::at_work(format!("cannot handle signals: {error}")))
}
