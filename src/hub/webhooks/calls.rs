//! The calls of the owner of the sockets about webhooks, and the part of a tick that handles webhooks.

use super::super::Hub;
use super::super::ids::Now;
use super::request::{EndpointId, WebhookOutcome, WebhookRequest};
use super::{Subject, Webhooks};
use crate::proto::spool::SpoolRecord;

impl<T> Hub<T> {
    /// The next request to send; `None` until something happens or [`Hub::next_tick_ms`]. An
    /// endpoint has at most one request under way. Call it at the end of every turn until it
    /// returns `None`.
    pub fn next_webhook(&mut self, now: Now) -> Option<WebhookRequest> {
        self.webhooks()?.at(now).next_request()
    }

    /// The outcome of the request under way to this endpoint. Unknown endpoints are ignored: a
    /// reload may have removed them.
    pub fn webhook_done(&mut self, endpoint: EndpointId, outcome: WebhookOutcome, now: Now) {
        if let Some(webhooks) = self.webhooks() {
            let report = webhooks.at(now).finish_request(endpoint, outcome);
            self.connections.happenings.set_now(now);
            report.iter().for_each(|report| self.connections.happenings.webhook(report));
            self.count_webhook_work();
        }
    }

    /// The next record for the spool; `None` if there is none, or no spool is configured. Call it
    /// at the end of every turn until it returns `None`, and after [`Hub::save`], which completes
    /// the open batches.
    pub fn next_spool_record(&mut self) -> Option<SpoolRecord> {
        self.webhooks()?.spool.as_mut()?.pop_front()
    }

    /// Continues from the records of an earlier process, in their order. To be called once, before
    /// the first turn, unless the state was taken over ([`Hub::restore`]).
    pub fn restore_spool(&mut self, records: Vec<SpoolRecord>, now: Now) {
        if let Some(webhooks) = self.webhooks() {
            webhooks.at(now).restore_records(records);
        }
    }

    fn webhooks(&mut self) -> Option<&mut Webhooks> {
        self.connections.happenings.webhooks_mut()
    }

    /// Counts the work that webhooks and feeds have caused since the last call.
    pub(in crate::hub) fn count_webhook_work(&mut self) {
        if let Some(webhooks) = self.connections.happenings.webhooks_mut() {
            self.connections.work.add(webhooks.take_units());
        }
        self.connections.count_feed();
    }

    /// Checks the changes that are due, and completes batches. A tick spends at most a quarter of a
    /// turn's units on the changes; the next tick continues.
    pub(in crate::hub) fn tick_webhooks(&mut self, now: Now) {
        if self.connections.happenings.webhooks().is_none() {
            return;
        }
        self.refresh_webhook_nodes(now);
        self.count_messages_if_due(now);
        // Clients that this server disconnects come back to the next one.
        let may_leave = !self.connections.is_draining();
        let work_end = self.connections.work.side_work_end();
        loop {
            self.count_webhook_work();
            let is_over = self.connections.work.done() >= work_end;
            let Some(webhooks) = self.webhooks() else { return };
            webhooks.has_due_left = is_over && webhooks.has_due_checks();
            if is_over || !webhooks.check_next(may_leave) {
                webhooks.check_deadlines();
                break;
            }
        }
        self.count_webhook_work();
    }

    /// Whether the last tick has left changes to check.
    pub(in crate::hub) fn has_webhook_work(&self) -> bool {
        self.connections.happenings.webhooks().is_some_and(|it| it.has_due_left)
    }

    /// The earliest deadline of webhooks.
    pub(in crate::hub) fn next_webhooks_ms(&self) -> Option<u64> {
        let webhooks = self.connections.happenings.webhooks()?;
        let check_ms = webhooks.changes.next_ms().filter(|_| !webhooks.has_due_left);
        let counts_ms = webhooks.counts.as_ref().map(|counts| counts.next_ms);
        [check_ms, counts_ms, webhooks.next_delivery_ms()].into_iter().flatten().min()
    }

    /// Whether a subject is present, at this node or another.
    pub(in crate::hub) fn is_present(&self, subject: &Subject) -> bool {
        let channel =
            self.pubsub.apps.get(subject.app).and_then(|app| app.channel(&subject.channel));
        let presence = channel.and_then(|channel| channel.presence.as_deref());
        match &subject.user {
            None => channel.is_some(),
            Some(user) => presence.is_some_and(|presence| presence.contains(user)),
        }
    }

    /// Checks the counts of webhooks, and that each change has the state of its subject.
    pub(in crate::hub) fn audit_webhooks(&self) -> Result<(), String> {
        let Some(webhooks) = self.connections.happenings.webhooks() else { return Ok(()) };
        for (subject, change) in webhooks.changes.iter() {
            if change.is_present != self.is_present(subject) {
                return Err(format!("the change of {subject:?} has another state: {change:?}"));
            }
        }
        webhooks.audit()
    }
}

impl Webhooks {
    fn has_due_checks(&self) -> bool {
        self.changes.next_ms().is_some_and(|ms| ms <= self.now.ms)
    }

    /// Whether nothing waits.
    pub(in crate::hub) fn is_idle(&self) -> bool {
        self.changes.len() == 0 && self.bytes == 0 && self.complete.is_empty()
    }

    /// The number of changes that were not reported.
    #[cfg(all(test, feature = "redis", feature = "webhooks"))]
    pub(in crate::hub) fn change_count(&self) -> usize {
        self.changes.len()
    }

    fn audit(&self) -> Result<(), String> {
        let bytes: usize = self.endpoints.iter().map(|endpoint| endpoint.bytes).sum();
        let batches = self.endpoints.iter().flat_map(|endpoint| &endpoint.queue);
        let cost: usize = batches.clone().map(|batch| batch.cost()).sum();
        if (bytes, bytes) != (self.bytes, cost) {
            return Err(format!("{} bytes wait for webhooks, not {bytes}, {cost}", self.bytes));
        }
        let open = self.hooks.iter().map(|hook| u64::from(hook.open.events));
        let queued = batches.map(|batch| u64::from(batch.events));
        let waiting: u64 = self.apps.iter().map(|app| app.waiting).sum();
        if open.chain(queued).sum::<u64>() != waiting {
            return Err(format!("{waiting} events wait for webhooks by app, and others by URL"));
        }
        let open = self.hooks.iter().filter(|hook| !hook.open.is_empty()).count();
        match open <= self.complete.len() {
            true => Ok(()),
            false => Err("an open batch of a webhook has no deadline".into()),
        }
    }
}
