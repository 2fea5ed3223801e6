//! How many requests and how much data an app may send to the API. An exceeded rate gets status 429
//! with `Retry-After`, too much data status 413. A rate is checked before the work of a request begins,
//! and charged when nothing can reject or defer the request any more.

use super::super::app_limits::Bound;
use super::super::ids::Now;
use super::super::publish::Event;
use super::Api;
use crate::config::LimitKind;
use crate::proto::http::{HttpError, Response};

impl<T> Api<'_, T> {
    /// Checks that an app may publish now.
    pub(super) fn check_event_rate(&self, app: u32, now: Now) -> Result<(), Response> {
        let Some(bound) = self.pubsub.app_bound(app, LimitKind::AppBackendEvents) else {
            return Ok(());
        };
        match self.pubsub.apps[app].event_tokens.wait_ms(bound.max, now.ms) {
            Some(wait_ms) => Err(too_many("events", &bound, wait_ms)),
            None => Ok(()),
        }
    }

    /// Charges an app for events; each counts once for each channel it names.
    pub(super) fn charge_events(&mut self, app: u32, events: usize, now: Now) {
        if let Some(bound) = self.pubsub.app_bound(app, LimitKind::AppBackendEvents) {
            self.pubsub.apps[app].event_tokens.take(events, bound.max, now.ms);
        }
    }

    /// Checks that an app may read now.
    pub(super) fn check_read_rate(&self, app: u32, now: Now) -> Result<(), Response> {
        let Some(bound) = self.pubsub.app_bound(app, LimitKind::AppReadRequests) else {
            return Ok(());
        };
        match self.pubsub.apps[app].read_tokens.wait_ms(bound.max, now.ms) {
            Some(wait_ms) => Err(too_many("read requests", &bound, wait_ms)),
            None => Ok(()),
        }
    }

    /// Charges an app for a read request.
    pub(super) fn charge_read(&mut self, app: u32, now: Now) {
        if let Some(bound) = self.pubsub.app_bound(app, LimitKind::AppReadRequests) {
            self.pubsub.apps[app].read_tokens.take(1, bound.max, now.ms);
        }
    }

    /// Checks the bytes of an event's data. `field` names it in the error.
    pub(super) fn check_payload(
        &self,
        app: u32,
        event: &Event<'_>,
        field: impl std::fmt::Display,
    ) -> Result<(), Response> {
        let Some((bound, bytes)) = self.pubsub.payload_exceeded(app, event.data) else {
            return Ok(());
        };
        let (max, setting) = (bound.max, bound.setting());
        let text = format!("The {field} field has {bytes} bytes, the limit is {max} ({setting}).");
        Err(HttpError::at(bound.exceeded, 413, text).into())
    }
}

/// The response to a request over a rate.
fn too_many(what: &str, bound: &Bound, wait_ms: u64) -> Response {
    let (max, setting, wait_s) = (bound.max, bound.setting(), wait_ms.div_ceil(1_000).max(1));
    let text =
        format!("The app may send {max} {what} a second ({setting}); try again in {wait_s} s.");
    let response = Response::from(HttpError::at(bound.exceeded, 429, text));
    response.with_header("Retry-After", wait_s.to_string())
}
