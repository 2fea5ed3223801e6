//! A URL of webhooks: the batches that wait for it, the one under way, and when it is tried again
//! after a failure. One batch is under way at a time, so events arrive in order.

use std::collections::VecDeque;
use std::rc::Rc;

use super::super::log_throttle::{LogThrottle, Policy};
use super::hook::Tag;
use crate::config::Url;
use crate::proto::spool::DeliveryId;

/// A URL, for all webhooks that have it.
pub(super) struct Endpoint {
    pub id: u32,
    pub url: Rc<Url>,
    /// The batches that wait, the oldest first.
    pub queue: VecDeque<Batch>,
    /// The sum of their costs ([`Batch::cost`]).
    pub bytes: usize,
    /// When the request under way began; its batch is the first of the queue.
    pub under_way_ms: Option<u64>,
    /// How many attempts have failed since the last that succeeded.
    pub failures: u32,
    /// When to try again; `None` unless the last attempt has failed.
    pub retry_ms: Option<u64>,
    /// Whether the endpoint is in the list of those that may send.
    pub is_ready: bool,
    /// Throttles the log lines about failures, and about batches that were dropped.
    pub failure_log: LogThrottle,
    pub drop_log: LogThrottle,
}

/// A batch of events: the body of one request.
pub(super) struct Batch {
    /// The index of its webhook.
    pub hook: u32,
    pub delivery: DeliveryId,
    /// After this time it is dropped.
    pub expires_ms: u64,
    pub body: Rc<[u8]>,
    pub events: u32,
    pub tags: Vec<Tag>,
    /// Whether an attempt to send it has failed.
    pub has_failed: bool,
}

impl Batch {
    /// The bytes that it counts as: its body, and an estimate for the rest.
    pub(super) fn cost(&self) -> usize {
        self.body.len() + 128 + 64 * self.tags.len()
    }
}

impl Endpoint {
    pub(super) fn new(id: u32, url: Rc<Url>) -> Self {
        Endpoint {
            id,
            url,
            queue: VecDeque::new(),
            bytes: 0,
            under_way_ms: None,
            failures: 0,
            retry_ms: None,
            is_ready: false,
            failure_log: LogThrottle::new(Policy::ONE_AN_EPISODE),
            drop_log: LogThrottle::new(Policy::ONE_AN_EPISODE),
        }
    }

    /// Whether a request may begin, if there is a batch.
    pub(super) fn may_send(&self) -> bool {
        self.under_way_ms.is_none() && self.retry_ms.is_none() && !self.queue.is_empty()
    }

    pub(super) fn push(&mut self, batch: Batch) {
        self.bytes += batch.cost();
        self.queue.push_back(batch);
    }

    /// Removes the oldest batch that is not under way.
    pub(super) fn remove_oldest(&mut self) -> Option<Batch> {
        let at = usize::from(self.under_way_ms.is_some());
        let batch = self.queue.remove(at)?;
        self.removed(&batch);
        Some(batch)
    }

    /// Removes the first batch.
    pub(super) fn remove_first(&mut self) -> Option<Batch> {
        let batch = self.queue.pop_front()?;
        self.removed(&batch);
        Some(batch)
    }

    fn removed(&mut self, batch: &Batch) {
        self.bytes -= batch.cost();
        if self.queue.is_empty() {
            self.queue.shrink_to(IDLE_CAPACITY_MAX);
        }
    }

    /// Records that an attempt has failed. Returns when the next one begins.
    pub(super) fn fail(&mut self, now_ms: u64) -> u64 {
        let pause_ms = (RETRY_MS << self.failures.min(16)).min(RETRY_MAX_MS);
        self.failures = self.failures.saturating_add(1);
        let retry_ms = now_ms + pause_ms;
        self.retry_ms = Some(retry_ms);
        retry_ms
    }
}

/// The pause after the first failure; each further one doubles it, up to the second.
const RETRY_MS: u64 = 1_000;
const RETRY_MAX_MS: u64 = 60_000;
/// How long a batch is tried. The Python library of Pusher rejects a body that is older than 300
/// seconds; ten are left for the request.
pub(super) const BATCH_LIFE_MS: u64 = 290_000;
/// An empty queue keeps at most this capacity.
const IDLE_CAPACITY_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_that_fails_is_tried_again_after_one_to_sixty_seconds() {
        let url = Url::parse("http://a").unwrap();
        let mut endpoint = Endpoint::new(0, Rc::new(url));
        let pauses: Vec<u64> = (0..9).map(|_| endpoint.fail(0) / 1_000).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }
}
