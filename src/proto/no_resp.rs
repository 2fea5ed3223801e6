//! Replaces `resp` in a build without Redis. The hub's session with Redis compiles but is never
//! connected: a configuration with several nodes is rejected at the start.

#[path = "resp/cluster.rs"]
pub mod cluster;
#[path = "resp/incoming.rs"]
mod incoming;
#[path = "resp/login.rs"]
pub mod login;

pub use cluster::{ClusterNode, SlotRange};
pub use incoming::{Greeting, Incoming, ProtocolError};

/// Stands in for the reader; it reads nothing.
pub struct Reader;

impl Reader {
    /// A reader; the limit has no effect.
    pub fn new(_bytes_max: usize) -> Self {
        Reader
    }

    /// Has no effect.
    pub fn set_bytes_max(&mut self, _bytes_max: usize) {}

    /// Always fails.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::Malformed`], always.
    pub fn next(&mut self, _bytes: &mut &[u8]) -> Result<Option<Incoming>, ProtocolError> {
        Err(ProtocolError::Malformed)
    }
}

/// Encodes no command; the result is empty.
pub fn command(_words: &[&[u8]]) -> Vec<u8> {
    Vec::new()
}

/// Encodes nothing.
pub fn publish_head(_name: &str, _channel: &str, _len: usize) -> Vec<u8> {
    Vec::new()
}
