//! HTTP connections: partial requests and their deadlines, and responses. Routes are in `routes`;
//! the effect of each API request is in `api`.

use super::Connections;
use crate::config::LimitKind;
use crate::hub::ids::{ConnId, Now};
use crate::hub::listing::{self, Listing};
use crate::hub::peer::{ChunkedBody, CloseMode, Phase, Request};
use crate::hub::port::Port;
use crate::hub::routes::{Route, is_api};
use crate::proto::http::{self, Head, HttpError, Response};

/// The outcome of handling the input of an HTTP connection.
pub(in crate::hub) enum Step {
    /// The input is not a complete request.
    Incomplete,
    /// The request is incomplete, and only this many bytes of the input must be kept: the rest is
    /// decoded into the body.
    Partial(usize),
    /// The request is expensive. It was not started and waits for a later visit.
    Deferred,
    /// The owner of the hub must answer the request first; then its connection is visited again.
    Waiting,
    /// A request of this length was handled, and its response is a list that is sent in pieces.
    Listing(usize, Box<Listing>),
    /// A request of this length was answered.
    Served(usize),
    /// A handshake of this length was accepted: the connection is a WebSocket now.
    Upgraded(usize),
    /// The response is a feed: no further request of the connection is handled.
    Viewing,
    /// The connection is closing.
    Closed,
}

impl<T> Connections<T> {
    /// Sends the head of a list and, unless the method is HEAD, the start of the body. The pieces
    /// follow.
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
        listing.keeps_alive = listing.is_chunked && self.keeps_alive(id, head);
        let connection = (!listing.keeps_alive).then_some("close");
        let response = Response::json(200, "");
        let frame = response.encode_chunked_head(listing.is_chunked, connection, self.date(now));
        self.queue(id, frame);
        if !head.method.eq_ignore_ascii_case("HEAD") {
            self.queue(id, listing.frame(listing::START.to_owned(), false));
            return Step::Listing(len, listing);
        }
        match listing.keeps_alive {
            true => Step::Served(len),
            false => self.end_connection(id, now),
        }
    }

    /// Counts a response in the metrics of its route.
    pub(in crate::hub) fn count_request(&mut self, route: Route, status: u16) {
        self.counters.requests[route as usize].count(status);
        self.answered += u32::from(is_api(route));
    }

    /// Sets what a connection that was just opened is served.
    pub(in crate::hub) fn set_port(&mut self, id: ConnId, port: Port) {
        if let Some(Phase::Request(request)) = self.get_mut(id).map(|peer| &mut peer.phase) {
            request.port = port;
        }
    }

    /// The port on which an HTTP connection was accepted.
    pub(in crate::hub) fn port(&self, id: ConnId) -> Option<Port> {
        match &self.get(id)?.phase {
            Phase::Request(request) => Some(request.port),
            Phase::Viewing(viewing) => Some(viewing.port),
            Phase::Closing(closing) => Some(closing.port),
            Phase::Open(_) => None,
        }
    }

    /// From now on the connection takes turns with those of the app whose request it has sent, if the
    /// last one had a valid signature of an app.
    pub(in crate::hub) fn set_request_app(&mut self, id: ConnId, request: &mut Request) {
        let Some(app) = self.signed_app.take().filter(|app| *app != request.app) else { return };
        request.app = app;
        let phase = self.get_mut(id).map(|peer| &mut peer.phase);
        if let Some(Phase::Request(stored)) = phase {
            let before = std::mem::replace(&mut stored.app, app);
            self.app_changed(id, before);
        }
    }

    /// Stores the state of an incomplete request, and sets its deadline.
    pub(in crate::hub) fn store_request(&mut self, id: ConnId, mut request: Request, now: Now) {
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

    /// Decodes the available part of a chunked body. Once the body is complete, returns how many
    /// input bytes it took.
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

    /// Checks that the limit of concurrent API requests allows another one.
    pub(in crate::hub) fn check_room_for_api(&self) -> Result<(), Response> {
        let limit = self.limits.api_requests;
        if self.api_requests < limit {
            return Ok(());
        }
        let text = format!("{limit} requests are on their way already (limits.api_requests).");
        Err(HttpError::at(LimitKind::ApiRequests, 503, text).into())
    }

    /// A request has ended, with or without a response: it no longer counts against the limit.
    pub(in crate::hub) fn release(&mut self, request: &Request) {
        if request.is_counted {
            self.api_requests -= 1;
        }
    }

    /// Whether the next request of a connection must wait: for other connections, or until its
    /// client has read earlier responses.
    pub(in crate::hub) fn must_wait(&mut self, id: ConnId, now: Now) -> bool {
        if self.work.is_visit_over() {
            let lane = self.work.lane_after_visit();
            self.schedule_in(id, lane);
            return true;
        }
        self.has_long_response(id, now)
    }

    /// Queues a response, and closes the connection unless it is kept alive.
    pub(in crate::hub) fn respond(
        &mut self,
        id: ConnId,
        head: &Head<'_>,
        response: Response,
        len: usize,
        now: Now,
    ) -> Step {
        log::debug!("{} {} {}", head.method, head.path, response.status);
        if let Some(limit) = response.bound {
            self.limit_exceeded(id, limit, now);
        }
        let keep = self.keeps_alive(id, head);
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
    pub(in crate::hub) fn keeps_alive(&self, id: ConnId, head: &Head<'_>) -> bool {
        head.keep_alive && !self.is_draining() && !self.is_crowded(id)
    }

    /// Sets an earlier deadline for an incomplete request.
    pub(in crate::hub) fn shorten_deadline(&mut self, id: ConnId, deadline_ms: u64) {
        let Some(peer) = self.get_mut(id) else { return };
        if let Phase::Request(request) = &mut peer.phase
            && request.deadline_ms.is_some_and(|before_ms| before_ms > deadline_ms)
        {
            request.deadline_ms = Some(deadline_ms);
            self.arm_by(id, deadline_ms);
        }
    }

    /// Sends an error response and closes the connection, because the beginning of the next request
    /// is unknown.
    pub(in crate::hub) fn refuse(&mut self, id: ConnId, error: HttpError, now: Now) {
        log::debug!("rejected a request: {} {}", error.status, error.text);
        if let Some(limit) = error.bound {
            self.limit_exceeded(id, limit, now);
        }
        self.count_request(Route::None, error.status);
        let frame = Response::from(error).encode(false, Some("close"), self.date(now));
        self.queue(id, frame);
        self.retire_request(id, CloseMode::AfterPeer { half_closed: false }, now);
    }

    /// [`Connections::refuse`] as the last step of a request.
    pub(in crate::hub) fn reject_request(
        &mut self,
        id: ConnId,
        error: HttpError,
        now: Now,
    ) -> Step {
        self.refuse(id, error, now);
        Step::Closed
    }

    /// The value of the `Date` header, formatted once a second.
    pub(in crate::hub) fn date(&mut self, now: Now) -> &str {
        if self.date.0 != now.unix_s {
            self.date = (now.unix_s, http::date(now.unix_s));
        }
        &self.date.1
    }
}
