//! Log lines about clients and publishers that an app rejects: what they sent, and what would have
//! been right. Most of these are mistakes in the configuration of the app, which neither a browser
//! nor Laravel shows. There is at most one line a minute for unknown keys, and for each app one about
//! origins and one about signatures. A suppressed line costs no allocation.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use super::Hub;
use super::client_error::ClientError;
use super::ids::{ConnId, Now};
use crate::nearest::did_you_mean;
use crate::proto::http::{Head, Response};
use crate::proto::shown::shown;

impl<T> Hub<T> {
    /// Logs a WebSocket whose key belongs to no app.
    pub(super) fn log_unknown_key(&mut self, id: ConnId, key: &str, head: &Head<'_>, now: Now) {
        let client = Client { address: self.address(id), origin: head.origin };
        let keys = self.pubsub.by_key.keys().map(String::as_str);
        let right = Keys { sent: key, known: keys };
        let text = format_args!(
            "rejected a WebSocket of {client} (4001): no app has the key {}; {right}",
            Quoted(key)
        );
        self.pubsub.unknown_key_log.warn(now.ms, text);
    }

    /// Logs a WebSocket whose origin the app does not allow.
    pub(super) fn log_origin(&mut self, id: ConnId, app: u32, head: &Head<'_>, now: Now) {
        let client = Client { address: self.address(id), origin: head.origin };
        let app = &mut self.pubsub.apps[app];
        let (app_id, allowed) = (&app.settings.id, Patterns(&app.settings.allowed_origins));
        let text = format_args!(
            "app {app_id}: rejected a WebSocket of {client} (4009): allowed are {allowed}; add the \
             host of the page to allowed_origins (REVERB_APP_ALLOWED_ORIGINS)"
        );
        app.origin_log.warn(now.ms, text);
    }

    /// Logs a request that is not signed by its app.
    pub(super) fn log_unsigned_request(
        &mut self,
        id: ConnId,
        head: &Head<'_>,
        response: &Response,
        now: Now,
    ) {
        let client = Client { address: self.address(id), origin: head.origin };
        let app = self.routes.find(head.path).and_then(|found| {
            let app = self.pubsub.by_id.get(&*found.app_id).copied();
            app.map(|app| &mut self.pubsub.apps[app])
        });
        let Some(app) = app else { return };
        let (app_id, key) = (&app.settings.id, Quoted(&app.settings.key));
        let (method, path, reason) =
            (head.method, Quoted(head.path), response.body_text().trim_end_matches('.'));
        let text = format_args!(
            "app {app_id}: rejected {method} {path} of {client} (401): {reason}; a publisher must \
             sign with the key {key} and the secret that this server has read (REVERB_APP_SECRET): \
             {AFTER_A_CHANGE}"
        );
        app.signature_log.warn(now.ms, text);
    }

    /// Logs a subscription or a sign-in whose signature is wrong.
    pub(super) fn log_unsigned_message(
        &mut self,
        id: ConnId,
        app: u32,
        error: &ClientError,
        now: Now,
    ) {
        let client = Client { address: self.address(id), origin: None };
        let app = &mut self.pubsub.apps[app];
        let (app_id, key) = (&app.settings.id, Quoted(&app.settings.key));
        let (what, detail) = (Message(error), error.detail);
        let text = format_args!(
            "app {app_id}: rejected {what} of {client} (4009): {detail}; the Laravel app must sign \
             with the key {key} and the secret that this server has read (REVERB_APP_SECRET): \
             {AFTER_A_CHANGE}"
        );
        app.signature_log.warn(now.ms, text);
    }

    fn address(&self, id: ConnId) -> Option<IpAddr> {
        self.connections.get(id).and_then(|peer| peer.address)
    }
}

/// What to do after a change of a secret. Artisan must hand its configuration over again.
const AFTER_A_CHANGE: &str = "after a change run `php artisan reverb:reload` if artisan has started \
                              the server, otherwise `reverb reload`";

/// The address and the origin of a client.
struct Client<'a> {
    address: Option<IpAddr>,
    origin: Option<&'a str>,
}

impl Display for Client<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => address.fmt(f)?,
            None => f.write_str("a client")?,
        }
        match self.origin {
            Some(origin) => write!(f, " with the origin {}", Quoted(origin)),
            None => Ok(()),
        }
    }
}

/// A text of a client, quoted, escaped and shortened.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", shown(self.0, SHOWN_CHARACTERS))
    }
}

/// The most characters shown of a text of a client.
const SHOWN_CHARACTERS: usize = 100;

/// The keys of the apps, or the one that the client may have meant.
struct Keys<'a, I> {
    sent: &'a str,
    known: I,
}

impl<'a, I: Iterator<Item = &'a str> + Clone> Display for Keys<'a, I> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let count = self.known.clone().count();
        let mut known = self.known.clone();
        match (count, known.next()) {
            (1, Some(key)) => write!(f, "the key of this server's app is {key:?}"),
            _ => write!(
                f,
                "this server has {count} apps{} (REVERB_APP_KEY, or key in reverb.json)",
                did_you_mean(self.sent, self.known.clone().take(KEYS_COMPARED))
            ),
        }
    }
}

/// How many keys a wrong one is compared with, at most once a minute: each takes 4 µs.
const KEYS_COMPARED: usize = 256;

/// A list of patterns of origins.
struct Patterns<'a>(&'a [String]);

impl Display for Patterns<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (n, pattern) in self.0.iter().take(PATTERNS_SHOWN).enumerate() {
            write!(f, "{}{pattern:?}", if n > 0 { ", " } else { "" })?;
        }
        match self.0.len().saturating_sub(PATTERNS_SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// The most patterns in a line.
const PATTERNS_SHOWN: usize = 10;

/// What a rejected message was.
struct Message<'a>(&'a ClientError);

impl Display for Message<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.0.subscription {
            Some((channel, ..)) => write!(f, "a subscription to {}", Quoted(channel)),
            None => f.write_str("a sign-in"),
        }
    }
}
