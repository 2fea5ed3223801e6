//! Publishes to the inboxes of other nodes, if Redis permits it. The state is in `inbox`; what is
//! published there is decided in `bus/transfer`.

use super::super::nodes::Node;
use super::{Purpose, RedisSession};
use crate::proto::envelope::NodeId;
use crate::proto::websocket::Frame;

impl RedisSession {
    /// Whether other nodes may answer in the inbox of this node.
    pub(in crate::hub) fn has_inbox(&self) -> bool {
        self.is_up() && self.inbox.is_open
    }

    /// Whether this node asks another to answer in the inbox of this node. In a Redis Cluster both
    /// must use the same kind of messages.
    pub(in crate::hub) fn opens_inbox_to(&self, node: &Node) -> bool {
        self.has_inbox() && node.is_sharded == self.is_sharded()
    }

    /// Whether this node may publish to the inbox of another, if that has one.
    pub(in crate::hub) fn reaches_inbox_of(&self, node: &Node) -> bool {
        self.reaches_inboxes() && node.is_sharded == self.is_sharded()
    }

    /// Whether this node may publish to the inboxes of other nodes.
    pub(in crate::hub) fn reaches_inboxes(&self) -> bool {
        self.is_up() && !self.inbox.are_refused
    }

    /// Publishes a message to the inbox of a node.
    pub(in crate::hub) fn publish_to(&mut self, node: NodeId, text: Frame, now_ms: u64) {
        let inbox = self.inbox_of(node);
        self.send(&inbox, text, Purpose::ToInbox, now_ms);
    }

    /// Logs, once in the lifetime of the process, that the Redis user lacks a permission.
    pub(in crate::hub) fn warn_of_inboxes(&mut self, why: &str) {
        if !std::mem::replace(&mut self.is_refusal_logged, true) {
            let rule = self.inbox_of(self.node);
            let prefix = rule.rsplit_once(':').map_or("", |(prefix, _)| prefix);
            log::warn!(
                "Redis does not permit an inbox for each node ({why}), so retransmissions and full \
                 syncs for one node go to all nodes; add &{prefix}:* to the ACL rules of \
                 REDIS_USERNAME"
            );
        }
    }
}
