//! `POST /api/signature`: says which part of a client's `auth` is wrong. The response contains the
//! text that should have been signed, never a signature or a secret.

use super::responses::object;
use crate::hub::Hub;
use crate::hub::api::Answer;
use crate::hub::app::App;
use crate::hub::channel::{Access, Kind};
use crate::proto::http::Response;
use crate::proto::json_object::JsonObject;
use crate::proto::message;
use crate::proto::query::Query;

/// What a client sends to subscribe or to sign in.
struct Claim<'a> {
    socket_id: &'a str,
    /// Empty for a sign-in.
    channel: &'a str,
    /// `channel_data` or `user_data`; empty if there is none.
    data: &'a str,
    auth: &'a str,
}

/// The result of the check of one part.
struct Part {
    name: &'static str,
    is_right: bool,
    text: String,
}

impl<T> Hub<T> {
    /// Checks the signature in the body.
    pub(super) fn check_signature(
        &mut self,
        query: &Query<'_>,
        body: &[u8],
    ) -> Result<Answer, Response> {
        // The text is signed with the secret of each app, and a dozen texts with that of this one.
        let units = (body.len() as u64 / 64 + 1) * (self.pubsub.apps.len() as u64 + 12);
        if self.connections.must_defer(|| units) {
            return Ok(Answer::Deferred);
        }
        self.connections.work.add(units);
        let (at, body) = (self.app_of(query)?, object(body)?);
        let text = |key: &str| body.text(key).unwrap_or_default();
        let claim = Claim {
            socket_id: &text("socket_id"),
            channel: &text("channel"),
            data: &text("data"),
            auth: &text("auth"),
        };
        let others: Vec<&App> = self.pubsub.apps.iter().collect();
        let (is_right, parts) = claim.check(&self.pubsub.apps[at], &others);
        let parts: Vec<String> = parts.iter().map(Part::json).collect();
        let mut body = JsonObject::new();
        body.flag("right", is_right).text("expected", &claim.signed()).list("parts", &parts);
        Ok(Response::json(200, body.end()).into())
    }
}

impl Claim<'_> {
    /// The text that must be signed.
    fn signed(&self) -> String {
        let Claim { socket_id, channel, data, .. } = self;
        match (channel.is_empty(), data.is_empty()) {
            (true, _) => format!("{socket_id}::user::{data}"),
            (false, true) => format!("{socket_id}:{channel}"),
            (false, false) => format!("{socket_id}:{channel}:{data}"),
        }
    }

    fn check(&self, app: &App, apps: &[&App]) -> (bool, Vec<Part>) {
        let mut parts = vec![self.check_socket_id()];
        parts.extend((!self.channel.is_empty()).then(|| self.check_channel()));
        parts.push(self.check_data());
        let Some((key, signature)) = self.auth.split_once(':') else {
            let text = "auth must be the key of the app, a colon and the signature.".to_owned();
            parts.push(Part { name: "auth", is_right: false, text });
            return (false, parts);
        };
        let is_key_right = key == app.settings.key;
        let text = match apps.iter().find(|other| other.settings.key == key) {
            _ if is_key_right => "It is the key of this app.".to_owned(),
            Some(other) => format!("It is the key of the app {}.", other.settings.id),
            None => "No app of this server has this key: compare REVERB_APP_KEY.".to_owned(),
        };
        parts.push(Part { name: "key", is_right: is_key_right, text });
        let is_signature_right = app.verify(&[&self.signed()], signature);
        let text = self.about_signature(app, apps, signature, is_signature_right);
        parts.push(Part { name: "signature", is_right: is_signature_right, text });
        (parts.iter().all(|part| part.is_right), parts)
    }

    fn check_socket_id(&self) -> Part {
        let is_right = crate::hub::ids::SocketId::parse(self.socket_id).is_some();
        let text = match is_right {
            true => "It has the form of a socket id; each connection has its own.",
            false => "A socket id is two numbers, as in 1234.5678.",
        };
        Part { name: "socket_id", is_right, text: text.to_owned() }
    }

    fn check_channel(&self) -> Part {
        let access = Kind::of(self.channel).access;
        let text = match access {
            Access::Private => "A private channel.",
            Access::Presence => "A presence channel.",
            Access::Public => {
                "A public channel needs no signature: the names of others begin with private- or \
                 presence-."
            }
            Access::User | Access::Internal => "The name is reserved for the server.",
        };
        let is_right = matches!(access, Access::Private | Access::Presence);
        Part { name: "channel", is_right, text: text.to_owned() }
    }

    fn check_data(&self) -> Part {
        let needs_data =
            self.channel.is_empty() || Kind::of(self.channel).access == Access::Presence;
        let (is_right, text) = match (needs_data, self.data.is_empty()) {
            (false, true) => (true, "A private channel needs none."),
            (true, true) if self.channel.is_empty() => (false, "A sign-in needs user_data."),
            (true, true) => {
                (false, "A presence channel needs channel_data, unless the client has signed in.")
            }
            _ if !message::is_object(self.data) => (false, "It is not a JSON object."),
            _ => (true, "It is a JSON object, and part of the signed text, byte for byte."),
        };
        Part { name: "data", is_right, text: text.to_owned() }
    }

    /// What is wrong with a signature: tries the mistakes that people make.
    fn about_signature(&self, app: &App, apps: &[&App], signature: &str, is_right: bool) -> String {
        if is_right {
            return "It signs the expected text with the secret of this app.".to_owned();
        }
        if signature.len() != 64 || !signature.bytes().all(|b| b.is_ascii_hexdigit()) {
            return "A signature is 64 hexadecimal digits.".to_owned();
        }
        let signed = self.signed();
        if app.verify(&[&signed], &signature.to_ascii_lowercase()) {
            return "It must be in lower case.".to_owned();
        }
        if apps.iter().any(|other| other.verify(&[&signed], signature)) {
            return "It is made with the secret of another app of this server.".to_owned();
        }
        let Claim { socket_id, channel, data, .. } = self;
        let bare = channel.trim_start_matches("private-").trim_start_matches("presence-");
        let mistakes = [
            (format!("{socket_id}:{channel}"), "It signs the text without the data."),
            (format!("{socket_id}:{bare}"), "It signs the name without private- or presence-."),
            (format!("{socket_id}:private-{bare}"), "It signs the name with private-."),
            (format!("{socket_id}:presence-{bare}"), "It signs the name with presence-."),
            (format!("{socket_id}:presence-{bare}:{data}"), "It signs the name with presence-."),
            (format!("{socket_id}:{}", channel.trim()), "It signs the name without white space."),
            (channel.to_string(), "It signs the name alone, without the socket id."),
            (format!("{channel}:{socket_id}"), "It signs the name before the socket id."),
            (format!("{socket_id}::user::{data}"), "It is the signature of a sign-in."),
        ];
        let found = mistakes.iter().find(|(text, _)| app.verify(&[text], signature));
        let text = found.map_or(
            "It is made with another secret, or signs another text than the expected one: compare \
             REVERB_APP_SECRET of the app and of the server, then the socket id, the name and the \
             data.",
            |(_, text)| text,
        );
        text.to_owned()
    }
}

impl Part {
    fn json(&self) -> String {
        let mut part = JsonObject::new();
        part.text("name", self.name).flag("right", self.is_right).text("text", &self.text).end()
    }
}
