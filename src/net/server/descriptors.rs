//! The open-file limit of the process, and the part of it that connections may use.

use std::os::fd::{AsFd, AsRawFd, RawFd};

use crate::config::Limits;

/// The open-file limit, less a reserve that no connection gets.
pub(super) struct Descriptors {
    /// The open-file limit.
    limit: u64,
    /// Set once a connection was given a reserved descriptor: the process has many descriptors
    /// that are not connections, so the server checks for room before each accept.
    is_tight: bool,
}

impl Descriptors {
    pub(super) fn new(limit: u64) -> Self {
        Descriptors { limit, is_tight: false }
    }

    /// Sets `limits.connections`, where it is 0, to the number of connections there is room for.
    pub(super) fn bound(&self, limits: &mut Limits) {
        if limits.connections == 0 {
            let room = connections_within(self.limit);
            limits.connections = u32::try_from(room).unwrap_or(u32::MAX);
        }
    }

    /// The lowest descriptor number that is reserved; connections get lower ones.
    pub(super) fn reserved_from(&self, is_for_metrics: bool) -> u64 {
        let spare = SPARE_FILES.min(self.limit / 4);
        let spare = if is_for_metrics { spare - spare / 3 } else { spare };
        self.limit - spare
    }

    /// Whether a descriptor below `reserved_from` is free. With far fewer connections open the
    /// answer needs no system call, unless `is_tight` is set. `any` is any descriptor of this
    /// process.
    pub(super) fn has_room(&self, reserved_from: u64, connections: u64, any: impl AsFd) -> bool {
        let is_near = connections + NEAR_FILES >= reserved_from;
        if !is_near && !self.is_tight {
            return true;
        }
        // A copy takes the lowest number that is free, as a connection would.
        let copy = any.as_fd().try_clone_to_owned();
        copy.is_ok_and(|copy| (copy.as_raw_fd() as u64) < reserved_from)
    }

    /// A connection was accepted with this descriptor.
    pub(super) fn accepted(&mut self, descriptor: RawFd, reserved_from: u64) {
        self.is_tight |= descriptor as u64 >= reserved_from;
    }
}

/// How many connections there is room for within an open-file limit.
pub(crate) fn connections_within(open_files: u64) -> u64 {
    open_files.saturating_sub(RESERVED_FILES).max(1)
}

/// Descriptors that do not count as room for connections: about 16 of the event loop, the 24 of
/// [`SPARE_FILES`], and 24 for connections beyond `limits.connections`, which the server answers
/// and closes.
const RESERVED_FILES: u64 = 64;
/// Descriptors that no client gets. A reload takes six, Redis with its resolver four, and
/// certificates, the check of `reverb:restart` and Pulse one each. The metrics port may use a
/// third.
const SPARE_FILES: u64 = 24;
/// The server checks for a free descriptor from this many connections below the limit on: an
/// allowance for descriptors that are not connections.
const NEAR_FILES: u64 = 1_024;
