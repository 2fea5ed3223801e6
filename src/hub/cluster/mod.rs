//! The part of the hub that exchanges messages with other nodes, and the methods that the owner of
//! the sockets to Redis calls. The sequence of envelopes and the session with Redis are in `bus`.

mod full_sync;
mod receive;
mod remote_state;
mod snapshot;
#[cfg(test)]
#[cfg(feature = "redis")]
mod tests;
mod too_long;
mod webhooks;

use super::Hub;
use super::bus::{BusCounters, BusLink, BusWant, HAS_REDIS, SessionEvent, Unfinished};
use super::ids::Now;
use super::outbox::Outbox;
use super::pubsub::PubSub;
use crate::config::HostPort;
use crate::proto::envelope::Item;

impl<T> Hub<T> {
    /// What the owner must do with the sockets to Redis; [`BusWant::Nothing`] for a single node.
    /// Also fills [`Hub::bus_outbox`], so call it at the end of every turn.
    pub fn bus_wants(&mut self, now: Now) -> BusWant {
        self.pubsub.publish_changes();
        self.publish_webhook_reports();
        self.pubsub.continue_full_sync(now);
        self.pubsub.continue_transfers(now);
        let Some(bus) = &mut self.pubsub.bus else { return BusWant::Nothing };
        bus.now_ms = now.ms;
        bus.seal(now.ms);
        bus.write(now.ms);
        bus.session.wants(&mut self.random, now.ms)
    }

    /// The server to connect to in a Redis Cluster: the owner of the channel, or a server that may
    /// know it, such as the configured one; `None` without a cluster. Call it once for each
    /// [`BusWant::Connect`].
    pub fn bus_server(&mut self) -> Option<HostPort> {
        self.pubsub.bus.as_mut()?.session.next_server()
    }

    /// Both sockets to Redis are connected.
    pub fn bus_connected(&mut self, now: Now) {
        if let Some(bus) = &mut self.pubsub.bus {
            bus.session.connected(bus.id, now.ms);
        }
    }

    /// A socket to Redis could not be connected, or was closed; `why` is a clause for the log.
    pub fn bus_lost(&mut self, why: &str, now: Now) {
        if let Some(bus) = &mut self.pubsub.bus {
            bus.session.disconnected(why, &mut self.random, now.ms);
        }
    }

    /// Handles bytes from Redis. Input of the subscriber that exceeds this turn's budget is held: the
    /// caller must not read more from it while [`Hub::bus_has_input`] is true. The publisher receives
    /// replies only, no more than commands were sent.
    pub fn bus_receive(&mut self, link: BusLink, bytes: &[u8], now: Now) {
        self.connections.happenings.set_now(now);
        match link {
            BusLink::Subscriber => self.receive_messages(bytes, now),
            BusLink::Publisher => self.receive_replies(bytes, now),
        }
    }

    fn receive_replies(&mut self, mut bytes: &[u8], now: Now) {
        let Some(bus) = &mut self.pubsub.bus else { return };
        bus.now_ms = now.ms;
        loop {
            match bus.session.next_event(BusLink::Publisher, &mut bytes, now.ms) {
                Ok(None) => return,
                Ok(Some(SessionEvent::Up)) => bus.begin_session(now.ms),
                Ok(Some(SessionEvent::Receivers(count))) => bus.check_receivers(count, now.ms),
                Ok(Some(SessionEvent::NoInboxes)) => bus.drop_transfers(),
                // This connection has no subscription.
                Ok(Some(SessionEvent::Message(_) | SessionEvent::TooLong(..))) => {}
                Ok(Some(SessionEvent::Nothing)) => {}
                Err(why) => return bus.session.abort(&why, &mut self.random, now.ms),
            }
        }
    }

    fn receive_messages(&mut self, mut bytes: &[u8], now: Now) {
        let work_end = self.connections.work.side_work_end();
        self.refresh_webhook_nodes(now);
        // The first message is handled even if the share is used up, so that input never stalls.
        let mut is_first = true;
        loop {
            let must_stop = !std::mem::take(&mut is_first) && self.is_bus_share_over(work_end);
            let Some(bus) = &mut self.pubsub.bus else { return };
            bus.now_ms = now.ms;
            if must_stop {
                bus.session.hold(bytes);
                break;
            }
            if let Some(Unfinished { text, handled }) = bus.unfinished.take() {
                self.receive_envelope(text, handled, work_end, now);
                continue;
            }
            if let Some(text) = bus.take_early() {
                self.receive_envelope(text, 0, work_end, now);
                continue;
            }
            match bus.session.next_event(BusLink::Subscriber, &mut bytes, now.ms) {
                Ok(None) => break,
                Ok(Some(SessionEvent::Message(text))) => {
                    self.receive_envelope(text, 0, work_end, now)
                }
                Ok(Some(SessionEvent::TooLong(bytes, head))) => {
                    self.pubsub.skip_message(bytes, &head, now)
                }
                Ok(Some(SessionEvent::Up)) => bus.begin_session(now.ms),
                // This connection publishes nothing.
                Ok(Some(SessionEvent::Receivers(_) | SessionEvent::NoInboxes)) => {}
                Ok(Some(SessionEvent::Nothing)) => {}
                Err(why) => {
                    bus.session.abort(&why, &mut self.random, now.ms);
                    break;
                }
            }
        }
        self.refresh_webhook_nodes(now);
        self.count_webhook_work();
        self.drop_slow(now);
    }

