//! The part of a snapshot that belongs to the bus: written and read by one method each.

use super::nodes::Node;
use super::{Bus, FullSync};
use crate::proto::envelope::NodeId;
use crate::proto::snapshot::{Codec, DecodeResult};

impl Bus {
    pub(in crate::hub) fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        c.text(&mut self.link.channel().to_owned())?;
        self.snapshot_rest(c)
    }

    pub(in crate::hub) fn is_of_channel(
        &self,
        c: &mut Codec,
    ) -> Result<bool, crate::proto::snapshot::DecodeError> {
        let mut channel = String::new();
        c.text(&mut channel)?;
        Ok(channel == self.link.channel())
    }

    pub(in crate::hub) fn request_missing(&mut self, has_new_apps: bool) {
        let facts_max = self.facts_max;
        for node in self.nodes.iter_mut() {
            let has_room = node.is_over && node.facts < facts_max;
            if has_new_apps || has_room {
                (node.is_synced, node.is_syncing, node.tell_ms) = (false, false, None);
                node.wants_cache |= has_new_apps;
                node.is_over &= !has_room;
            }
        }
    }

    pub(in crate::hub) fn snapshot_rest(&mut self, c: &mut Codec) -> DecodeResult {
        c.number(&mut self.id.0)?;
        c.number(&mut self.started_ms)?;
        c.number(&mut self.clock)?;
        c.number(&mut self.alive_ms)?;
        c.int(&mut self.links)?;
        self.counters.numbers().into_iter().try_for_each(|number| c.number(number))?;
        self.queue.snapshot(c)?;
        self.nodes.snapshot(c)?;
        // Whoever was being told everything is told from the beginning.
        let told = self.full_sync.as_ref().map(|full_sync| full_sync.kept);
        let mut tells = match (told, self.next_full_sync) {
            (None, again) => again,
            (Some(kept), again) => Some(kept || again == Some(true)),
        };
        c.option(&mut tells, Codec::flag)?;
        if c.reads() {
            self.full_sync = tells.map(FullSync::new);
        }
        Ok(())
    }
}

impl Node {
    /// Writes it down, or reads it.
    pub(in crate::hub) fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        c.number(&mut self.id.0)?;
        c.option(&mut self.next, Codec::number)?;
        let flags = [
            &mut self.is_here,
            &mut self.has_left,
            &mut self.is_synced,
            &mut self.is_syncing,
            &mut self.asks.again,
            &mut self.asks.tell,
            &mut self.wants_cache,
            &mut self.is_over,
        ];
        flags.into_iter().try_for_each(|flag| c.flag(flag))?;
        c.number(&mut self.last_seen_ms)?;
        c.number(&mut self.acknowledged)?;
        for at_ms in [&mut self.ahead_ms, &mut self.tell_ms] {
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
