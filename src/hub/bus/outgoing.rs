//! The progress of what this node sends to the inbox of another. It is written in `transfer`.

use std::ops::Range;

use super::full_sync::FullSync;
use crate::proto::envelope::{CHUNK_BYTES, Transfer};

/// The envelopes that this node is retransmitting to the inbox of another.
#[derive(Debug, Default)]
pub(in crate::hub) struct Resend {
    /// The numbers that are yet to be written.
    pub numbers: Range<u64>,
    /// Bytes of this chunk that were written.
    pub bytes: usize,
}

/// A full sync that this node sends to the inbox of another.
pub(in crate::hub) struct OutgoingSync {
    /// The next part.
    pub next: Transfer,
    /// How far the state was sent.
    pub progress: FullSync,
    /// How many more bytes the other node has requested.
    pub bytes_left: usize,
}

impl OutgoingSync {
    /// Sends everything again.
    pub(in crate::hub) fn restart(&mut self) {
        self.next.part = 0;
        self.progress = FullSync::new(self.progress.with_cache);
        self.bytes_left = CHUNK_BYTES;
    }
}
