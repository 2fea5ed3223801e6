//! How many requests and how much data an app may send to the API. An exceeded rate gets status 429
//! with `Retry-After`, too much data status 413. A rate is checked before the work of a request begins,
//! and charged when nothing can reject or defer the request any more.

use super::super::app_limits::Bound;
use super::super::ids::Now;
use super::super::publish::Event;
use super::Api;
use super::rate::Rate;
use crate::proto::http::{HttpError, Response};

impl<T> Api<'_, T> {
    /// Checks that an app is within a rate.
    pub(super) fn check_rate(&mut self, app: u32, rate: Rate, now: Now) -> Result<(), Response> {
        let Some(bound) = self.pubsub.app_bound(app, rate.limit()) else { return Ok(()) };
        match rate.tokens(&mut self.pubsub.apps[app]).wait_ms(bound.max, now.ms) {
            Some(wait_ms) => Err(too_many(rate, &bound, wait_ms)),
            None => Ok(()),
        }
    }

    /// Counts what an app has done.
    pub(super) fn charge(&mut self, app: u32, rate: Rate, count: usize, now: Now) {
        if let Some(bound) = self.pubsub.app_bound(app, rate.limit()) {
            rate.tokens(&mut self.pubsub.apps[app]).take(count, bound.max, now.ms);
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
fn too_many(rate: Rate, bound: &Bound, wait_ms: u64) -> Response {
    let (max, setting, wait_s) = (bound.max, bound.setting(), wait_ms.div_ceil(1_000).max(1));
    let what = rate.noun();
    let text =
        format!("The app may send {max} {what} a second ({setting}); try again in {wait_s} s.");
    let response = Response::from(HttpError::at(bound.exceeded, 429, text));
    response.with_header("Retry-After", wait_s.to_string())
}
