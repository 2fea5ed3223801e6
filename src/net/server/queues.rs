//! The queues of the event loop itself. Connections with input or output wait in queues of the hub.

use std::collections::VecDeque;

use crate::hub::ConnId;

/// Connections that wait for a step of this or a later turn. A queued connection may have been
/// closed since, so each step looks it up in the hub.
#[derive(Default)]
pub(super) struct Queues {
    /// Connections whose TLS handshake can proceed, in the order they became ready.
    pub handshakes: VecDeque<ConnId>,
    /// Connections to close at the end of the turn.
    pub to_close: Vec<ConnId>,
}

impl Queues {
    /// Replaces the ids by new ones; `new_id` returns `None` for a closed connection.
    pub(super) fn rename(&mut self, new_id: impl Fn(&ConnId) -> Option<ConnId>) {
        self.handshakes = self.handshakes.iter().filter_map(&new_id).collect();
        self.to_close = self.to_close.iter().filter_map(&new_id).collect();
    }
}
