//! The HTTP API (protocol section 14): which route a request is for, whether it is signed, and
//! what it is answered. Each verb has its file; none of them sees a connection.

mod channels;
mod events;
mod info;
mod listing;
mod signature;

use std::borrow::Cow;

use super::Hub;
use super::peer::Now;
use crate::proto::http::{Head, HttpError, Response};
use crate::proto::query::{Query, decode_percent};
use crate::proto::shown::shown;
pub(super) use events::Sent;
pub(super) use listing::Listing;
use signature::check_body;

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
enum Route<'a> {
    Up,
    Ready,
    /// Of an app: its id, and what of it.
    App(Cow<'a, str>, Verb<'a>),
    /// Of a WebSocket, asked for without one.
    WebSocket,
}

#[derive(Debug, PartialEq, Eq)]
enum Verb<'a> {
    Events,
    BatchEvents,
    Connections,
    Channels,
    Channel(Cow<'a, str>),
    Users(Cow<'a, str>),
    Terminate(Cow<'a, str>),
}

/// The routes, as figures name them; [`Route::place`] is the place of one.
pub(super) const ROUTES: [&str; 11] = [
    "none",
    "up",
    "ready",
    "app",
    "events",
    "batch_events",
    "connections",
    "channels",
    "channel",
    "users",
    "terminate_connections",
];
/// The place of what has no route.
pub(super) const NO_ROUTE: usize = 0;
/// The place of WebSockets.
pub(super) const WEBSOCKET: usize = 3;

impl Route<'_> {
    fn place(&self) -> usize {
        match self {
            Route::Up => 1,
            Route::Ready => 2,
            Route::WebSocket => WEBSOCKET,
            Route::App(_, Verb::Events) => 4,
            Route::App(_, Verb::BatchEvents) => 5,
            Route::App(_, Verb::Connections) => 6,
            Route::App(_, Verb::Channels) => 7,
            Route::App(_, Verb::Channel(_)) => 8,
            Route::App(_, Verb::Users(_)) => 9,
            Route::App(_, Verb::Terminate(_)) => 10,
        }
    }
}

/// The outcome of an API request.
pub(super) enum Answer {
    Whole(Response),
    /// A channel list that is too long for one turn; it is sent in pieces.
    Listing(Box<Listing>),
    /// The request is too much work for this visit. Nothing was done; a later visit retries it.
    Deferred,
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Answer::Whole(response)
    }
}

/// A request that its head shows to be one of an app, signed by it.
struct Call<'a> {
    app: u32,
    verb: Verb<'a>,
    query: Query<'a>,
}

impl<T> Hub<T> {
    /// Answers a request that is no handshake.
    pub(super) fn api(&mut self, head: &Head<'_>, body: &[u8], now: Now) -> Answer {
        self.peers.begin_request();
        self.peers.work.add_bytes(body.len());
        let (route, call) = self.call(head, now);
        let acted = call.and_then(|call| {
            check_body(&call.query, body)
                .and_then(|()| self.act(&call, body, now))
                .map_err(Response::from)
        });
        let answer = acted.unwrap_or_else(Answer::Whole);
        match &answer {
            Answer::Whole(response) => self.count_request(route, response.status),
            Answer::Listing(_) => self.count_request(route, 200),
            Answer::Deferred => {}
        }
        answer
    }

    /// A request of one of [`ROUTES`] was answered.
    pub(super) fn count_request(&mut self, route: usize, status: u16) {
        self.peers.counters.requests[route].count(status);
    }

    /// Checks all that can be checked of a request before its body has come, so that strangers
    /// cannot make the server keep what they send.
    ///
    /// # Errors
    ///
    /// The answer to a request that needs no body to be answered.
    pub(super) fn check_head(&mut self, head: &Head<'_>, now: Now) -> Result<(), Response> {
        let (route, checked) = match head.websocket {
            true => (WEBSOCKET, Err(Response::text(400, "A handshake has no body."))),
            false => {
                let (route, call) = self.call(head, now);
                (route, call.and_then(|_| self.check_room_for_api()))
            }
        };
        checked.inspect_err(|refusal| self.count_request(route, refusal.status))
    }

