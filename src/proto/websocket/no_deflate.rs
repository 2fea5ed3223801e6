//! Replaces `deflate` in a build without compression. Offers are declined, so only a client whose
//! connection comes from another binary may send a compressed message.

use super::frame::Frame;
use super::violation::{NO_DEFLATE, Violation};

/// Compresses nothing.
pub struct Deflater;

impl Deflater {
    /// The level has no effect.
    pub fn new(_level: u8) -> Self {
        Deflater
    }

    /// Always `None`.
    pub fn compress(&mut self, _frame: &Frame) -> Option<Frame> {
        None
    }
}

/// The size of a message that was decompressed; there is none.
pub struct Inflated {
    /// The bytes that came out.
    pub bytes: usize,
    /// The blocks of the compressed message.
    pub blocks: usize,
}

/// Decompresses nothing.
#[derive(Default)]
pub struct Inflater(());

impl Inflater {
    /// Always fails.
    ///
    /// # Errors
    ///
    /// The same violation, always.
    pub fn inflate(&mut self, _payload: &[u8], _bytes_max: usize) -> Result<Vec<u8>, Violation> {
        Err(NO_DEFLATE)
    }

    /// Always `None`.
    pub fn take_last(&mut self) -> Option<Inflated> {
        None
    }
}
