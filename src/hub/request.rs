//! A connection while it speaks HTTP: waits for whole requests, has them served one after another,
//! and hands the connection on when it becomes a WebSocket. Routes are in `api`.

use super::Hub;
use super::api::{self, Answer, Listing};
use super::peer::{ChunkedBody, CloseMode, ConnId, Now, Phase, Request};
use super::work::{Lane, REQUEST_UNITS};
use crate::config::{LimitKind, Limits};
use crate::proto::http::{self, Body, Head, HttpError, Response};
use crate::proto::websocket::Reader;

/// What became of the bytes at the front of the input.
pub(super) enum Step {
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

impl<T> Hub<T> {
    /// Handles bytes of an HTTP connection. Whole requests are served in place; incomplete requests
    /// and requests that must wait are kept.
    pub(super) fn request_bytes(
        &mut self,
        id: ConnId,
        mut request: Request,
        bytes: &mut [u8],
        now: Now,
    ) {
        let mut buffer = std::mem::take(&mut request.buffer);
        let buffered = !buffer.is_empty();
        let input = match buffered {
            true => {
                buffer.extend_from_slice(bytes);
                &mut buffer[..]
            }
            false => bytes,
        };
        let mut at = 0;
        let mut kept = input.len();
        request.is_held = !self.continue_listing(id, &mut request, now);
        while !request.is_held && at < input.len() && input.len() - at >= request.needed {
            if self.must_wait(id, now) {
                request.is_held = true;
                break;
            }
            match self.next_request(id, &mut request, &input[at..], now) {
                Step::Incomplete => break,
                Step::Deferred => {
                    request.is_held = true;
                    self.schedule_in(id, Lane::Heavy);
                }
                Step::Listing(len, listing) => {
                    at += len;
                    self.release(&request);
                    request = Request { listing: Some(listing), ..Request::default() };
                    self.wait_for_reader(id, &mut request, now);
                }
                Step::Partial(len) => {
                    kept = at + len;
                    break;
                }
                Step::Served(len) => {
                    at += len;
                    self.release(&request);
                    let is_for_metrics = request.is_for_metrics;
                    request = Request { is_for_metrics, ..Request::default() };
                }
                Step::Upgraded(len) => {
                    return self.frames(id, Reader::default(), &mut input[at + len..], now);
                }
                Step::Closed => return self.release(&request),
            }
        }
        if at == input.len() {
            return self.keep_request(id, request, now);
        }
        request.buffer = match buffered {
            true => {
                buffer.truncate(kept);
                buffer.drain(..at);
                buffer
            }
            false => input[at..kept].to_vec(),
        };
        self.keep_request(id, request, now);
    }

    /// Puts back what is known of the request that has not arrived whole.
    fn keep_request(&mut self, id: ConnId, mut request: Request, now: Now) {
        if !request.buffer.is_empty() && request.deadline_ms.is_none() {
            let deadline_ms = now.ms + u64::from(self.limits.request_timeout_ms);
            request.deadline_ms = Some(deadline_ms);
            self.peers.arm_by(id, deadline_ms);
        }
        let idle = request.deadline_ms.is_none();
        if let Some(peer) = self.peers.get_mut(id)
            && matches!(peer.phase, Phase::Request(_))
        {
            peer.phase = Phase::Request(request);
        }
        if idle {
            self.peers.arm_by(id, now.ms + u64::from(self.limits.keep_alive_timeout_ms));
        }
    }

    fn next_request(&mut self, id: ConnId, request: &mut Request, input: &[u8], now: Now) -> Step {
        let Limits { request_head_bytes, request_headers, .. } = self.limits;
        let (bytes_max, headers_max) = (request_head_bytes as usize, request_headers as usize);
        // An incomplete head is parsed again from its beginning whenever more of it arrives.
        self.peers.work.add_bytes(input.len());
        let (head, head_len) = match http::parse(input, bytes_max, headers_max) {
            Ok(Some(parsed)) => parsed,
            Ok(None) if input.len() > self.request_bytes_max => {
                let reject = http::body_too_large(input.len(), self.request_bytes_max);
                return self.refused(id, reject, now);
            }
            Ok(None) => return Step::Incomplete,
            Err(reject) => return self.refused(id, reject, now),
        };
        self.peers.work.add(REQUEST_UNITS);
        if request.is_for_metrics {
            // The answer may iterate over all connections.
            self.peers.work.add(self.peers.len() as u64 / 4);
            // Nothing there has a body: what follows one would be taken for a request.
            let keep_alive = head.keep_alive && matches!(head.body, Body::Length(0));
            let response = self.answer_watcher(&head, now);
            return self.answer(id, &Head { keep_alive, ..head }, response, head_len, now);
        }
        match head.body {
            // Decoded chunks cannot be put back: start only where the request cannot be put off.
            Body::Chunked if self.is_put_off(|_| u64::MAX) => Step::Deferred,
            Body::Length(len) => {
                let total = head_len.saturating_add(len);
                if total > self.request_bytes_max {
                    let reject = http::body_too_large(total, self.request_bytes_max);
                    return self.refused(id, reject, now);
                }
                if input.len() < total {
                    request.needed = total;
                    return self.await_body(id, request, &head, Step::Incomplete, now);
                }
                self.serve(id, &head, &input[head_len..total], total, now)
            }
            Body::Chunked => {
                let mut chunked = request.chunked.take().unwrap_or_default();
                match self.decode_chunked(&mut chunked, &input[head_len..], head_len) {
                    Err(reject) => self.refused(id, reject, now),
                    Ok(Some(taken)) => self.serve(id, &head, &chunked.body, head_len + taken, now),
                    Ok(None) => {
                        request.chunked = Some(chunked);
                        self.await_body(id, request, &head, Step::Partial(head_len), now)
                    }
                }
            }
        }
    }

