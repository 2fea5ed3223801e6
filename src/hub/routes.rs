//! The HTTP routes, in one table: the name of each in metrics, its methods, and the pattern of its
//! paths. Handlers are in `api`, which matches the routes exhaustively.

use std::borrow::Cow;

use crate::proto::http::Response;
use crate::proto::query::decode_percent;

macro_rules! routes {
    ($($(#[$doc:meta])* $route:ident, $name:literal, $allow:literal, [$($part:expr),*];)*) => {
        /// The route of a path. The order is that of [`NAMES`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Route {
            /// No route.
            None,
            $($(#[$doc])* $route,)*
        }

        /// The names of the routes in metrics: `NAMES[route as usize]`.
        pub(crate) const NAMES: [&str; [$($name),*].len() + 1] = ["none", $($name),*];

        /// Each route with the value of its `Allow` header and the segments of its paths.
        const TABLE: &[(Route, &str, &[&str])] =
            &[$((Route::$route, $allow, &[$($part),*])),*];
    };
}

/// A segment of a path that may have any value.
const ANY: &str = "*";

routes! {
    /// The health check.
    Up, "up", "GET, HEAD", ["up"];
    /// Whether new clients are accepted.
    Ready, "ready", "GET, HEAD", ["ready"];
    /// A WebSocket, requested without a handshake.
    WebSocket, "app", "GET, HEAD", ["app", ANY];
    Events, "events", "POST", ["apps", ANY, "events"];
    BatchEvents, "batch_events", "POST", ["apps", ANY, "batch_events"];
    Connections, "connections", "GET, HEAD", ["apps", ANY, "connections"];
    Channels, "channels", "GET, HEAD", ["apps", ANY, "channels"];
    Channel, "channel", "GET, HEAD", ["apps", ANY, "channels", ANY];
    Users, "users", "GET, HEAD", ["apps", ANY, "channels", ANY, "users"];
    TerminateOne, "terminate_connection", "POST",
        ["apps", ANY, "connections", ANY, "terminate"];
    Feed, "feed", "GET", ["apps", ANY, "feed"];
    Terminate, "terminate_connections", "POST",
        ["apps", ANY, "users", ANY, "terminate_connections"];
}

/// Whether requests of this route are API requests.
pub(crate) fn is_api(route: Route) -> bool {
    route as usize >= Route::Events as usize
}

/// Whether requests of this route read something of an app and change nothing.
pub(crate) fn is_read(route: Route) -> bool {
    let is_get = |allow: &str| allow.starts_with("GET");
    is_api(route) && TABLE.iter().any(|(other, allow, _)| *other == route && is_get(allow))
}

/// The most segments a path may have.
const SEGMENTS_MAX: usize = 5;

/// The routes of a server, which are served at the root and under a path prefix.
#[derive(Debug)]
pub(crate) struct Routes {
    prefix: String,
}

/// A route, and the arguments in its path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found<'a> {
    pub route: Route,
    /// The id of the app, if the route is one of an app.
    pub app_id: Cow<'a, str>,
    /// The channel, the user or the connection, if the route has one.
    pub argument: Cow<'a, str>,
    /// The path without the prefix; official libraries sign this path.
    pub path: &'a str,
}

impl Routes {
    pub(crate) fn new(prefix: String) -> Self {
        Routes { prefix }
    }

    /// The route of a path, under the prefix or without it: proxies may strip the prefix, and some
    /// publishers never send it.
    pub(crate) fn find<'a>(&self, path: &'a str) -> Option<Found<'a>> {
        self.without_prefix(path).and_then(find).or_else(|| find(path))
    }

    /// The path after the prefix; `None` if the path has another.
    pub(crate) fn without_prefix<'p>(&self, path: &'p str) -> Option<&'p str> {
        let rest = path.strip_prefix(self.prefix.as_str())?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }
}

