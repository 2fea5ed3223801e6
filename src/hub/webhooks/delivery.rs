//! The way of a batch: it is completed, waits, is sent and tried again, and ends because a webhook
//! has acknowledged it or because it is dropped.

use std::rc::Rc;

use super::super::feed::{WebhookReport, WebhookReportOutcome};
use super::super::ids::Now;
use super::Webhooks;
use super::endpoint::{BATCH_LIFE_MS, Batch};
use super::hook::{EventState, Tag};
use super::request::{EndpointId, WebhookOutcome, WebhookRequest};
use super::shared::Report;
use crate::proto::spool::{DeliveryId, SpoolRecord, SpooledBatch};
use crate::proto::webhook;

impl Webhooks {
    /// Completes the batches that are due, and lets endpoints try again whose pause is over.
    pub(super) fn check_deadlines(&mut self) {
        while let Some((due_ms, at)) = self.complete.take_due(self.now.ms) {
            if self.hooks[at].open.due_ms == Some(due_ms) {
                self.complete_batch(at as u32);
            }
        }
        while let Some((_, id)) = self.retries.take_due(self.now.ms) {
            let id = id as u32;
            if let Some(endpoint) = self.endpoints.get_mut(id) {
                endpoint.retry_ms = None;
            }
            self.make_ready(id);
        }
    }

    /// The earliest deadline of a batch or an endpoint.
    pub(super) fn next_delivery_ms(&self) -> Option<u64> {
        [self.complete.next_ms(), self.retries.next_ms()].into_iter().flatten().min()
    }

    /// Completes the open batch of a webhook, and queues it.
    pub(super) fn complete_batch(&mut self, at: u32) {
        let time_ms = self.unix_ms();
        let hook = &mut self.hooks[at as usize];
        let Some(due_ms) = hook.open.due_ms else { return };
        self.complete.remove(due_ms, at as usize);
        let open = std::mem::take(&mut hook.open);
        let (body, endpoint, app) = (open.body(time_ms), hook.endpoint, hook.app);
        // Signing is the largest part of the work, at about 64 bytes in two units.
        self.units += body.len() as u64 / 32;
        let delivery = DeliveryId(self.next_delivery);
        self.next_delivery = self.next_delivery.wrapping_add(1);
        let batch = Batch {
            hook: at,
            delivery,
            expires_ms: self.now.ms + BATCH_LIFE_MS,
            body: body.into_bytes().into(),
            events: open.events,
            tags: open.tags,
            has_failed: false,
        };
        if let (Some(spool), Some(endpoint)) = (&mut self.spool, self.endpoints.get(endpoint)) {
            spool.push_back(SpoolRecord::Queued(SpooledBatch {
                delivery,
                app: self.apps[app as usize].id.to_string(),
                url: endpoint.url.text(),
                at_unix_ms: time_ms,
                body: Rc::clone(&batch.body),
            }));
        }
        for state in batch.tags.iter().filter(|state| state.completed()) {
            self.record_state(&state.subject, state.is_present);
        }
        self.queue(endpoint, batch);
    }

    /// Queues a batch; the oldest ones are dropped if there is no room for it.
    pub(super) fn queue(&mut self, id: u32, batch: Batch) {
        let cost = batch.cost();
        let (url_max, all_max) =
            (self.limits.webhook_queue_bytes as usize, self.limits.webhook_bytes as usize);
        while let Some(endpoint) = self.endpoints.get(id)
            && (endpoint.bytes + cost > url_max || self.bytes + cost > all_max)
        {
            let (setting, from) = match endpoint.bytes + cost > url_max {
                true => ("limits.webhook_queue_bytes", id),
                false => ("limits.webhook_bytes", self.longest().unwrap_or(id)),
            };
            let Some(oldest) = self.endpoints.get_mut(from).and_then(|e| e.remove_oldest()) else {
                return self.drop_batch(id, batch, setting);
            };
            self.bytes -= oldest.cost();
            self.drop_batch(from, oldest, setting);
        }
        let Some(endpoint) = self.endpoints.get_mut(id) else { return };
        endpoint.push(batch);
        self.bytes += cost;
        self.make_ready(id);
    }

    /// The endpoint for which most bytes wait.
    fn longest(&self) -> Option<u32> {
        self.endpoints.iter().max_by_key(|endpoint| endpoint.bytes).map(|endpoint| endpoint.id)
    }

    pub(super) fn make_ready(&mut self, id: u32) {
        if let Some(endpoint) = self.endpoints.get_mut(id)
            && endpoint.may_send()
            && !std::mem::replace(&mut endpoint.is_ready, true)
        {
            self.ready.push_back(id);
        }
    }

    /// The next request to send.
    pub(super) fn next_request(&mut self) -> Option<WebhookRequest> {
        let mut expired_max = EXPIRED_AT_ONCE;
        while let Some(id) = self.ready.pop_front() {
            let endpoint = self.endpoints.get_mut(id)?;
            endpoint.is_ready = false;
            if !endpoint.may_send() {
                continue;
            }
            if endpoint.queue.front().is_some_and(|batch| batch.expires_ms <= self.now.ms) {
                let expired = endpoint.remove_first()?;
                self.bytes -= expired.cost();
                self.drop_batch(id, expired, EXPIRED);
                self.make_ready(id);
                expired_max -= 1;
                if expired_max == 0 {
                    // The next turn continues.
                    self.has_due_left = true;
                    return None;
                }
                continue;
            }
            return self.begin_request(id);
        }
        None
    }

