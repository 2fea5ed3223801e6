//! From HTTP to WebSocket: the handshake (RFC 6455 section 4.2), and whether the app accepts the
//! connection. The messages of an open WebSocket are handled in `subscriber`.
//!
//! An invalid handshake gets an HTTP error. An unknown path or key, a rejected origin and an
//! exceeded quota are reported after the handshake, with a close code: a browser that gets an HTTP
//! error waits fifteen seconds before it reconnects, and its script does not see the reason
//! (protocol section 4.3).

use std::borrow::Cow;

use super::Hub;
use super::drain::RESTARTING;
use super::feed::{EVERY_APP, Refusal};
use super::ids::{ConnId, Now, SocketId};
use super::origins::Origin;
use super::peer::{Liveness, Phase, Subscriber};
use super::wildcard;
use crate::config::LimitKind;
use crate::proto::http::{self, Body, Head, Response};
use crate::proto::message;
use crate::proto::query::decode_percent;
use crate::proto::websocket::{self, Reader};

/// The close code and the text for clients of an app with `enabled: false` (protocol section 4.1).
pub(super) const APP_DISABLED: (u16, &str) = (4003, "Application disabled");

/// Why an app does not accept a connection.
struct AdmitError {
    code: u16,
    message: &'static str,
    /// The app, if the key is that of one.
    app: Option<u32>,
    /// The limit of the app that was exceeded, if any, and its value.
    limit: Option<(LimitKind, u64)>,
}

impl<T> Hub<T> {
    /// Makes the connection a WebSocket.
    ///
    /// # Errors
    ///
    /// The response to a request that is not a valid handshake.
    pub(super) fn upgrade(
        &mut self,
        id: ConnId,
        head: &Head<'_>,
        now: Now,
    ) -> Result<(), Response> {
        let key = check_handshake(head)?;
        self.connections.apply_forwarded_for(id, head, now);
        let user_agent = head.user_agent.unwrap_or_default();
        let has_deflate = head.offers_deflate && self.connections.accepts_deflate(user_agent);
        let extensions = has_deflate.then_some(websocket::DEFLATE);
        self.connections.queue(id, http::switching_protocols(key, extensions));
        match self.admit(id, head) {
            Ok(_) if self.connections.is_draining() => {
                if !self.connections.defer(id, now) {
                    self.close_with(id, 4100, RESTARTING, now);
                }
            }
            Ok(app) => {
                self.open_websocket(id, app, head.origin, now);
                if has_deflate {
                    self.connections.set_deflate(id);
                }
            }
            Err(AdmitError { code, message, app, limit }) => {
                if let Some((limit, value)) = limit {
                    self.connections.limit_exceeded_in(app, id, limit, value, now);
                }
                self.report_refused(id, app, code, message);
                match (code, app, self.key_in(head.path)) {
                    (4001, _, Some(key)) => self.log_unknown_key(id, &key, head, now),
                    (4009, Some(app), _) => self.log_origin(id, app, head, now),
                    _ => {}
                }
                log::debug!("rejected a WebSocket at {:?}: {code} {message}", head.path);
                self.close_with(id, code, message, now);
            }
        }
        Ok(())
    }

    fn open_websocket(&mut self, id: ConnId, index: u32, origin: Option<&str>, now: Now) {
        let socket_id = self.random.socket_id();
        let origin = origin.and_then(|origin| self.connections.origins.share(origin));
        let app = &mut self.pubsub.apps[index];
        let Some(address) = self.connections.get(id).map(|peer| peer.address) else { return };
        let from = origin.as_ref().map(Origin::as_str);
        self.connections.happenings.connected(index, socket_id, address, from);
        let Some(peer) = self.connections.get_mut(id) else { return };
        let before = peer.app();
        peer.phase = Phase::Open(new_subscriber(index, socket_id, origin, now));
        self.connections.app_changed(id, before);
        app.connections += 1;
        self.connections.counters.apps[index as usize].connections_opened += 1;
        self.pubsub.bus.iter_mut().for_each(|bus| bus.queue_connection_count(index));
        let app = &self.pubsub.apps[index];
        if !self.echoes {
            let timeout_s = app.settings.activity_timeout_s;
            self.connections.queue(id, message::established(&socket_id.to_string(), timeout_s));
        }
        self.connections.arm_by(id, now.ms + u64::from(app.settings.ping_interval_s) * 1_000);
        self.connections.arm_authorization(id, app.settings.limits.authorization_timeout_s, now);
        log::debug!("{socket_id} connected to app {}", app.settings.id);
    }

