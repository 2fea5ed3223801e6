//! This node's place among the others, for the process that takes it: who it is, what it has said
//! and they may not have heard, and how far each of them was heard. The connection to Redis is made
//! anew; what was lost with it is said again, as after any outage.

use super::super::Hub;
use super::super::peer::Now;
use super::nodes::Node;
use super::{Bus, FullSync};
use crate::proto::envelope::NodeId;
use crate::proto::snapshot::{Codec, DecodeResult};

impl<T> Hub<T> {
    /// Says what there is to say, so that nothing is half said.
    pub(in crate::hub) fn settle_bus(&mut self, now: Now) {
        while self.bus_has_input() {
            self.bus_resume(now);
        }
        self.publish_changes();
        self.bus.iter_mut().for_each(|bus| bus.seal(now.ms));
    }

    /// Writes down the place among the others, if there is one.
    pub(in crate::hub) fn save_bus(&mut self, c: &mut Codec) -> DecodeResult {
        let mut bytes = Vec::new();
        if let Some(bus) = &mut self.bus {
            let mut inner = Codec::writer();
            bus.snapshot(&mut inner)?;
            bytes = inner.into_bytes();
        }
        c.bytes(&mut bytes)
    }

    /// Takes the connection to Redis of the hub that was before, to the same Redis.
    pub(in crate::hub) fn keep_link(&mut self, before: &mut Self) {
        if let (Some(bus), Some(before)) = (&mut self.bus, &mut before.bus) {
            std::mem::swap(&mut bus.link, &mut before.link);
            bus.link.take_limits(&mut before.link);
            (bus.hello_due, bus.alive_due) = (before.hello_due, before.alive_due);
        }
    }

    /// Restores this node's place among the others. If the configuration names another channel, or
    /// a single node, this node starts without one: it knows no other nodes and none of their
    /// versions. It requests a full sync from all nodes if there are new apps, whose items it has
    /// ignored until now, and from each node whose facts it rejected and would accept now.
    pub(in crate::hub) fn restore_bus(
        &mut self,
        c: &mut Codec,
        has_new_apps: bool,
        now: Now,
    ) -> DecodeResult {
        let mut bytes = Vec::new();
        c.bytes(&mut bytes)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let mut inner = Codec::reader(bytes);
        let is_same = match &mut self.bus {
            Some(bus) => bus.is_of_channel(&mut inner)?,
            None => false,
        };
        if let Some(bus) = self.bus.as_mut().filter(|_| is_same) {
            bus.now_ms = now.ms;
            bus.snapshot_rest(&mut inner)?;
            inner.end()?;
            self.recount_facts();
            self.forget_facts_of_orphaned_apps(now);
            self.bus.iter_mut().for_each(|bus| bus.request_missing(has_new_apps));
            return Ok(());
        }
        self.known_places().into_iter().for_each(|at| self.forget_facts(at, false, now));
        self.apps.iter_mut().for_each(|app| app.cache.forget_versions());
        Ok(())
    }
}

impl Bus {
    fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        c.text(&mut self.link.channel().to_owned())?;
        self.snapshot_rest(c)
    }

    fn is_of_channel(&self, c: &mut Codec) -> Result<bool, crate::proto::snapshot::DecodeError> {
        let mut channel = String::new();
        c.text(&mut channel)?;
        Ok(channel == self.link.channel())
    }

    fn request_missing(&mut self, has_new_apps: bool) {
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

    fn snapshot_rest(&mut self, c: &mut Codec) -> DecodeResult {
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
    pub(super) fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
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