    /// Whether the rest of the input from other nodes must wait for the next turn: the work has
    /// reached `work_end`, or too much output waits to be written.
    fn is_bus_share_over(&self, work_end: u64) -> bool {
        self.connections.work.done() >= work_end
            || (self.connections.work.has_turns() && self.connections.has_write_backlog())
    }

    /// Handles held input from Redis.
    pub fn bus_resume(&mut self, now: Now) {
        let held = self
            .pubsub
            .bus
            .as_mut()
            .filter(|bus| bus.has_input())
            .map(|bus| bus.session.take_held());
        if let Some(held) = held {
            self.connections.happenings.set_now(now);
            self.receive_messages(&held, now);
        }
    }

    /// Whether input from Redis is held.
    pub fn bus_has_input(&self) -> bool {
        self.pubsub.bus.as_ref().is_some_and(|bus| bus.has_input())
    }

    /// The output for one of the connections to Redis.
    pub fn bus_outbox(&mut self, link: BusLink) -> Option<&mut Outbox> {
        Some(self.pubsub.bus.as_mut()?.session.outbox(link))
    }

    /// Publishes this node's goodbye. The node publishes nothing afterwards.
    pub fn bus_leave(&mut self, now: Now) {
        if let Some(bus) = &mut self.pubsub.bus {
            bus.publish(&Item::Goodbye);
            bus.seal(now.ms);
            bus.has_left = true;
            bus.write(now.ms);
        }
    }

    /// The number of other live nodes, and the counters of envelopes; `None` for a single node.
    pub fn bus_counters(&self) -> Option<(usize, BusCounters)> {
        self.pubsub.bus.as_ref().map(|bus| (bus.nodes.live_count(), bus.counters))
    }

    /// Whether Redis is connected and delivers the messages of this node.
    pub fn is_bus_up(&self) -> bool {
        self.pubsub.bus.as_ref().is_some_and(|bus| bus.session.delivers())
    }

    /// Schedules the heartbeat if it is due, drops envelopes that are too old, and removes silent
    /// nodes.
    pub(in crate::hub) fn tick_bus(&mut self, now: Now) {
        let Some(bus) = self.pubsub.bus.as_mut().filter(|_| HAS_REDIS) else { return };
        bus.now_ms = now.ms;
        if now.ms >= bus.next_alive_ms {
            bus.next_alive_ms = now.ms + bus.lease_ms / 5;
            bus.alive_pending = true;
            let dropped = bus.queue.expire(now.ms);
            bus.count_dropped(dropped, now.ms);
            bus.check_reach(&mut self.random, now.ms);
        }
        self.expire_nodes(now);
    }

    /// Whether the queue for other nodes has freed much memory since the last call.
    pub(in crate::hub) fn bus_has_shrunk(&mut self) -> bool {
        self.pubsub.bus.as_mut().is_some_and(|bus| bus.queue.take_has_shrunk())
    }

    pub(in crate::hub) fn next_bus_ms(&self) -> Option<u64> {
        self.pubsub.bus.as_ref().and_then(|bus| bus.next_ms())
    }
}

impl PubSub {
    /// Publishes the subscription and connection counts that have changed.
    fn publish_changes(&mut self) {
        let Some(bus) = &mut self.bus else { return };
        for index in std::mem::take(&mut bus.changed_apps) {
            let app = &self.apps[index];
            let (id, count) = (app.settings.id.as_str(), app.connections);
            bus.publish(&Item::Connections { app: id.into(), count });
        }
        for (index, name) in std::mem::take(&mut bus.changed_channels) {
            let app = &mut self.apps[index];
            let channel = app.channel_mut(&name);
            let count = channel.map_or(0, |channel| {
                channel.is_changed = false;
                channel.members.len() as u32
            });
            let app = app.settings.id.as_str();
            bus.publish(&Item::Channel { app: app.into(), channel: (&*name).into(), count });
        }
    }
}
