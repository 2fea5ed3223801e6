//! The kinds of lines of a feed and their groups, in one table. What a line contains is in
//! `reports`.

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $name:literal $groups:expr;)*) => {
        /// A kind of line that a viewer can choose.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(in crate::hub) enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// All kinds, in order: `Kind::ALL[kind as usize] == kind`.
            const ALL: [Kind; [$($name),*].len()] = [$(Kind::$kind),*];

            /// The name, as lines and requests have it.
            pub(in crate::hub) const fn name(self) -> &'static str {
                match self {
                    $(Kind::$kind => $name,)*
                }
            }

            /// The groups of the kind.
            const fn groups(self) -> &'static [&'static str] {
                match self {
                    $(Kind::$kind => &$groups,)*
                }
            }
        }
    };
}

kinds! {
    /// A client has connected.
    Connected "connected" ["connection"];
    /// A connection has ended.
    Disconnected "disconnected" ["connection"];
    /// A connection has subscribed to a channel.
    Subscribed "subscribed" ["subscription"];
    /// A subscription has ended.
    Unsubscribed "unsubscribed" ["subscription"];
    /// A handshake or a message of a client was rejected.
    Refused "refused" ["error"];
    /// A client has sent an event.
    ClientEvent "client_event" ["client"];
    /// An event was published through the API.
    ApiEvent "api_event" ["api"];
    /// An API request was rejected.
    ApiError "api_error" ["error"];
    /// A channel has its first subscriber.
    Occupied "occupied" ["channel"];
    /// A channel has no subscriber any more.
    Vacated "vacated" ["channel"];
    /// A user has joined a presence channel.
    MemberAdded "member_added" ["member"];
    /// A user has left a presence channel.
    MemberRemoved "member_removed" ["member"];
    /// A webhook has acknowledged events.
    WebhookSent "webhook_sent" ["webhook"];
    /// A request to a webhook has failed.
    WebhookFailed "webhook_failed" ["webhook", "error"];
    /// Another node has connected.
    NodeJoined "node_joined" ["node"];
    /// Another node has left or is silent.
    NodeLeft "node_left" ["node"];
    /// A limit was exceeded.
    Limit "limit" ["error"];
}

impl Kind {
    /// Whether the line is about an event. A server at full load has more of them than a viewer can
    /// read.
    pub(super) fn is_event(self) -> bool {
        matches!(self, Kind::ClientEvent | Kind::ApiEvent)
    }
}

/// A set of kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kinds(u32);

impl Kinds {
    /// Every kind.
    pub(super) const ALL: Kinds = Kinds((1 << Kind::ALL.len()) - 1);

    /// Parses names of kinds and groups, separated by commas.
    ///
    /// # Errors
    ///
    /// A name is unknown. The text has the known names.
    pub(super) fn parse(list: &str) -> Result<Kinds, String> {
        let mut kinds = Kinds(0);
        for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let named = Kind::ALL
                .into_iter()
                .filter(|kind| kind.name() == name || kind.groups().contains(&name));
            let bits = named.fold(0, |bits, kind| bits | 1 << kind as u32);
            if bits == 0 {
                return Err(unknown(name));
            }
            kinds.0 |= bits;
        }
        Ok(if kinds.0 == 0 { Kinds::ALL } else { kinds })
    }

    pub(super) fn has(self, kind: Kind) -> bool {
        self.0 & 1 << kind as u32 != 0
    }
}

fn unknown(name: &str) -> String {
    let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    let mut groups: Vec<&str> = Vec::new();
    for group in Kind::ALL.iter().flat_map(|kind| kind.groups()) {
        if !groups.contains(group) {
            groups.push(group);
        }
    }
    let name = crate::proto::shown::shown(name, 50);
    format!(
        "kinds: {name:?} is no kind of line. Kinds: {}. Groups: {}.",
        kinds.join(", "),
        groups.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_kinds_or_groups() {
        assert_eq!(Kinds::parse(""), Ok(Kinds::ALL));
        for kind in Kind::ALL {
            assert_eq!(Kind::ALL[kind as usize], kind);
            assert!(Kinds::parse(kind.name()).unwrap().has(kind));
        }
        let kinds = Kinds::parse("error, occupied").unwrap();
        let names = Kind::ALL.into_iter().filter(|kind| kinds.has(*kind)).map(Kind::name);
        let expected = ["refused", "api_error", "occupied", "webhook_failed", "limit"];
        assert_eq!(names.collect::<Vec<_>>(), expected);
        let why = Kinds::parse("api,apis").unwrap_err();
        assert!(why.contains(r#""apis""#) && why.contains("api_error") && why.contains("webhook"));
    }
}
