//! Handles a message that is longer than this node's `limits.redis_reply_bytes`, from a node with a
//! higher limit. The message is skipped and counted as missing: a retransmission would be too long
//! as well.

use super::super::bus::SequenceCheck;
use super::super::ids::Now;
use super::super::pubsub::PubSub;
use crate::proto::envelope;

impl PubSub {
    /// Handles a skipped message of `bytes` bytes, whose text begins with `head`.
    pub(in crate::hub) fn skip_message(&mut self, bytes: u64, head: &[u8], now: Now) {
        let max = self.limits.redis_reply_bytes;
        let Some(bus) = &mut self.bus else { return };
        let text = format_args!(
            "a message of {bytes} bytes from Redis was skipped: limits.redis_reply_bytes is {max}; \
             raise it here to what the other nodes have, or lower their max_request_size"
        );
        bus.warnings.warn(now.ms, text);
        let Some((node, seq)) = envelope::parse_head(head) else {
            bus.counters.foreign += 1;
            return;
        };
        if node == bus.id {
            return;
        }
        let Some(at) = bus.identify_node(node, seq, now.ms) else { return };
        let Some(seq) = seq else { return bus.skip_part(at, now.ms) };
        if bus.check_sequence(at, seq, now.ms) != SequenceCheck::Next {
            return;
        }
        (bus.counters.received, bus.counters.missing) =
            (bus.counters.received - 1, bus.counters.missing + 1);
        let Some(node) = bus.nodes.get(at) else { return };
        // The message may have contained facts, so a full sync is requested. It excludes cached
        // events, which may be too long again. While a full sync is in progress no other is
        // requested, or they would never end.
        if !node.is_syncing {
            (node.is_synced, node.wants_cache) = (false, false);
            node.request_full_sync(now.ms);
        }
    }
}
