//! The open-file limit of the process, and the part of it that connections may use.

use std::os::fd::{AsFd, AsRawFd, RawFd};

use crate::config::Limits;
use crate::hub::Port;

/// The open-file limit, less a reserve that no connection gets.
pub(super) struct Descriptors {
    /// The open-file limit.
    limit: u64,
    /// The descriptors that webhooks may use.
    webhooks: u64,
    /// Set once a connection has received a reserved descriptor. The process then has many
    /// descriptors that are not connections, so the server checks for room before each accept.
    is_tight: bool,
}

impl Descriptors {
    /// `webhooks` is the number of descriptors that webhooks may use.
    pub(super) fn new(limit: u64, webhooks: u64) -> Self {
        Descriptors { limit, webhooks, is_tight: false }
    }

    /// Reserves another number of descriptors for webhooks, after a reload.
    pub(super) fn reserve(&mut self, webhooks: u64) {
        self.webhooks = webhooks;
    }

    /// Sets `limits.connections`, where it is 0, to the number of connections there is room for.
    pub(super) fn bound(&self, limits: &mut Limits) {
        if limits.connections == 0 {
            let room = connections_within(self.limit.saturating_sub(self.webhooks));
            limits.connections = u32::try_from(room).unwrap_or(u32::MAX);
        }
    }

    /// The lowest descriptor number that is reserved; connections get lower ones.
    pub(super) fn reserved_from(&self, port: Port) -> u64 {
        let spare = SPARE_FILES.min(self.limit / 4);
        let spare = if port == Port::Clients { spare } else { spare - spare / 3 };
        self.limit - spare - self.webhooks.min(self.limit / 4)
    }

    /// Whether a descriptor below `reserved_from` is free. Makes no system call while far fewer
    /// connections are open and `is_tight` is not set. `any` is any open descriptor, which is
    /// duplicated for the check.
    pub(super) fn has_room(&self, reserved_from: u64, connections: u64, any: impl AsFd) -> bool {
        let is_near = connections + NEAR_FILES >= reserved_from;
        if !is_near && !self.is_tight {
            return true;
        }
        // A duplicate gets the lowest free number, as a connection would.
        let copy = any.as_fd().try_clone_to_owned();
        copy.is_ok_and(|copy| (copy.as_raw_fd() as u64) < reserved_from)
    }

    /// Records that a connection was accepted with this descriptor.
    pub(super) fn accepted(&mut self, descriptor: RawFd, reserved_from: u64) {
        self.is_tight |= descriptor as u64 >= reserved_from;
    }
}

/// The number of connections for which an open-file limit has room.
pub(crate) fn connections_within(open_files: u64) -> u64 {
    open_files.saturating_sub(RESERVED_FILES).max(1)
}

/// Descriptors subtracted from the open-file limit: about 16 for the event loop, the 24 of
/// [`SPARE_FILES`], and 24 for connections beyond `limits.connections`, which receive a response
/// before the server closes them.
const RESERVED_FILES: u64 = 64;
/// Descriptors reserved for other uses than clients. A reload takes six, Redis with its resolver
/// four, and certificates, the check of `reverb:restart` and Pulse one each. The metrics port and
/// the console may use a third.
const SPARE_FILES: u64 = 24;
/// The check for a free descriptor begins this many connections below the limit: an allowance for
/// descriptors that are not connections.
const NEAR_FILES: u64 = 1_024;
