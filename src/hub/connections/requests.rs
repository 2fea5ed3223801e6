//! Connections that speak HTTP: partial requests, their deadlines, and answers. Routes are in
//! `routes`, and what an API request does is in `api`.

use super::Connections;
use crate::config::LimitKind;
use crate::hub::ids::{ConnId, Now};
use crate::hub::listing::{self, Listing};
use crate::hub::peer::{ChunkedBody, CloseMode, Phase, Request};
use crate::hub::routes::Route;
use crate::proto::http::{self, Head, HttpError, Response};

/// What became of the bytes at the front of the input.
pub(in crate::hub) enum Step {
    /// They are not a whole request yet.
    Incomplete,
    /// The same, and only this many of them must be kept: the rest is in the body so far.
    Partial(usize),
    /// They are an expensive request, which was not started and waits for a later visit.
    Deferred,
    /// They were a request, of this length, and a list is being sent as the answer.
    Listing(usize, Box<Listing>),
    /// They were a request, of this length, and it was answered.
    Served(usize),
    /// The same, and the connection is a WebSocket now.
    Upgraded(usize),
    /// The connection is on its way out.
    Closed,
}

impl<T> Connections<T> {
    /// Sends the head of the answer and, unless the method is HEAD, the start of the body. The
    /// pieces follow.
    pub(in crate::hub) fn begin_listing(
        &mut self,
        id: ConnId,
        head: &Head<'_>,
        mut listing: Box<Listing>,
        len: usize,
        now: Now,
    ) -> Step {
        log::debug!("{} {} 200, in pieces", head.method, head.path);
        listing.is_chunked = head.minor > 0;
        listing.keeps = listing.is_chunked && self.keeps(id, head);
        let connection = (!listing.keeps).then_some("close");
        let response = Response::json(200, "");
        let frame = response.encode_chunked_head(listing.is_chunked, connection, self.date(now));
        self.queue(id, frame);
        if !head.method.eq_ignore_ascii_case("HEAD") {
            self.queue(id, listing.frame(listing::START.to_owned(), false));
            return Step::Listing(len, listing);
        }
        match listing.keeps {
            true => Step::Served(len),
            false => self.end_connection(id, now),
        }
    }

    /// Counts the answer to a request for a route.
    pub(in crate::hub) fn count_request(&mut self, route: Route, status: u16) {
        self.counters.requests[route as usize].count(status);
    }

    /// Has a connection that was just opened be served what is for whoever watches over the
    /// server, and nothing else.
    pub(in crate::hub) fn serve_metrics(&mut self, id: ConnId) {
        if let Some(Phase::Request(request)) = self.get_mut(id).map(|peer| &mut peer.phase) {
            request.is_for_metrics = true;
        }
    }

    /// Whether a connection is one of those.
    pub(in crate::hub) fn is_for_metrics(&self, id: ConnId) -> bool {
        match self.get(id).map(|peer| &peer.phase) {
            Some(Phase::Request(request)) => request.is_for_metrics,
            Some(Phase::Closing(closing)) => closing.is_for_metrics,
            _ => false,
        }
    }

    /// Puts back what is known of the request that has not arrived whole.
    pub(in crate::hub) fn keep_request(&mut self, id: ConnId, mut request: Request, now: Now) {
        if !request.buffer.is_empty() && request.deadline_ms.is_none() {
            let deadline_ms = now.ms + u64::from(self.limits.request_timeout_ms);
            request.deadline_ms = Some(deadline_ms);
            self.arm_by(id, deadline_ms);
        }
        let idle = request.deadline_ms.is_none();
        if let Some(peer) = self.get_mut(id)
            && matches!(peer.phase, Phase::Request(_))
        {
            peer.phase = Phase::Request(request);
        }
        if idle {
            self.arm_by(id, now.ms + u64::from(self.limits.keep_alive_timeout_ms));
        }
    }

    /// Decodes what has arrived of a chunked body; says how much of it the body took when it has
    /// ended.
    pub(in crate::hub) fn decode_chunked(
        &self,
        chunked: &mut ChunkedBody,
        input: &[u8],
        head_len: usize,
    ) -> Result<Option<usize>, HttpError> {
        let body_max = self.request_bytes_max.saturating_sub(head_len);
        let taken = chunked.decoder.decode(input, &mut chunked.body, body_max)?;
        Ok(chunked.decoder.is_done().then_some(taken))
    }

