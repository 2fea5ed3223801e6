//! Saves and restores this node's membership in the cluster: its id, the envelopes that other nodes
//! may not have received, and the progress of each node. The session with Redis is not saved: after
//! it is opened again, lost messages are retransmitted, as after any outage. The layout is in
//! `bus/snapshot`.

use super::super::Hub;
use super::super::bus::HAS_REDIS;
use super::super::ids::Now;
use crate::proto::snapshot::{Codec, DecodeResult};

impl<T> Hub<T> {
    /// Handles all held input and queues all pending items, so that no item is handled or sent in
    /// part.
    pub(in crate::hub) fn flush_bus(&mut self, now: Now) {
        if !HAS_REDIS {
            return;
        }
        while self.bus_has_input() {
            self.bus_resume(now);
        }
        self.pubsub.publish_changes();
        self.pubsub.bus.iter_mut().for_each(|bus| bus.seal(now.ms));
    }

    /// Saves the bus, if there is one.
    pub(in crate::hub) fn save_bus(&mut self, c: &mut Codec) -> DecodeResult {
        let mut bytes = Vec::new();
        if let Some(bus) = self.pubsub.bus.as_mut().filter(|_| HAS_REDIS) {
            let mut inner = Codec::writer();
            bus.snapshot(&mut inner)?;
            bytes = inner.into_bytes();
        }
        c.bytes(&mut bytes)
    }

    /// Takes over the session with Redis from the previous hub; the Redis is the same.
    pub(in crate::hub) fn keep_session(&mut self, before: &mut Self) {
        if let (Some(bus), Some(before)) = (&mut self.pubsub.bus, &mut before.pubsub.bus) {
            std::mem::swap(&mut bus.session, &mut before.session);
            bus.session.take_limits(&mut before.session);
            (bus.hello_pending, bus.alive_pending) = (before.hello_pending, before.alive_pending);
        }
    }

    /// Restores the bus. If the configuration names another Redis channel, or a single node, the
    /// saved state is dropped: this node then knows no other nodes and none of their versions.
    /// Requests a full sync from all nodes if there are new apps, whose items were ignored until
    /// now; and from each node with rejected facts that have room now.
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
        let is_same = match self.pubsub.bus.as_mut().filter(|_| HAS_REDIS) {
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
            .for_each(|at| self.pubsub.remove_all_facts(&mut self.connections, at, now));
        self.pubsub.apps.iter_mut().for_each(|app| app.cache.reset_versions());
        Ok(())
    }
}
