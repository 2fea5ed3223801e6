//! The requests of the console: which need a session, and which part answers each.

use super::guard::{self, Login};
use super::responses::{error, object, with_headers};
use super::{Console, HAS_CONSOLE, admin, document};
use crate::hub::Hub;
use crate::hub::api::Answer;
use crate::hub::connections::requests::Step;
use crate::hub::feed::{EVERY_APP, Filter};
use crate::hub::ids::{ConnId, Now};
use crate::hub::peer::Request;
use crate::proto::http::{Body, Head, Response};
use crate::proto::query::Query;

impl<T> Hub<T> {
    /// The response to a request that can be answered before its body arrives: every rejection that
    /// the head shows. Without a session, the server stores a body only if it is that of a login,
    /// which is short.
    pub(in crate::hub) fn answer_console_head(
        &mut self,
        head: &Head<'_>,
        now: Now,
    ) -> Option<Response> {
        let admitted = self.admit_to_console(head, now);
        let answer = admitted.and_then(|()| self.connections.check_room_for_api());
        answer.err().map(with_headers)
    }

    /// Answers a request on the port of the console.
    pub(in crate::hub) fn serve_console(
        &mut self,
        id: ConnId,
        request: &mut Request,
        head: &Head<'_>,
        body: &[u8],
        len: usize,
        now: Now,
    ) -> Step {
        // A request that waits was admitted before.
        let admitted = match request.app_request {
            Some(_) => Ok(()),
            None => self.admit_to_console(head, now),
        };
        let answer = match admitted {
            Ok(()) if admin::methods(head.path).is_some() => {
                return self.serve_admin(id, request, head, body, len, now);
            }
            Ok(()) => self.answer_console(request, head, body, now),
            Err(response) => Err(response),
        };
        match answer.unwrap_or_else(Answer::Whole) {
            Answer::Whole(response) => {
                self.connections.respond(id, head, with_headers(response), len, now)
            }
            Answer::Feed(feed) => self.connections.begin_feed(id, head, *feed, now),
            Answer::Deferred => Step::Deferred,
            Answer::Listing(listing) => self.connections.begin_listing(id, head, listing, len, now),
        }
    }

    /// Checks everything that the head shows: where the request comes from, and the session.
    fn admit_to_console(&mut self, head: &Head<'_>, now: Now) -> Result<(), Response> {
        let Some(console) = self.console.as_deref_mut().filter(|_| HAS_CONSOLE) else {
            let text =
                "The console has no token, so it stays closed; the log of the server says why.";
            return Err(Response::text(503, text));
        };
        console.guard.check_source(head, admin::methods(head.path).is_some())?;
        let is = |name: &str| head.method.eq_ignore_ascii_case(name);
        let methods = match head.path {
            "/" | "/api/overview" | "/api/channels" | "/api/channel" => "GET, HEAD",
            "/api/feed" => "GET",
            "/api/login" | "/api/logout" | "/api/publish" | "/api/kick" | "/api/signature" => {
                "POST"
            }
            path => match admin::methods(path) {
                Some(methods) => methods,
                None => return Err(Response::text(404, "Not found. The console is at /.")),
            },
        };
        if !methods.split(", ").any(is) {
            let response = Response::text(405, "Method not allowed.");
            return Err(response.with_header("Allow", methods));
        }
        match head.path {
            "/api/login" if !is_short(head.body) => {
                Err(error(413, "The body of a login is a JSON object with the token."))
            }
            "/" if head.body != Body::Length(0) => Err(error(413, "This request has no body.")),
            "/" | "/api/login" => Ok(()),
            "/api/publish" | "/api/kick" if !console.may_write => {
                console.guard.check_session(head)?;
                let text = "This console only reads: set REVERB_CONSOLE_WRITE=true to let it \
                            publish and disconnect clients.";
                Err(error(403, text))
            }
            path if admin::methods(path).is_some() => {
                console.guard.check_token_or_session(head, now)?;
                if !is("GET") && !console.may_write {
                    let text = "This console only reads: set REVERB_CONSOLE_WRITE=true to let it \
                                change apps.";
                    return Err(error(403, text));
                }
                Ok(())
            }
            _ => console.guard.check_session(head),
        }
    }

    fn answer_console(
        &mut self,
        request: &mut Request,
        head: &Head<'_>,
        body: &[u8],
        now: Now,
    ) -> Result<Answer, Response> {
        self.connections.begin_request();
        self.connections.work.add_bytes(body.len());
        let query = Query::parse(head.query);
        let response = match head.path {
            "/" => document::response(head),
            "/api/login" => self.log_in(head, body, now)?,
            "/api/logout" => {
                Response::json(200, "{}").with_header("Set-Cookie", guard::ended(head))
            }
            "/api/overview" => self.overview(&query, now)?,
            "/api/channels" => return self.channels_of_console(request, &query),
            "/api/channel" => self.channel_of_console(&query, now)?,
            "/api/feed" => return self.feed_of_console(&query),
            "/api/publish" => return self.publish_from_console(&query, body, now),
            "/api/kick" => return self.kick_from_console(&query, body, now),
            _ => return self.check_signature(&query, body),
        };
        Ok(response.into())
    }

    pub(super) fn console(&self) -> Result<&Console, Response> {
        self.console.as_deref().ok_or_else(|| error(503, "There is no console."))
    }

    fn log_in(&mut self, head: &Head<'_>, body: &[u8], now: Now) -> Result<Response, Response> {
        let body = object(body)?;
        let token = body.text("token").unwrap_or_default();
        let console = self.console.as_deref_mut();
        let console = console.ok_or_else(|| error(503, "There is no console."))?;
        match console.guard.log_in(token.trim(), head, now) {
            Login::Opened(cookie) => {
                Ok(Response::json(200, "{}").with_header("Set-Cookie", cookie))
            }
            Login::Wrong => Err(guard::wrong_token()),
            Login::TooSoon(seconds) => Err(guard::too_soon(seconds)),
        }
    }

    /// The feed of all apps, or of the one in `app`.
    fn feed_of_console(&mut self, query: &Query<'_>) -> Result<Answer, Response> {
        let filter = Filter::parse(query, self.connections.happenings.feed_payload);
        let filter = filter.map_err(|why| error(400, &why))?;
        let filter = match query.value("app") {
            None | Some("") => filter,
            Some(_) => filter.of_app(self.app_of(query)?),
        };
        self.api().begin_feed(EVERY_APP, filter)
    }

    /// The index of the app that a request names.
    pub(super) fn app_of(&self, query: &Query<'_>) -> Result<u32, Response> {
        let id = query.value("app").unwrap_or_default();
        let found = self.pubsub.by_id.get(id).copied();
        found.ok_or_else(|| error(404, "There is no app with this id."))
    }
}

/// Whether a body is as short as that of a login: without a session, the server stores no other.
fn is_short(body: Body) -> bool {
    matches!(body, Body::Length(..=LOGIN_BYTES_MAX))
}

/// The most bytes of the body of a login, which contains a token.
const LOGIN_BYTES_MAX: usize = 4_096;
