//! The HTTP API (protocol section 14): checks each request, calls its handler and returns the
//! response. Routes are in `routes`; each kind of request has its file. Handlers do not know the
//! connection of a request.

mod channels;
mod events;
mod feed;
mod listing;
mod quotas;
mod rate;
mod signature;

use std::borrow::Cow;

use super::connections::Connections;
use super::feed::FeedRequest;
use super::ids::Now;
use super::listing::Listing;
use super::pubsub::PubSub;
use super::routes::{self, Found, Route, Routes};
use crate::proto::http::{Head, Response};
use crate::proto::query::Query;
use crate::proto::shown::shown;
use rate::Rate;

/// The API, for one request.
pub(super) struct Api<'h, T> {
    pub pubsub: &'h mut PubSub,
    pub connections: &'h mut Connections<T>,
    pub routes: &'h Routes,
}

/// The outcome of an API request.
pub(super) enum Answer {
    Whole(Response),
    /// A channel list that is too long for one turn; it is sent in pieces.
    Listing(Box<Listing>),
    /// A feed, whose response does not end.
    Feed(Box<FeedRequest>),
    /// The request is too much work for this visit. Nothing was done; a later visit retries it.
    Deferred,
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Answer::Whole(response)
    }
}

/// A request whose head was checked.
enum Call<'a> {
    /// A request that needs no app, with its response.
    Answered(Response),
    /// A request with a valid signature of an app.
    OfApp {
        app: u32,
        route: Route,
        /// The channel, the user or the connection in the path.
        argument: Cow<'a, str>,
        query: Query<'a>,
    },
}

impl<T> Api<'_, T> {
    /// Handles a request that is not a handshake.
    pub(super) fn answer(&mut self, head: &Head<'_>, body: &[u8], now: Now) -> Answer {
        self.connections.begin_request();
        self.connections.work.add_bytes(body.len());
        let (route, call) = self.check_head(head, now);
        let outcome = call.and_then(|call| self.dispatch(call, body, now));
        let answer = outcome.unwrap_or_else(Answer::Whole);
        match &answer {
            Answer::Whole(response) => self.connections.count_request(route, response.status),
            Answer::Listing(_) | Answer::Feed(_) => self.connections.count_request(route, 200),
            Answer::Deferred => {}
        }
        answer
    }

    /// The response to a request that can be answered without its body. All checks that need only
    /// the head are done here, so that a client without a valid signature cannot make the server
    /// store a body.
    pub(super) fn answer_head(&mut self, head: &Head<'_>, now: Now) -> Option<Response> {
        let (route, answer) = match head.websocket {
            true => (Route::WebSocket, Some(Response::text(400, "A handshake has no body."))),
            false => match self.check_head(head, now) {
                (route, Ok(Call::OfApp { .. })) => {
                    (route, self.connections.check_room_for_api().err())
                }
                (route, Ok(Call::Answered(response)) | Err(response)) => (route, Some(response)),
            },
        };
        answer.inspect(|response| self.connections.count_request(route, response.status))
    }

    /// Finds the route of a request, and checks everything that needs no body.
    fn check_head<'a>(&self, head: &Head<'a>, now: Now) -> (Route, Result<Call<'a>, Response>) {
        match self.routes.find(head.path) {
            Some(found) => (found.route, self.admit_call(found, head, now)),
            None => (Route::None, Err(Response::text(404, "Not found."))),
        }
    }

    fn admit_call<'a>(
        &self,
        found: Found<'a>,
        head: &Head<'a>,
        now: Now,
    ) -> Result<Call<'a>, Response> {
        let Found { route, app_id, argument, path } = found;
        if let Some(response) = routes::wrong_method(route, head.method) {
            return Err(response);
        }
        match route {
            Route::Up => return Ok(Call::Answered(routes::health())),
            Route::Ready => {
                let is_draining = self.connections.is_draining();
                return Ok(Call::Answered(routes::readiness(is_draining)));
            }
            Route::WebSocket => {
                let text = "This is a WebSocket address: it needs an Upgrade header.";
                return Err(Response::text(426, text).with_header("Upgrade", "websocket"));
            }
            _ => {}
        }
        let Some(&app) = self.pubsub.by_id.get(&*app_id) else {
            let text = format!("No matching application for ID [{}].", shown(&app_id, 100));
            return Err(Response::text(404, text));
        };
        let query = Query::parse(head.query);
        self.verify(app, path, head, &query, now)?;
        if !self.pubsub.apps[app].settings.enabled {
            return Err(Response::text(403, "The app is disabled (enabled is false)."));
        }
        Ok(Call::OfApp { app, route, argument, query })
    }

    /// Checks the body of a request, and calls its handler.
    fn dispatch(&mut self, call: Call<'_>, body: &[u8], now: Now) -> Result<Answer, Response> {
        let (app, route, argument, query) = match call {
            Call::Answered(response) => return Ok(response.into()),
            Call::OfApp { app, route, argument, query } => (app, route, argument, query),
        };
        self.check_body(&query, body)?;
        self.connections.signed_app = Some(app);
        let is_read = routes::is_read(route);
        if is_read {
            self.check_rate(app, Rate::Reads, now)?;
        }
        if self.connections.must_defer(|| self.units_to_search(app, route, &argument)) {
            return Ok(Answer::Deferred);
        }
        if is_read {
            self.charge(app, Rate::Reads, 1, now);
        }
        let response = match route {
            Route::Events => return self.events(app, body, now),
            Route::BatchEvents => return self.batch_events(app, body, now),
            Route::Channels => return Ok(self.list_channels(app, &query, now)),
            Route::Feed => return self.feed(app, &query),
            Route::Connections => self.connections_of(app),
            Route::Channel => self.channel_info(app, &argument, &query, now),
            Route::Users => self.users_of(app, &argument),
            Route::Terminate => self.terminate(app, &argument, now),
            Route::TerminateOne => self.terminate_one(app, &argument, now),
            Route::None | Route::Up | Route::Ready | Route::WebSocket => {
                Response::text(404, "Not found.")
            }
        };
        Ok(response.into())
    }

    /// The estimated cost of a request that searches many users or channels, in units.
    fn units_to_search(&self, app: u32, route: Route, argument: &str) -> u64 {
        let app = &self.pubsub.apps[app];
        match route {
            Route::Users => {
                let presence = app.channel(argument).and_then(|c| c.presence.as_deref());
                presence.map_or(0, |presence| presence.len() as u64)
            }
            Route::Terminate => app.channels.len() as u64,
            Route::TerminateOne => self.connections.len() as u64,
            _ => 0,
        }
    }
}
