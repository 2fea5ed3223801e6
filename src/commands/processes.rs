//! The processes that listen at the addresses of a server, with their flags, limits and folders. Linux
//! has all of this in `/proc`; elsewhere each server writes it to a file while it runs.

mod linux;
mod listening;
mod pid_file;

use std::io;
use std::path::{Path, PathBuf};

pub(super) use listening::{Listening, Process};
pub(super) use pid_file::PidFile;

use crate::config::Server;
use crate::net::sys::HAS_PROC;

/// What listens at the addresses of this server.
///
/// # Errors
///
/// A host cannot be resolved.
pub(super) fn listening_at(server: &Server) -> io::Result<Listening> {
    if HAS_PROC { linux::listening_at(server) } else { pid_file::listening_at(server) }
}

/// Whether the flags of a server name this configuration file; `None` if they are not readable.
pub(super) fn reads(process: i32, file: &Path) -> Option<bool> {
    if HAS_PROC { linux::reads(process, file) } else { pid_file::reads(process, file) }
}

/// The open-file limit of a server, if it is readable.
pub(super) fn open_files(process: i32) -> Option<u64> {
    if HAS_PROC { linux::open_files(process) } else { pid_file::open_files(process) }
}

/// Whether a server handles SIGHUP; `None` if that is not known. In a terminal it does not, and the
/// signal ends it.
pub(super) fn handles_hangups(process: i32) -> Option<bool> {
    if HAS_PROC { linux::handles_hangups(process) } else { None }
}

/// The folders in which a server may have files (see `runtime_folder`), best first, and its user.
///
/// # Errors
///
/// They are not readable, for lack of permission.
pub(super) fn runtime_folders(process: i32) -> io::Result<(Vec<PathBuf>, u32)> {
    if HAS_PROC { linux::runtime_folders(process) } else { pid_file::runtime_folders(process) }
}

/// The folder in which `reverb reload` waits for the result of a server, on systems without abstract
/// addresses.
pub(super) fn outcome_folder(process: i32) -> Option<PathBuf> {
    if HAS_PROC { None } else { runtime_folders(process).ok()?.0.pop() }
}
