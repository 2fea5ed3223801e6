//! Echo mode, for WebSocket conformance suites: the hub sends every message back to its sender and
//! does not interpret it. Handshakes, frames, queues and closing work as usual.

use super::Hub;

impl<T> Hub<T> {
    /// Turns echo mode on: every WebSocket is accepted, regardless of its path, and receives only
    /// its own messages. The limits of the first app apply, so there must be one.
    #[doc(hidden)]
    pub fn echo(&mut self) {
        self.echoes = true;
    }
}