    fn begin_request(&mut self, id: u32) -> Option<WebhookRequest> {
        let endpoint = self.endpoints.get_mut(id)?;
        endpoint.under_way_ms = Some(self.now.ms);
        let (batch, url) = (endpoint.queue.front()?, Rc::clone(&endpoint.url));
        let hook = &self.hooks[batch.hook as usize];
        let app = &mut self.apps[hook.app as usize];
        app.counters.requests += 1;
        app.counters.retried += u64::from(batch.has_failed);
        let signature = app.signer.sign_bytes(&batch.body);
        let head = webhook::head(&app.key, &signature, batch.delivery, &hook.head);
        let (endpoint, body) = (EndpointId(id), Rc::clone(&batch.body));
        Some(WebhookRequest { endpoint, url, head, body, timeout_ms: hook.timeout_ms })
    }

    /// The outcome of a request. Returns the report for the feed.
    pub(super) fn finish_request(
        &mut self,
        id: EndpointId,
        outcome: WebhookOutcome,
    ) -> Option<WebhookReport> {
        let EndpointId(id) = id;
        let endpoint = self.endpoints.get_mut(id)?;
        let began_ms = endpoint.under_way_ms.take()?;
        let batch = endpoint.queue.front_mut()?;
        let (events, url) = (batch.events, Rc::clone(&endpoint.url));
        let hook = &self.hooks[batch.hook as usize];
        let index = hook.app;
        let app = &mut self.apps[index as usize];
        let ms = self.now.ms.saturating_sub(began_ms);
        app.counters.request_ms += ms;
        let report = |outcome| Some(WebhookReport { app: index, url, events, ms, outcome });
        let why = match outcome {
            WebhookOutcome::Status(status @ 200..300) => {
                self.succeed(id);
                return report(WebhookReportOutcome::Sent { status });
            }
            WebhookOutcome::Status(status @ 300..400) => {
                format!("status {status}, a redirect, which the server does not follow")
            }
            WebhookOutcome::Status(status) => format!("status {status}"),
            WebhookOutcome::Failed(why) => why,
        };
        batch.has_failed = true;
        let expires_ms = batch.expires_ms;
        let retry_ms = endpoint.fail(self.now.ms);
        endpoint.failure_log.warn(
            self.now.ms,
            format_args!(
                "{} {}: {why}; the server tries each event of app {} for {} seconds; {}, and see the \
                 log of the application",
                hook.noun(),
                endpoint.url,
                app.id,
                BATCH_LIFE_MS / 1_000,
                hook.settings()
            ),
        );
        let expired = if retry_ms >= expires_ms { endpoint.remove_first() } else { None };
        self.retries.insert(retry_ms, id as usize);
        let retry = expired.is_none();
        if let Some(expired) = expired {
            self.bytes -= expired.cost();
            self.drop_batch(id, expired, EXPIRED);
        }
        report(WebhookReportOutcome::Failed { reason: why, retry })
    }

    fn succeed(&mut self, id: u32) {
        let Some(endpoint) = self.endpoints.get_mut(id) else { return };
        let has_failed = std::mem::take(&mut endpoint.failures) > 0;
        let Some(batch) = endpoint.remove_first() else { return };
        self.bytes -= batch.cost();
        let hook = &self.hooks[batch.hook as usize];
        if has_failed {
            log::info!("{} {}: works again", hook.noun(), endpoint.url);
        }
        let app = &mut self.apps[hook.app as usize];
        app.counters.sent += u64::from(batch.events);
        self.end_batch(batch);
        self.make_ready(id);
    }

    /// Drops a batch; its events are lost.
    pub(super) fn drop_batch(&mut self, id: u32, batch: Batch, why: &str) {
        let hook = &self.hooks[batch.hook as usize];
        let app = &mut self.apps[hook.app as usize];
        app.counters.dropped += u64::from(batch.events);
        if let Some(endpoint) = self.endpoints.get_mut(id) {
            let dropped = app.counters.dropped;
            endpoint.drop_log.warn(
                self.now.ms,
                format_args!(
                    "{} {}: events are dropped ({why}), {dropped} of app {} since the start; the \
                     application should compare its state with GET /channels",
                    hook.noun(),
                    endpoint.url,
                    app.id
                ),
            );
        }
        self.end_batch(batch);
    }

    fn end_batch(&mut self, batch: Batch) {
        let app = &mut self.apps[self.hooks[batch.hook as usize].app as usize];
        app.waiting = app.waiting.saturating_sub(u64::from(batch.events));
        if let Some(spool) = &mut self.spool {
            spool.push_back(SpoolRecord::Ended(batch.delivery));
        }
        batch.tags.into_iter().for_each(|tag| self.end_tag(tag));
    }

    /// Releases a tag of a batch. The state of a tag without another reference was reported to all
    /// webhooks.
    pub(super) fn end_tag(&mut self, tag: Tag) {
        if let Some(EventState { subject, is_present, .. }) = Rc::into_inner(tag)
            && self.is_shared
        {
            self.units += TAG_UNITS;
            self.changes.acknowledged(&subject, is_present);
            self.to_publish.push(Report::Acknowledged(subject, is_present));
        }
    }

    /// Sets the time of a call of the owner.
    pub(super) fn at(&mut self, now: Now) -> &mut Self {
        self.set_now(now);
        self
    }
}

/// Why a batch is dropped that no webhook has acknowledged in time.
pub(super) const EXPIRED: &str = "the webhook has not acknowledged them, and the next attempt would be \
    290 seconds after them or later";
/// The most expired batches that are dropped at once.
const EXPIRED_AT_ONCE: u32 = 64;
/// Units of work of a state that was reported.
const TAG_UNITS: u64 = 5;
