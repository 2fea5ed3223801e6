//! The number of messages of each app, for webhooks that cover `message_counts`: one event every few
//! seconds, and one before the state is saved. Messages themselves are in `events`.

use super::super::Hub;
use super::super::counters::AppCounters;
use super::super::ids::Now;
use super::Webhooks;
use crate::config::WebhookEvent;
use crate::proto::webhook;

impl<T> Hub<T> {
    /// Reports the messages since the last report, if one is due.
    pub(super) fn count_messages_if_due(&mut self, now: Now) {
        let webhooks = self.connections.happenings.webhooks();
        let counts = webhooks.and_then(|webhooks| webhooks.counts.as_ref());
        if counts.is_some_and(|counts| counts.next_ms <= now.ms) {
            self.count_messages(now);
        }
    }

    /// Reports the messages since the last report.
    pub(in crate::hub) fn count_messages(&mut self, now: Now) {
        let apps = &self.connections.counters.apps;
        if let Some(webhooks) = self.connections.happenings.webhooks_mut()
            && webhooks.counts.is_some()
        {
            webhooks.at(now).report_counts(apps);
        }
    }

    /// Takes the counters, which were restored, as those of the last report.
    pub(in crate::hub) fn continue_counts(&mut self) {
        let apps = &self.connections.counters.apps;
        if let Some(webhooks) = self.connections.happenings.webhooks_mut() {
            for (hooks, counters) in webhooks.apps.iter_mut().zip(apps) {
                hooks.counted = totals(counters);
            }
        }
    }
}

impl Webhooks {
    fn report_counts(&mut self, counters: &[AppCounters]) {
        let now = self.now;
        if let Some(counts) = &mut self.counts {
            counts.begin_next(now);
        }
        // The messages belong to the second before, also at the first second of a minute.
        let time_ms = (now.unix_s * 1_000).saturating_sub(1);
        for (app, counters) in (0..).zip(counters) {
            let Some(hooks) = self.apps.get_mut(app as usize) else { return };
            let totals = totals(counters);
            let before = std::mem::replace(&mut hooks.counted, totals);
            let [sent, received] = [0, 1].map(|n| totals[n].saturating_sub(before[n]));
            if sent > 0 || received > 0 {
                self.send(app, WebhookEvent::MessageCounts, None, None, &|out| {
                    webhook::message_counts(out, time_ms, sent, received);
                });
            }
        }
    }
}

/// The messages that an app has sent and received.
fn totals(counters: &AppCounters) -> [u64; 2] {
    [counters.messages_out, counters.messages_handled]
}
