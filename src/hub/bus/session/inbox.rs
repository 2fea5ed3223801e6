//! The inbox of each node: a Redis channel that one node subscribes to. What only one node needs,
//! retransmissions and full syncs, goes there and costs the others nothing. A Redis user may lack the
//! permission for these channels; then everything goes over the shared channel. The session uses them
//! in `inboxes`.

/// Which inboxes this session can use.
#[derive(Debug, Default)]
pub(in crate::hub) struct Inbox {
    /// Whether this node is subscribed to its own inbox.
    pub is_open: bool,
    /// Whether Redis has refused a message to the inbox of another node.
    pub are_refused: bool,
}
