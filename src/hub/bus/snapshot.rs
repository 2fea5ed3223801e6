//! The part of a snapshot that belongs to the bus: each method encodes or decodes, depending on the
//! direction of the codec. What is done with a decoded state is in `cluster/snapshot`.

use super::nodes::Node;
use super::{Bus, FullSync};
use crate::proto::envelope::NodeId;
use crate::proto::snapshot::{Codec, DecodeError, DecodeResult};

impl Bus {
    /// Encodes the bus: the Redis channel, and then all that depends on it.
    pub(in crate::hub) fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        c.text(&mut self.session.channel().to_owned())?;
        self.snapshot_rest(c)
    }

    /// Decodes the Redis channel. Returns whether it is the one of this bus.
    pub(in crate::hub) fn is_same_channel(&self, c: &mut Codec) -> Result<bool, DecodeError> {
        let mut channel = String::new();
        c.text(&mut channel)?;
        Ok(channel == self.session.channel())
    }

    /// Makes nodes resynchronise whose state is incomplete after a reload: all nodes if there are
    /// new apps, otherwise those with rejected facts that have room now.
    pub(in crate::hub) fn request_full_syncs(&mut self, has_new_apps: bool) {
        let facts_max = self.facts_max;
        for node in self.nodes.iter_mut() {
            let has_room = node.has_rejected_facts && node.facts < facts_max;
            if has_new_apps || has_room {
                node.forget_sync();
                node.sync_request_ms = None;
                node.wants_cache |= has_new_apps;
                node.has_rejected_facts &= !has_room;
            }
        }
    }

    /// Makes all nodes resynchronise because of an app that was added. While apps are added one after
    /// the other, the pause between two requests applies.
    pub(in crate::hub) fn request_syncs_of_new_apps(&mut self) {
        for node in self.nodes.iter_mut() {
            node.forget_sync();
            node.wants_cache = true;
        }
    }

    /// Encodes or decodes everything after the Redis channel.
    pub(in crate::hub) fn snapshot_rest(&mut self, c: &mut Codec) -> DecodeResult {
        c.number(&mut self.id.0)?;
        c.number(&mut self.started_ms)?;
        c.number(&mut self.clock)?;
        c.number(&mut self.next_alive_ms)?;
        c.int(&mut self.sessions)?;
        self.counters.numbers().into_iter().try_for_each(|number| c.number(number))?;
        self.queue.snapshot(c)?;
        self.nodes.snapshot(c)?;
        // A full sync in progress starts again from the beginning.
        let syncing = self.full_sync.as_ref().map(|full_sync| full_sync.with_cache);
        let mut with_cache = match (syncing, self.next_full_sync) {
            (None, again) => again,
            (Some(current), next) => Some(current || next == Some(true)),
        };
        c.option(&mut with_cache, Codec::flag)?;
        if c.reads() {
            self.full_sync = with_cache.map(FullSync::new);
        }
        Ok(())
    }
}

impl Node {
    /// Encodes or decodes the node.
    pub(in crate::hub) fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        c.number(&mut self.id.0)?;
        c.option(&mut self.next, Codec::number)?;
        let flags = [
            &mut self.is_live,
            &mut self.has_left,
            &mut self.sends_webhooks,
            &mut self.is_synced,
            &mut self.is_syncing,
            &mut self.requests.retransmission,
            &mut self.requests.full_sync,
            &mut self.wants_cache,
            &mut self.has_rejected_facts,
        ];
        flags.into_iter().try_for_each(|flag| c.flag(flag))?;
        c.number(&mut self.last_seen_ms)?;
        c.number(&mut self.acknowledged)?;
        for at_ms in [&mut self.regressed_ms, &mut self.sync_request_ms] {
            c.option(at_ms, Codec::number)?;
        }
        Ok(())
    }
}

impl Default for Node {
    fn default() -> Self {
        Node::new(NodeId(0), 0)
    }
}