    /// Finds out what a request asks for: its place in [`ROUTES`], and the rest.
    ///
    /// # Errors
    ///
    /// The answer to a request that is none of an app's.
    fn call<'a>(&self, head: &Head<'a>, now: Now) -> (usize, Result<Call<'a>, Response>) {
        // Under the prefix, and without it: proxies strip it, and some publishers never had it.
        let stripped = self.without_prefix(head.path);
        let found = stripped.and_then(|path| Some((route(path)?, path)));
        let found = found.or_else(|| Some((route(head.path)?, head.path)));
        let Some((route, path)) = found else {
            return (NO_ROUTE, Err(Response::text(404, "Not found.")));
        };
        (route.place(), self.admit_call(route, path, head, now))
    }

    fn admit_call<'a>(
        &self,
        route: Route<'a>,
        path: &str,
        head: &Head<'a>,
        now: Now,
    ) -> Result<Call<'a>, Response> {
        if let Some(response) = wrong_method(&route, head.method) {
            return Err(response);
        }
        let (app_id, verb) = match route {
            Route::Up => return Err(Response::json(200, r#"{"health":"OK"}"#)),
            Route::Ready => return Err(self.readiness()),
            Route::WebSocket => {
                let text = "This is a WebSocket address: it needs an Upgrade header.";
                return Err(Response::text(426, text).with_header("Upgrade", "websocket"));
            }
            Route::App(app_id, verb) => (app_id, verb),
        };
        let Some(&app) = self.by_id.get(&*app_id) else {
            let text = format!("No matching application for ID [{}].", shown(&app_id, 100));
            return Err(Response::text(404, text));
        };
        let query = Query::parse(head.query);
        self.verify(app, path, head, &query, now)?;
        Ok(Call { app, verb, query })
    }

    fn act(&mut self, call: &Call<'_>, body: &[u8], now: Now) -> Result<Answer, HttpError> {
        let Call { app, verb, query } = call;
        let app = *app;
        let response = match verb {
            Verb::Events => return self.events(app, body, now),
            Verb::BatchEvents => return self.batch_events(app, body, now),
            Verb::Channels => return Ok(self.list_channels(app, query, now)),
            Verb::Users(_) | Verb::Terminate(_)
                if self.is_put_off(|hub| hub.units_to_look(app, verb)) =>
            {
                return Ok(Answer::Deferred);
            }
            Verb::Connections => self.connections_of(app),
            Verb::Channel(name) => self.channel_info(app, name, query, now),
            Verb::Users(channel) => self.users_of(app, channel),
            Verb::Terminate(user) => self.terminate(app, user, now),
        };
        Ok(response.into())
    }

    /// The estimated cost of a request that visits many users or channels, in units.
    fn units_to_look(&self, app: u32, verb: &Verb<'_>) -> u64 {
        let app = &self.apps[app as usize];
        match verb {
            Verb::Users(channel) => {
                let presence = app.channel(channel).and_then(|c| c.presence.as_deref());
                presence.map_or(0, |presence| presence.len() as u64)
            }
            Verb::Terminate(_) => app.channels.len() as u64,
            _ => 0,
        }
    }
}

/// Parses a path without the prefix. Each segment is percent-decoded separately: an encoded slash
/// (`%2F`) is part of its segment and does not separate segments.
fn route(path: &str) -> Option<Route<'_>> {
    let mut parts = path.trim_start_matches('/').split('/').map(decode_percent);
    let mut parts = [(); 6].map(|()| parts.next());
    if parts.iter().flatten().any(|part| part.is_empty()) {
        return None;
    }
    let names = parts.each_ref().map(|part| part.as_deref());
    let verb = match names {
        [Some("up"), None, ..] => return Some(Route::Up),
        [Some("ready"), None, ..] => return Some(Route::Ready),
        [Some("app"), Some(_), None, ..] => return Some(Route::WebSocket),
        [Some("apps"), Some(_), Some("events"), None, ..] => Verb::Events,
        [Some("apps"), Some(_), Some("batch_events"), None, ..] => Verb::BatchEvents,
        [Some("apps"), Some(_), Some("connections"), None, ..] => Verb::Connections,
        [Some("apps"), Some(_), Some("channels"), None, ..] => Verb::Channels,
        [Some("apps"), Some(_), Some("channels"), Some(_), None, _] => {
            Verb::Channel(parts[3].take()?)
        }
        [Some("apps"), Some(_), Some("channels"), Some(_), Some("users"), None] => {
            Verb::Users(parts[3].take()?)
        }
        [Some("apps"), Some(_), Some("users"), Some(_), Some("terminate_connections"), None] => {
            Verb::Terminate(parts[3].take()?)
        }
        _ => return None,
    };
    Some(Route::App(parts[1].take()?, verb))
}

/// The answer to a method that a route does not have. `HEAD` is `GET` without the body.
fn wrong_method(route: &Route<'_>, method: &str) -> Option<Response> {
    let posts =
        matches!(route, Route::App(_, Verb::Events | Verb::BatchEvents | Verb::Terminate(_)));
    let is = |name: &str| method.eq_ignore_ascii_case(name);
    let (right, allow) = match posts {
        true => (is("POST"), "POST"),
        false => (is("GET") || is("HEAD"), "GET, HEAD"),
    };
    (!right).then(|| Response::text(405, "Method not allowed.").with_header("Allow", allow))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_their_routes_exactly() {
        let of_a = |verb| Some(Route::App("a".into(), verb));
        assert_eq!(route("/up"), Some(Route::Up));
        assert_eq!(route("//up"), Some(Route::Up));
        assert_eq!(route("/%75p"), Some(Route::Up));
        assert_eq!(route("/up/"), None);
        assert_eq!(route("/UP"), None);
        assert_eq!(route("/apps/a/events"), of_a(Verb::Events));
        assert_eq!(route("/apps/%61/channels"), of_a(Verb::Channels));
        assert_eq!(route("/apps/a/channels/c%20d"), of_a(Verb::Channel("c d".into())));
        assert_eq!(route("/apps/a/channels/c%2Fd"), of_a(Verb::Channel("c/d".into())));
        assert_eq!(route("/apps/a/channels/c%2fusers"), of_a(Verb::Channel("c/users".into())));
        assert_eq!(route("/apps/a/channels/c/users"), of_a(Verb::Users("c".into())));
        assert_eq!(route("/apps/a/channels/c%2Fd/users"), of_a(Verb::Users("c/d".into())));
        assert_eq!(
            route("/apps/a/users/7/terminate_connections"),
            of_a(Verb::Terminate("7".into()))
        );
        for path in [
            "/apps//events",
            "/apps/a/events/",
            "/apps%2Fa/events",
            "/apps/a%2Fevents",
            "/apps/a/channels/c%2Fd/e",
            "/apps/a/channels/c/users/x",
            "/apps/a/channels/c/users/x/y",
            "/app",
            "/app/",
            "",
        ] {
            assert_eq!(route(path), None, "{path}");
        }
    }
}
