//! The inbox of each node: a Redis channel that one node subscribes to. What only one node needs,
//! retransmissions and full syncs, goes there and costs the others nothing. If the Redis user lacks
//! the permission for these channels, these messages go over the shared channel. They are published
//! in `inboxes`.

/// Which inboxes the connections to Redis can use.
#[derive(Debug, Default)]
pub(in crate::hub) struct Inbox {
    /// Whether this node is subscribed to its own inbox.
    pub is_open: bool,
    /// Whether Redis has refused a message to the inbox of another node.
    pub are_refused: bool,
}
