//! A hub that gives every message back to whoever sent it: for the suites that examine WebSocket
//! servers by what they echo. Accepting, handshake, frames, queues and closing are the hub's own;
//! only what the messages mean is left out.

use super::Hub;

impl<T> Hub<T> {
    /// From now on every WebSocket is taken in, whatever its path, and told nothing but what it
    /// said itself. There must be an app, whose limits count.
    #[doc(hidden)]
    pub fn echo(&mut self) {
        self.echoes = true;
    }
}