/// Matches a path without the prefix. Each segment is percent-decoded separately: an encoded slash
/// (`%2F`) is part of its segment and does not separate segments.
fn find(path: &str) -> Option<Found<'_>> {
    let mut segments = path.trim_start_matches('/').split('/').map(decode_percent);
    let mut parts = [(); SEGMENTS_MAX].map(|()| segments.next());
    if segments.next().is_some() || parts.iter().flatten().any(|part| part.is_empty()) {
        return None;
    }
    let count = parts.iter().flatten().count();
    let matches = |pattern: &[&str]| {
        let pairs = pattern.iter().zip(parts.iter().flatten());
        pattern.len() == count && pairs.into_iter().all(|(want, part)| *want == ANY || want == part)
    };
    let &(route, ..) = TABLE.iter().find(|(_, _, pattern)| matches(pattern))?;
    let mut part = |at: usize| parts[at].take().unwrap_or_default();
    Some(Found { route, app_id: part(1), argument: part(3), path })
}

/// The response to a method that a route does not have. `HEAD` is `GET` without the body.
pub(crate) fn wrong_method(route: Route, method: &str) -> Option<Response> {
    let (_, allow, _) = TABLE.iter().find(|(other, ..)| *other == route)?;
    let mut methods = allow.split(", ");
    let is_right = methods.any(|name| method.eq_ignore_ascii_case(name));
    (!is_right).then(|| Response::text(405, "Method not allowed.").with_header("Allow", *allow))
}

/// The response of the health check.
pub(crate) fn health() -> Response {
    Response::json(200, r#"{"health":"OK"}"#)
}

/// The response of the readiness check: while the server stops, it accepts no new clients.
pub(crate) fn readiness(is_draining: bool) -> Response {
    match is_draining {
        false => Response::json(200, r#"{"ready":true}"#),
        true => Response::json(503, r#"{"ready":false}"#),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_their_routes_exactly() {
        let of = |path| find(path).map(|found| (found.route, found.argument.into_owned()));
        let is = |route, argument: &str| Some((route, argument.to_owned()));
        assert_eq!(of("/up"), is(Route::Up, ""));
        assert_eq!(of("//up"), is(Route::Up, ""));
        assert_eq!(of("/%75p"), is(Route::Up, ""));
        assert_eq!(of("/ready"), is(Route::Ready, ""));
        assert_eq!(of("/app/key"), is(Route::WebSocket, ""));
        assert_eq!(of("/up/"), None);
        assert_eq!(of("/UP"), None);
        assert_eq!(of("/apps/a/events"), is(Route::Events, ""));
        assert_eq!(of("/apps/%61/channels"), is(Route::Channels, ""));
        assert_eq!(find("/apps/%61/channels").map(|found| found.app_id), Some("a".into()));
        assert_eq!(of("/apps/a/channels/c%20d"), is(Route::Channel, "c d"));
        assert_eq!(of("/apps/a/channels/c%2Fd"), is(Route::Channel, "c/d"));
        assert_eq!(of("/apps/a/channels/c%2fusers"), is(Route::Channel, "c/users"));
        assert_eq!(of("/apps/a/channels/c/users"), is(Route::Users, "c"));
        assert_eq!(of("/apps/a/channels/c%2Fd/users"), is(Route::Users, "c/d"));
        assert_eq!(of("/apps/a/users/7/terminate_connections"), is(Route::Terminate, "7"));
        assert_eq!(of("/apps/a/feed"), is(Route::Feed, ""));
        assert_eq!(of("/apps/a/connections/1.2/terminate"), is(Route::TerminateOne, "1.2"));
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
            assert_eq!(of(path), None, "{path}");
        }
    }

    #[test]
    fn an_api_request_reads_or_changes_something() {
        for route in
            [Route::Connections, Route::Channels, Route::Channel, Route::Users, Route::Feed]
        {
            assert!(is_read(route), "{route:?}");
        }
        for route in [Route::Events, Route::BatchEvents, Route::Terminate, Route::TerminateOne] {
            assert!(!is_read(route), "{route:?}");
        }
        for route in [Route::None, Route::Up, Route::Ready, Route::WebSocket] {
            assert!(!is_read(route), "{route:?}");
        }
    }

    #[test]
    fn no_pattern_is_longer_than_a_path_is_split() {
        assert!(TABLE.iter().all(|(_, _, pattern)| pattern.len() <= SEGMENTS_MAX));
    }

    #[test]
    fn a_prefix_ends_where_a_segment_does() {
        let routes = Routes::new("/ws".to_owned());
        assert_eq!(routes.find("/ws/up").map(|found| found.path), Some("/up"));
        assert_eq!(routes.find("/up").map(|found| found.path), Some("/up"));
        assert_eq!(routes.find("/wsx/up"), None);
    }
}
