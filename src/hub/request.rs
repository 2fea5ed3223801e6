//! HTTP input: assembles whole requests, serves them one after another, and passes the
//! connection on when it becomes a WebSocket. Routes are in `routes`, API requests in `api`.

use super::Hub;
use super::api::Answer;
use super::connections::requests::Step;
use super::console::HAS_CONSOLE;
use super::feed::HAS_FEED;
use super::ids::{ConnId, Now};
use super::peer::Request;
use super::port::Port;
use super::routes::Route;
use super::work::{Lane, REQUEST_UNITS};
use crate::config::Limits;
use crate::proto::http::{self, Body, Head, Response};
use crate::proto::websocket::Reader;

impl<T> Hub<T> {
    /// Handles bytes of an HTTP connection. Whole requests are served in place; incomplete and
    /// deferred requests are stored.
    pub(super) fn handle_request_bytes(
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
        let mut keep_end = input.len();
        request.is_held = !self.api().continue_listing(id, &mut request, now);
        while !request.is_held && at < input.len() && input.len() - at >= request.needed as usize {
            if self.connections.must_wait(id, now) {
                request.is_held = true;
                break;
            }
            match self.next_request(id, &mut request, &input[at..], now) {
                Step::Incomplete => break,
                Step::Deferred => {
                    request.is_held = true;
                    self.connections.schedule_in(id, Lane::Heavy);
                }
                Step::Waiting => request.is_held = true,
                Step::Listing(len, listing) => {
                    at += len;
                    self.connections.release(&request);
                    request = Request { listing: Some(listing), ..request.next() };
                    self.connections.wait_for_reader(id, &mut request, now);
                }
                Step::Partial(len) => {
                    keep_end = at + len;
                    break;
                }
                Step::Served(len) => {
                    at += len;
                    self.connections.release(&request);
                    request = request.next();
                }
                Step::Upgraded(len) => {
                    return self.handle_frames(id, Reader::default(), &mut input[at + len..], now);
                }
                Step::Viewing | Step::Closed => return self.connections.release(&request),
            }
        }
        if at == input.len() {
            return self.connections.store_request(id, request, now);
        }
        request.buffer = match buffered {
            true => {
                buffer.truncate(keep_end);
                buffer.drain(..at);
                buffer
            }
            false => input[at..keep_end].to_vec(),
        };
        self.connections.store_request(id, request, now);
    }

    fn next_request(&mut self, id: ConnId, request: &mut Request, input: &[u8], now: Now) -> Step {
        let Limits { request_head_bytes, request_headers, .. } = self.connections.limits;
        let (bytes_max, headers_max) = (request_head_bytes as usize, request_headers as usize);
        // An incomplete head is parsed again from its beginning whenever more input arrives.
        self.connections.work.add_bytes(input.len());
        let (head, head_len) = match http::parse(input, bytes_max, headers_max) {
            Ok(Some(parsed)) => parsed,
            Ok(None) if input.len() > self.connections.request_bytes_max => {
                let error = http::body_too_large(input.len(), self.connections.request_bytes_max);
                return self.connections.reject_request(id, error, now);
            }
            Ok(None) => return Step::Incomplete,
            Err(error) => return self.connections.reject_request(id, error, now),
        };
        self.connections.work.add(REQUEST_UNITS);
        if request.port == Port::Metrics {
            // The answer may iterate over all connections.
            self.connections.work.add(self.connections.len() as u64 / 4);
            // No route of this port takes a body; the bytes of one would be parsed as a request.
            let keep_alive = head.keep_alive && matches!(head.body, Body::Length(0));
            let response = self.answer_metrics_port(&head, now);
            return self.connections.respond(
                id,
                &Head { keep_alive, ..head },
                response,
                head_len,
                now,
            );
        }
        match head.body {
            // Decoding consumes the chunks: it may only start when the request cannot be deferred
            // any more.
            Body::Chunked if self.connections.must_defer(|| u64::MAX) => Step::Deferred,
            Body::Length(len) => {
                let total = head_len.saturating_add(len);
                if total > self.connections.request_bytes_max {
                    let error = http::body_too_large(total, self.connections.request_bytes_max);
                    return self.connections.reject_request(id, error, now);
                }
                if input.len() < total {
                    request.needed = total as u32;
                    return self.await_body(id, request, &head, Step::Incomplete, now);
                }
                self.serve(id, request, &head, &input[head_len..total], total, now)
            }
            Body::Chunked => {
                let mut chunked = request.chunked.take().unwrap_or_default();
                match self.connections.decode_chunked(&mut chunked, &input[head_len..], head_len) {
                    Err(error) => self.connections.reject_request(id, error, now),
                    Ok(Some(taken)) => {
                        self.serve(id, request, &head, &chunked.body, head_len + taken, now)
                    }
                    Ok(None) => {
                        request.chunked = Some(chunked);
                        self.await_body(id, request, &head, Step::Partial(head_len), now)
                    }
                }
            }
        }
    }

    /// Decides once per request whether to wait for its body.
    fn await_body(
        &mut self,
        id: ConnId,
        request: &mut Request,
        head: &Head<'_>,
        step: Step,
        now: Now,
    ) -> Step {
        if request.is_counted {
            return step;
        }
        let early = match request.port {
            Port::Console if HAS_CONSOLE => self.answer_console_head(head, now),
            _ => self.answer_api_head(id, head, now),
        };
        if let Some(response) = early {
            return self.connections.respond(
                id,
                &Head { keep_alive: false, ..*head },
                response,
                0,
                now,
            );
        }
        request.is_counted = true;
        self.connections.api_requests += 1;
        if head.expects_continue && head.minor == 1 {
            self.connections.queue(id, http::continue_frame());
        }
        step
    }

    /// The response to an API request that needs no body, reported and logged if it is an error.
    fn answer_api_head(&mut self, id: ConnId, head: &Head<'_>, now: Now) -> Option<Response> {
        let response = self.api().answer_head(head, now)?;
        self.report_api_error(id, head, &response);
        if response.status == 401 {
            self.log_unsigned_request(id, head, &response, now);
        }
        Some(response)
    }

    fn serve(
        &mut self,
        id: ConnId,
        request: &mut Request,
        head: &Head<'_>,
        body: &[u8],
        len: usize,
        now: Now,
    ) -> Step {
        if HAS_CONSOLE && request.port == Port::Console {
            return self.serve_console(id, request, head, body, len, now);
        }
        if head.websocket {
            return match self.upgrade(id, head, now) {
                Ok(()) => Step::Upgraded(len),
                Err(response) => {
                    self.connections.count_request(Route::WebSocket, response.status);
                    self.connections.respond(id, head, response, len, now)
                }
            };
        }
        let answer = self.api().answer(head, body, now);
        // Before the response is queued, and before a deferred request is put in a lane.
        self.connections.set_request_app(id, request);
        match answer {
            Answer::Whole(response) => {
                self.report_api_error(id, head, &response);
                if response.status == 401 {
                    self.log_unsigned_request(id, head, &response, now);
                }
                self.connections.respond(id, head, response, len, now)
            }
            Answer::Deferred => Step::Deferred,
            Answer::Feed(request) if HAS_FEED => {
                self.connections.begin_feed(id, head, *request, now)
            }
            // `Api::feed` returns none without the feature.
            Answer::Feed(_) => self.connections.end_connection(id, now),
            Answer::Listing(listing) => self.connections.begin_listing(id, head, listing, len, now),
        }
    }
}
