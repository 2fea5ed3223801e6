//! A message that was longer than `limits.redis_reply_bytes` here, of a node that may say more. It is
//! passed over, and counted as missing: to ask for it again would bring it again.

use super::super::Hub;
use super::super::peer::Now;
use super::hear::Turn;
use crate::proto::envelope;

impl<T> Hub<T> {
    /// A message of so many bytes was passed over, whose text begins with `head`.
    pub(super) fn pass_over(&mut self, bytes: u64, head: &[u8], now: Now) {
        let max = self.limits.redis_reply_bytes;
        let Some(bus) = &mut self.bus else { return };
        let text = format!(
            "a message of {bytes} bytes from Redis was skipped: limits.redis_reply_bytes is {max}; \
             raise it here to what the other nodes have, or lower their max_request_size"
        );
        bus.note(now.ms, &text);
        let Some((node, seq)) = envelope::begins(head) else {
            bus.counters.foreign += 1;
            return;
        };
        if node == bus.id {
            return;
        }
        let Some(at) = bus.meet(node, Some(seq), now.ms) else { return };
        if bus.turn(at, seq, now.ms) != Turn::Next {
            return;
        }
        (bus.counters.heard, bus.counters.missing) =
            (bus.counters.heard - 1, bus.counters.missing + 1);
        let Some(node) = bus.nodes.get(at) else { return };
        // Facts may have been lost with it. The node is asked for them, but not for what its cache
        // channels keep, which may be too long again; nor while it tells them, which would not end.
        if !node.is_telling {
            (node.is_whole, node.wants_kept) = (false, false);
            node.ask_to_tell(now.ms);
        }
    }
}