    /// Reports that a handshake was rejected: to the console alone if no app has the key.
    fn report_refused(&mut self, id: ConnId, app: Option<u32>, code: u16, reason: &str) {
        let address = self.connections.get(id).and_then(|peer| peer.address);
        let (socket_id, channel, expected) = (None, None, None);
        let refusal = Refusal { socket_id, address, channel, code, reason, expected };
        self.connections.happenings.refused(app.unwrap_or(EVERY_APP), &refusal);
    }

    /// The app that accepts the connection, or why it does not.
    fn admit(&self, id: ConnId, head: &Head<'_>) -> Result<u32, AdmitError> {
        if self.echoes {
            return Ok(0);
        }
        let refuse = |code, message| Err(AdmitError { code, message, app: None, limit: None });
        let Some(key) = self.key_in(head.path) else { return refuse(4005, "Path not found") };
        let Some(&index) = self.pubsub.by_key.get(&*key) else {
            return refuse(4001, "Application does not exist");
        };
        let refuse =
            |code, message| Err(AdmitError { code, message, app: Some(index), limit: None });
        let app = &self.pubsub.apps[index];
        if !app.settings.enabled {
            return refuse(APP_DISABLED.0, APP_DISABLED.1);
        }
        if !origin_is_allowed(&app.settings.allowed_origins, head.origin) {
            return refuse(4009, "Origin not allowed");
        }
        let all = app.all_connections();
        if let Some(max) = app.settings.max_connections.filter(|max| all >= u64::from(*max)) {
            let message = "Application is over connection quota";
            let limit = Some((LimitKind::AppConnections, max.into()));
            return Err(AdmitError { code: 4004, message, app: Some(index), limit });
        }
        if self.connections.is_full() {
            return refuse(4100, "Server is over capacity");
        }
        if self.connections.surplus(id) > 0 {
            return refuse(4100, "Too many connections from this address");
        }
        Ok(index)
    }

    /// The key of an app in the path of a WebSocket.
    fn key_in<'p>(&self, path: &'p str) -> Option<Cow<'p, str>> {
        let path = self.routes.without_prefix(path).unwrap_or(path);
        match path.trim_start_matches('/').split_once('/')? {
            ("app", key) if !key.is_empty() && !key.contains('/') => Some(decode_percent(key)),
            _ => None,
        }
    }
}

fn new_subscriber(app: u32, socket_id: SocketId, origin: Option<Origin>, now: Now) -> Subscriber {
    Subscriber {
        app,
        socket_id,
        origin,
        reader: Reader::default(),
        memberships: Vec::new(),
        user: None,
        window: (0, now.ms as u32),
        client_events: (0, 0),
        opened_ms: now.ms as u32,
        liveness: Liveness::Quiet,
    }
}

/// The key of a valid handshake. It is checked last, so that an unsupported version of HTTP or
/// WebSocket is reported rather than a missing or invalid key.
fn check_handshake<'a>(head: &Head<'a>) -> Result<&'a [u8], Response> {
    if !head.method.eq_ignore_ascii_case("GET") {
        return Err(Response::text(405, "Method not allowed.").with_header("Allow", "GET"));
    }
    if head.minor == 0 {
        return Err(Response::text(400, "A WebSocket needs HTTP/1.1."));
    }
    if head.body != Body::Length(0) {
        return Err(Response::text(400, "A handshake has no body."));
    }
    if head.websocket_version != Some(b"13") {
        let response = Response::text(426, "WebSocket version 13 is spoken here.");
        let response = response.with_header("Upgrade", "websocket");
        return Err(response.with_header("Sec-WebSocket-Version", "13"));
    }
    match head.websocket_key {
        Some(key) if http::is_websocket_key(key) => Ok(key),
        _ => Err(Response::text(400, "Invalid Sec-WebSocket-Key.")),
    }
}

