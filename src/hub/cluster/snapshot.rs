//! Saves and restores this node's place among the other nodes: its id, the envelopes that others may
//! not have received, and how far each of them has been received. The session with Redis is opened
//! again, and what was lost with it is retransmitted, as after any outage.

use super::super::Hub;
use super::super::ids::Now;
use crate::proto::snapshot::{Codec, DecodeResult};

impl<T> Hub<T> {
    /// Says what there is to say, so that nothing is half said.
    pub(in crate::hub) fn flush_bus(&mut self, now: Now) {
        while self.bus_has_input() {
            self.bus_resume(now);
        }
        self.pubsub.publish_changes();
        self.pubsub.bus.iter_mut().for_each(|bus| bus.seal(now.ms));
    }

    /// Writes down the place among the others, if there is one.
    pub(in crate::hub) fn save_bus(&mut self, c: &mut Codec) -> DecodeResult {
        let mut bytes = Vec::new();
        if let Some(bus) = &mut self.pubsub.bus {
            let mut inner = Codec::writer();
            bus.snapshot(&mut inner)?;
            bytes = inner.into_bytes();
        }
        c.bytes(&mut bytes)
    }

    /// Takes the connection to Redis of the hub that was before, to the same Redis.
    pub(in crate::hub) fn keep_session(&mut self, before: &mut Self) {
        if let (Some(bus), Some(before)) = (&mut self.pubsub.bus, &mut before.pubsub.bus) {
            std::mem::swap(&mut bus.session, &mut before.session);
            bus.session.take_limits(&mut before.session);
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
        let is_same = match &mut self.pubsub.bus {
            Some(bus) => bus.is_same_channel(&mut inner)?,
            None => false,
        };
        if let Some(bus) = self.pubsub.bus.as_mut().filter(|_| is_same) {
            bus.now_ms = now.ms;
            bus.snapshot_rest(&mut inner)?;
            inner.end()?;
            self.pubsub.recount_facts();
            self.pubsub.remove_facts_of_orphaned_apps(&mut self.connections, now);
            self.pubsub.bus.iter_mut().for_each(|bus| bus.request_full_syncs(has_new_apps));
            return Ok(());
        }
        self.pubsub
            .known_places()
            .into_iter()
            .for_each(|at| self.pubsub.remove_facts(&mut self.connections, at, false, now));
        self.pubsub.apps.iter_mut().for_each(|app| app.cache.reset_versions());
        Ok(())
    }
}
