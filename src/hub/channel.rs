//! Channels: what their names mean, and who is in them.

use std::rc::Rc;

use super::peer::ConnId;
use super::presence::Presence;
use super::random::Hashing;

/// What a channel's name says of it (protocol section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    pub access: Access,
    /// Whether its last event is kept for those who come later.
    pub cache: bool,
}

/// Who may subscribe to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anybody.
    Public,
    /// Those with a signature of the app. Encrypted channels are private ones to the server: it
    /// never sees a key.
    Private,
    /// The same, and they are told of each other.
    Presence,
    /// Those signed in as the user of this name.
    User,
    /// Nobody: the hub's own lists of who signed in and who watches whom.
    Internal,
}

/// The channel to one user of an app.
pub(crate) const USER_PREFIX: &str = "#server-to-user-";

impl Kind {
    pub(crate) fn of(name: &str) -> Kind {
        let kind = |access, cache| Kind { access, cache };
        match name {
            _ if name.starts_with(USER_PREFIX) => kind(Access::User, false),
            _ if name.starts_with('#') => kind(Access::Internal, false),
            _ if name.starts_with("private-encrypted-cache-") => kind(Access::Private, true),
            _ if name.starts_with("private-cache-") => kind(Access::Private, true),
            _ if name.starts_with("private-") => kind(Access::Private, false),
            _ if name.starts_with("presence-cache-") => kind(Access::Presence, true),
            _ if name.starts_with("presence-") => kind(Access::Presence, false),
            _ if name.starts_with("cache-") => kind(Access::Public, true),
            _ => kind(Access::Public, false),
        }
    }

    /// Whether it stands in lists and counts of the API.
    pub(crate) fn is_listed(self) -> bool {
        !matches!(self.access, Access::User | Access::Internal)
    }
}

/// Whether every character is one that Pusher allows in channel names.
pub(crate) fn is_strict(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-=@,.;".contains(&b))
}

/// A channel somebody is in; it goes when the last of them leaves.
pub(crate) struct Channel {
    pub name: Rc<str>,
    pub kind: Kind,
    /// Its subscribers; each has a seat with its place here.
    pub members: Vec<ConnId>,
    /// Who they are, in a presence channel.
    pub presence: Option<Box<Presence>>,
    /// When its subscribers were last told how many they are.
    pub counted_ms: u64,
    /// Whether they will be told again before long.
    pub count_due: bool,
}

impl Channel {
    pub(crate) fn new(name: Rc<str>, kind: Kind, hashing: Hashing) -> Self {
        let presence = kind.access == Access::Presence;
        let presence = presence.then(|| Box::new(Presence::new(hashing)));
        Channel { name, kind, members: Vec::new(), presence, counted_ms: 0, count_due: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_kinds_by_exact_prefix() {
        use Access::*;
        for (name, access, cache) in [
            ("news", Public, false),
            ("cache-news", Public, true),
            ("cached-items", Public, false),
            ("private-a", Private, false),
            ("privateer", Public, false),
            ("private-cache-a", Private, true),
            ("private-encrypted-a", Private, false),
            ("private-encrypted-cache-a", Private, true),
            ("presence-a", Presence, false),
            ("presences", Public, false),
            ("presence-cache-a", Presence, true),
            ("#server-to-user-7", User, false),
            ("#other", Internal, false),
        ] {
            assert_eq!(Kind::of(name), Kind { access, cache }, "{name}");
        }
    }
}