    /// Decodes what has arrived of a chunked body; says how much of it the body took when it has
    /// ended.
    fn decode_chunked(
        &self,
        chunked: &mut ChunkedBody,
        input: &[u8],
        head_len: usize,
    ) -> Result<Option<usize>, HttpError> {
        let body_max = self.request_bytes_max.saturating_sub(head_len);
        let taken = chunked.decoder.decode(input, &mut chunked.body, body_max)?;
        Ok(chunked.decoder.is_done().then_some(taken))
    }

    /// Decides once for a request whether its body is worth waiting for.
    fn await_body(
        &mut self,
        id: ConnId,
        request: &mut Request,
        head: &Head<'_>,
        step: Step,
        now: Now,
    ) -> Step {
        if request.checked {
            return step;
        }
        if let Err(response) = self.check_head(head, now) {
            return self.answer(id, &Head { keep_alive: false, ..*head }, response, 0, now);
        }
        request.checked = true;
        self.api_requests += 1;
        if head.expects_continue && head.minor == 1 {
            self.peers.queue(id, http::continue_frame());
        }
        step
    }

    /// Whether one more request may be on its way.
    pub(super) fn check_room_for_api(&self) -> Result<(), Response> {
        let limit = self.limits.api_requests;
        if self.api_requests < limit {
            return Ok(());
        }
        let text = format!("{limit} requests are on their way already (limits.api_requests).");
        Err(HttpError::at(LimitKind::ApiRequests, 503, text).into())
    }

    /// A request has ended, answered or not.
    pub(super) fn release(&mut self, request: &Request) {
        if request.checked {
            self.api_requests -= 1;
        }
    }

    fn serve(&mut self, id: ConnId, head: &Head<'_>, body: &[u8], len: usize, now: Now) -> Step {
        if head.websocket {
            return match self.upgrade(id, head, now) {
                Ok(()) => Step::Upgraded(len),
                Err(response) => {
                    self.count_request(api::WEBSOCKET, response.status);
                    self.answer(id, head, response, len, now)
                }
            };
        }
        match self.api(head, body, now) {
            Answer::Whole(response) => self.answer(id, head, response, len, now),
            Answer::Deferred => Step::Deferred,
            Answer::Listing(listing) => self.begin_listing(id, head, listing, len, now),
        }
    }

    /// Whether the next request of a connection must wait: for other connections, or until its
    /// client has read earlier answers.
    fn must_wait(&mut self, id: ConnId, now: Now) -> bool {
        if self.peers.work.is_visit_over() {
            let lane = self.peers.work.lane_after_visit();
            self.schedule_in(id, lane);
            return true;
        }
        self.has_long_answer(id, now)
    }

    fn answer(
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
        self.peers.queue_after_event(id, frame);
        if keep {
            return Step::Served(len);
        }
        self.end_connection(id, now)
    }

    /// Begins to close a connection. Its outbox is still sent.
    pub(super) fn end_connection(&mut self, id: ConnId, now: Now) -> Step {
        self.retire(id, CloseMode::AfterPeer { half_closed: false }, now);
        Step::Closed
    }

    /// Holds the rest of the input until the connection's outbox is empty.
    fn wait_for_reader(&mut self, id: ConnId, request: &mut Request, now: Now) {
        request.is_held = true;
        self.pause(id, now);
    }

    /// Whether a connection stays open after this request.
    pub(super) fn keeps(&self, id: ConnId, head: &Head<'_>) -> bool {
        head.keep_alive && !self.is_draining() && !self.is_crowded(id)
    }

    /// Brings the deadline of an incomplete request forward to this time.
    pub(super) fn hurry_request(&mut self, id: ConnId, deadline_ms: u64) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        if let Phase::Request(request) = &mut peer.phase
            && request.deadline_ms.is_some_and(|before_ms| before_ms > deadline_ms)
        {
            request.deadline_ms = Some(deadline_ms);
            self.peers.arm_by(id, deadline_ms);
        }
    }

    /// Answers what cannot be served and closes: where the next request would begin is unknown.
    pub(super) fn refuse(&mut self, id: ConnId, reject: HttpError, now: Now) {
        log::debug!("refused a request: {} {}", reject.status, reject.text);
        if let Some(bound) = reject.bound {
            self.limit_exceeded(id, bound, now);
        }
        self.count_request(api::NO_ROUTE, reject.status);
        let frame = Response::from(reject).encode(false, Some("close"), self.date(now));
        self.peers.queue(id, frame);
        self.retire(id, CloseMode::AfterPeer { half_closed: false }, now);
    }

    fn refused(&mut self, id: ConnId, reject: HttpError, now: Now) -> Step {
        self.refuse(id, reject, now);
        Step::Closed
    }

    /// The time for the `Date` header, written once a second.
    pub(super) fn date(&mut self, now: Now) -> &str {
        if self.date.0 != now.unix_s {
            self.date = (now.unix_s, http::date(now.unix_s));
        }
        &self.date.1
    }
}
