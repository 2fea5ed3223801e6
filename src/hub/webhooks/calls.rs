//! The calls of the owner of the sockets about webhooks.

use super::super::Hub;
use super::super::ids::Now;
use super::request::{EndpointId, WebhookOutcome, WebhookRequest};
use crate::proto::spool::SpoolRecord;

impl<T> Hub<T> {
    /// The next request to send; `None` until something happens or [`Hub::next_tick_ms`]. An endpoint
    /// has at most one request under way. Call it at the end of every turn until it returns `None`.
    pub fn next_webhook(&mut self, _now: Now) -> Option<WebhookRequest> {
        None
    }

    /// The outcome of the request under way to this endpoint. Unknown endpoints are ignored: a
    /// reload may have removed them.
    pub fn webhook_done(&mut self, _endpoint: EndpointId, _outcome: WebhookOutcome, _now: Now) {}

    /// The next record for the spool; `None` if there is none, or no spool is configured. Call it at
    /// the end of every turn until it returns `None`.
    pub fn next_spool_record(&mut self) -> Option<SpoolRecord> {
        None
    }

    /// Continues from the records of an earlier process, in their order. To be called once, before
    /// the first turn, unless the state was taken over ([`Hub::restore`]).
    pub fn restore_spool(&mut self, _records: impl IntoIterator<Item = SpoolRecord>, _now: Now) {}
}