    /// Whether one more request may be on its way.
    pub(in crate::hub) fn check_room_for_api(&self) -> Result<(), Response> {
        let limit = self.limits.api_requests;
        if self.api_requests < limit {
            return Ok(());
        }
        let text = format!("{limit} requests are on their way already (limits.api_requests).");
        Err(HttpError::at(LimitKind::ApiRequests, 503, text).into())
    }

    /// A request has ended, answered or not.
    pub(in crate::hub) fn release(&mut self, request: &Request) {
        if request.checked {
            self.api_requests -= 1;
        }
    }

    /// Whether the next request of a connection must wait: for other connections, or until its
    /// client has read earlier answers.
    pub(in crate::hub) fn must_wait(&mut self, id: ConnId, now: Now) -> bool {
        if self.work.is_visit_over() {
            let lane = self.work.lane_after_visit();
            self.schedule_in(id, lane);
            return true;
        }
        self.has_long_answer(id, now)
    }

    pub(in crate::hub) fn answer(
        &mut self,
        id: ConnId,
        head: &Head<'_>,
        response: Response,
        len: usize,
        now: Now,
    ) -> Step {
        log::debug!("{} {} {}", head.method, head.path, response.status);
        if let Some(bound) = response.bound {
            self.limit_exceeded(id, bound, now);
        }
        let keep = self.keeps(id, head);
        let connection = match (keep, head.minor) {
            (true, 0) => Some("keep-alive"),
            (true, _) => None,
            (false, _) => Some("close"),
        };
        let without_body = head.method.eq_ignore_ascii_case("HEAD");
        let frame = response.encode(without_body, connection, self.date(now));
        self.queue_after_event(id, frame);
        if keep {
            return Step::Served(len);
        }
        self.end_connection(id, now)
    }

    /// Begins to close a connection. Its outbox is still sent.
    pub(in crate::hub) fn end_connection(&mut self, id: ConnId, now: Now) -> Step {
        self.retire_request(id, CloseMode::AfterPeer { half_closed: false }, now);
        Step::Closed
    }

    /// Holds the rest of the input until the connection's outbox is empty.
    pub(in crate::hub) fn wait_for_reader(&mut self, id: ConnId, request: &mut Request, now: Now) {
        request.is_held = true;
        self.pause(id, now);
    }

    /// Whether a connection stays open after this request.
    pub(in crate::hub) fn keeps(&self, id: ConnId, head: &Head<'_>) -> bool {
        head.keep_alive && !self.is_draining() && !self.is_crowded(id)
    }

    /// Brings the deadline of an incomplete request forward to this time.
    pub(in crate::hub) fn hurry_request(&mut self, id: ConnId, deadline_ms: u64) {
        let Some(peer) = self.get_mut(id) else { return };
        if let Phase::Request(request) = &mut peer.phase
            && request.deadline_ms.is_some_and(|before_ms| before_ms > deadline_ms)
        {
            request.deadline_ms = Some(deadline_ms);
            self.arm_by(id, deadline_ms);
        }
    }

    /// Answers what cannot be served and closes: where the next request would begin is unknown.
    pub(in crate::hub) fn refuse(&mut self, id: ConnId, reject: HttpError, now: Now) {
        log::debug!("refused a request: {} {}", reject.status, reject.text);
        if let Some(bound) = reject.bound {
            self.limit_exceeded(id, bound, now);
        }
        self.count_request(Route::None, reject.status);
        let frame = Response::from(reject).encode(false, Some("close"), self.date(now));
        self.queue(id, frame);
        self.retire_request(id, CloseMode::AfterPeer { half_closed: false }, now);
    }

    pub(in crate::hub) fn refused(&mut self, id: ConnId, reject: HttpError, now: Now) -> Step {
        self.refuse(id, reject, now);
        Step::Closed
    }

    /// The time for the `Date` header, written once a second.
    pub(in crate::hub) fn date(&mut self, now: Now) -> &str {
        if self.date.0 != now.unix_s {
            self.date = (now.unix_s, http::date(now.unix_s));
        }
        &self.date.1
    }
}
