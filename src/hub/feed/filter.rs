//! Which lines a viewer receives: the parameters of its request, and the comparison with what a
//! line is about.

use std::borrow::Cow;

use super::kind::{Kind, Kinds};
use crate::hub::ids::SocketId;
use crate::hub::wildcard;
use crate::proto::message;
use crate::proto::query::Query;

/// The index that stands for all apps: that of the viewers of the console.
pub(in crate::hub) const EVERY_APP: u32 = u32::MAX;

/// The lines that a viewer has asked for.
#[derive(Debug)]
pub(in crate::hub) struct Filter {
    /// The app of the lines; `None` for all that the viewer may see.
    app: Option<u32>,
    kinds: Kinds,
    /// Patterns; empty for lines with any channel or none.
    channels: Vec<String>,
    /// Patterns; empty for lines with any event or none.
    events: Vec<String>,
    socket_id: Option<SocketId>,
    user: Option<String>,
    /// Whether lines have the `data` of events.
    pub(super) has_payload: bool,
}

/// What a line is about, as far as filters compare it.
#[derive(Clone, Copy)]
pub(super) struct About<'a> {
    pub kind: Kind,
    pub channels: Channels<'a>,
    /// The name of the event as JSON text.
    pub event: Option<&'a str>,
    pub socket_id: Option<SocketId>,
    pub user: Option<&'a str>,
}

/// The channels that a line is about.
#[derive(Clone, Copy)]
pub(super) enum Channels<'a> {
    None,
    One(&'a str),
    Many(&'a [Cow<'a, str>]),
}

impl<'a> About<'a> {
    pub(super) fn new(kind: Kind) -> Self {
        About { kind, channels: Channels::None, event: None, socket_id: None, user: None }
    }

    pub(super) fn channel(self, channel: &'a str) -> Self {
        About { channels: Channels::One(channel), ..self }
    }

    pub(super) fn socket(self, socket_id: impl Into<Option<SocketId>>) -> Self {
        About { socket_id: socket_id.into(), ..self }
    }

    pub(super) fn user(self, user: Option<&'a str>) -> Self {
        About { user, ..self }
    }
}

impl Filter {
    /// Reads the parameters of a request. `may_have_payload` is the server's setting.
    ///
    /// # Errors
    ///
    /// A parameter is invalid. The text names it.
    pub(in crate::hub) fn parse(query: &Query<'_>, may_have_payload: bool) -> Result<Self, String> {
        let socket_id = match query.value("socket_id") {
            None => None,
            Some(text) => Some(
                SocketId::parse(text)
                    .ok_or("socket_id: must be two numbers, as in 1234.5678.".to_owned())?,
            ),
        };
        let has_payload = match query.value("payload") {
            None | Some("true") => true,
            Some("false") => false,
            Some(_) => return Err("payload: must be true or false.".into()),
        };
        Ok(Filter {
            app: None,
            kinds: Kinds::parse(query.value("kinds").unwrap_or_default())?,
            channels: patterns(query, "channels")?,
            events: patterns(query, "events")?,
            socket_id,
            user: query.value("user_id").map(str::to_owned),
            has_payload: has_payload && may_have_payload,
        })
    }

    /// Restricts it to an app.
    pub(in crate::hub) fn of_app(self, app: u32) -> Self {
        Filter { app: Some(app), ..self }
    }

    /// Whether the viewer may want a line of this kind.
    pub(super) fn wants(&self, kind: Kind) -> bool {
        self.kinds.has(kind)
    }

    /// Whether the viewer has asked for a line of an app about this.
    pub(super) fn covers(&self, app: u32, about: &About<'_>) -> bool {
        let is_one = |patterns: &[String], text: &str| {
            patterns.iter().any(|pattern| wildcard::matches(pattern, text))
        };
        let covers_channel = || match about.channels {
            Channels::None => false,
            Channels::One(channel) => is_one(&self.channels, channel),
            Channels::Many(channels) => channels.iter().any(|it| is_one(&self.channels, it)),
        };
        let covers_event = || {
            let name = about.event.and_then(message::string);
            name.is_some_and(|name| is_one(&self.events, &name))
        };
        self.kinds.has(about.kind)
            && self.app.is_none_or(|own| own == app || app == EVERY_APP)
            && (self.channels.is_empty() || covers_channel())
            && (self.events.is_empty() || covers_event())
            && (self.socket_id.is_none() || self.socket_id == about.socket_id)
            && (self.user.is_none() || self.user.as_deref() == about.user)
    }
}

fn patterns(query: &Query<'_>, name: &str) -> Result<Vec<String>, String> {
    let list = query.value(name).unwrap_or_default();
    let patterns = list.split(',').map(str::trim).filter(|pattern| !pattern.is_empty());
    let patterns: Vec<String> = patterns.take(PATTERNS_MAX + 1).map(str::to_owned).collect();
    match patterns.len() > PATTERNS_MAX {
        true => Err(format!("{name}: there are more than {PATTERNS_MAX} patterns.")),
        false => Ok(patterns),
    }
}

/// The most patterns of a list. An event may have a hundred channels, each of which is compared with
/// each pattern: 32 make 3,200 comparisons, about 0.1 ms.
const PATTERNS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(query: &str) -> Filter {
        Filter::parse(&Query::parse(query), true).unwrap()
    }

    #[test]
    fn a_line_must_match_each_parameter() {
        let about = About::new(Kind::ClientEvent)
            .channel("private-a")
            .socket(SocketId(1, 2))
            .user(Some("7"));
        let about = About { event: Some(r#""client-\u0078""#), ..about };
        for query in [
            "",
            "kinds=client",
            "kinds=client_event,api",
            "channels=x,private-*",
            "events=client-x",
            "socket_id=1.2",
            "user_id=7",
            "kinds=client&channels=*&events=*&socket_id=1.2&user_id=7",
        ] {
            assert!(filter(query).covers(0, &about), "{query}");
        }
        for query in [
            "kinds=api",
            "channels=x",
            "events=x",
            "socket_id=1.3",
            "user_id=8",
            "kinds=client&events=x",
        ] {
            assert!(!filter(query).covers(0, &about), "{query}");
        }
        let connected = About::new(Kind::Connected).socket(SocketId(1, 2));
        assert!(filter("socket_id=1.2").covers(0, &connected));
        assert!(!filter("channels=*").covers(0, &connected));
        let channels = ["a".into(), "b".into()];
        let published = About { channels: Channels::Many(&channels), ..About::new(Kind::ApiEvent) };
        assert!(
            filter("channels=b").covers(0, &published)
                && !filter("channels=c").covers(0, &published)
        );
    }

    #[test]
    fn invalid_parameters_are_named() {
        let many = format!("events={}", "a,".repeat(33));
        for (query, name) in [
            ("kinds=x", "kinds"),
            ("socket_id=x", "socket_id"),
            ("payload=1", "payload"),
            (&many, "events"),
        ] {
            let why = Filter::parse(&Query::parse(query), true).unwrap_err();
            assert!(why.starts_with(name), "{why}");
        }
    }
}