/// Whether one of the patterns matches the origin: its host, or the whole origin if the pattern
/// contains a scheme. Only `*` accepts clients that send no origin.
pub(super) fn origin_is_allowed(patterns: &[String], origin: Option<&str>) -> bool {
    if patterns.iter().any(|pattern| pattern == "*") {
        return true;
    }
    let Some((origin, host)) = origin.and_then(|origin| Some((origin, host_of(origin)?))) else {
        return false;
    };
    patterns.iter().any(|pattern| {
        wildcard::matches(pattern, if pattern.contains("://") { origin } else { host })
    })
}

/// The host of an origin, which is `scheme://host` or `scheme://host:port` and nothing else. `None`
/// for any other text: a path or a user name could contain what a pattern is meant to match in the
/// host.
fn host_of(origin: &str) -> Option<&str> {
    let (_, authority) = origin.split_once("://")?;
    if authority.contains(['/', '\\', '?', '#', '@']) {
        return None;
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => v6.split_once(']')?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let is_port = |port: &str| port.strip_prefix(':').is_some_and(is_number);
    (port.is_empty() || is_port(port)).then_some(host)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_matched_by_host_or_whole() {
        let allowed = |pattern: &str, origin| origin_is_allowed(&[pattern.into()], origin);
        assert!(allowed("*", None));
        assert!(!allowed("allowed.test", None));
        assert!(allowed("allowed.test", Some("http://allowed.test")));
        assert!(allowed("allowed.test", Some("https://allowed.test:8443")));
        assert!(!allowed("allowed.test", Some("http://xallowed.test")));
        assert!(!allowed("allowed.test", Some("http://ALLOWED.test")));
        assert!(!allowed("allowed.test", Some("allowed.test")));
        assert!(!allowed("allowed.test", Some("null")));
        assert!(!allowed("*allowed.test", Some("http://evil.test?allowed.test")));
        assert!(!allowed("allowed.test", Some("http://allowed.test:80@evil.test")));
        assert!(allowed("*.wild.test", Some("http://a.b.wild.test")));
        assert!(!allowed("*.wild.test", Some("http://wild.test")));
        assert!(allowed("::1", Some("http://[::1]:80")));
        assert!(allowed("https://*.wild.test", Some("https://a.wild.test")));
        assert!(!allowed("https://*.wild.test", Some("http://a.wild.test")));
        assert!(allowed("https://*.wild.test:*", Some("https://a.wild.test:8443")));
        assert!(allowed("file://*", Some("file://")));
    }

    #[test]
    fn an_origin_with_a_path_or_user_matches_only_the_star() {
        for end in ["/.wild.test", "?.wild.test", "#.wild.test", "\\.wild.test", ":.wild.test"] {
            for start in ["https://evil.test", "https://evil.test:443", "https://[::1]"] {
                let origin = format!("{start}{end}");
                for pattern in ["https://*.wild.test", "*.wild.test", "evil.test", "::1", "http*"] {
                    let allowed = origin_is_allowed(&[pattern.into()], Some(&origin));
                    assert!(!allowed, "{pattern} {origin}");
                }
                assert!(origin_is_allowed(&["*".into()], Some(&origin)));
            }
        }
        for origin in ["https://[::1].wild.test", "https://me@a.wild.test", "https://a.wild.test:"]
        {
            assert!(!origin_is_allowed(&["https://*".into(), "*.*".into()], Some(origin)));
        }
    }
}
