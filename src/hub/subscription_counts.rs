//! Sends `pusher_internal:subscription_count` to the subscribers of a channel, at a limited rate
//! for large channels (protocol section 12).

use std::rc::Rc;

use super::connections::Connections;
use super::ids::Now;
use super::pubsub::{CountDue, PubSub};
use crate::proto::message;

/// Minimum interval between count events for channels with over 100 subscribers, as in Pusher.
pub(super) const COUNT_INTERVAL_MS: u64 = 5_000;

impl PubSub {
    /// Sends the subscribers of a channel their number, if the app's settings enable it: at every
    /// change up to a hundred subscribers, at most every five seconds above that.
    pub(super) fn send_count<T>(
        &mut self,
        connections: &mut Connections<T>,
        app: u32,
        name: &str,
        now: Now,
    ) {
        let index = app;
        let app = &mut self.apps[app];
        let is_reported = connections.happenings.wants_counts(index);
        if !app.settings.subscription_count && !is_reported {
            return;
        }
        let Some(place) = app.place(name) else { return };
        let Some(channel) = app.channels.get_mut(place as usize) else { return };
        let count = channel.subscriptions();
        if channel.presence.is_some() || !channel.kind.is_listed() {
            return;
        }
        if count > 100 && now.ms < channel.counted_ms + COUNT_INTERVAL_MS {
            if !std::mem::replace(&mut channel.count_due, true) {
                let (ms, channel) = (now.ms + COUNT_INTERVAL_MS, Rc::clone(&channel.name));
                self.counts_due.push_back(CountDue { ms, app: index, channel });
            }
            return;
        }
        (channel.counted_ms, channel.count_due) = (now.ms, false);
        if is_reported {
            connections.happenings.subscription_count(index, &channel.name, count);
        }
        if !app.settings.subscription_count {
            return;
        }
        let data = format!(r#"{{"subscription_count":{count}}}"#);
        let event = "pusher_internal:subscription_count";
        let frame = message::internal(event, Some(name), &data);
        connections.broadcast(index, &channel.members, &frame, None);
    }

    /// Sends the deferred counts that are due.
    pub(super) fn send_due_counts<T>(&mut self, connections: &mut Connections<T>, now: Now) {
        while self.counts_due.front().is_some_and(|due| due.ms <= now.ms) {
            let Some(CountDue { app, channel, .. }) = self.counts_due.pop_front() else { return };
            let is_due = self.apps[app].channel(&channel).is_some_and(|c| c.count_due);
            if is_due {
                self.send_count(connections, app, &channel, now);
            }
        }
    }
}
