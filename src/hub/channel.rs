//! Channels: what their names mean, and who is in them.

use std::rc::Rc;

use super::ids::ConnId;
use super::node_set::PLACES;
use super::presence::Presence;
use super::random::Hashing;
use crate::proto::snapshot::{Codec, DecodeResult};

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

    /// Whether the name is reserved for the server (it begins with `#`): clients cannot send to it.
    pub(crate) fn is_reserved(self) -> bool {
        matches!(self.access, Access::User | Access::Internal)
    }

    /// Whether it stands in lists and counts of the API.
    pub(crate) fn is_listed(self) -> bool {
        !self.is_reserved()
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
    /// Its subscribers; each has a membership with its place here.
    pub members: Vec<ConnId>,
    /// Who they are, in a presence channel.
    pub presence: Option<Box<Presence>>,
    /// When its subscribers were last told how many they are.
    pub counted_ms: u64,
    /// Whether they will be told again before long.
    pub count_due: bool,
    /// Whether other nodes are to be told how many they are.
    pub is_changed: bool,
    /// How many subscribers are at other nodes.
    elsewhere: Vec<Elsewhere>,
}

/// Subscribers of a channel at another node.
#[derive(Default)]
struct Elsewhere {
    /// The node, by its number.
    node: u8,
    /// Whether a full sync of the node has begun that has not named this channel yet.
    stale: bool,
    count: u32,
}

impl Channel {
    pub(crate) fn new(name: Rc<str>, kind: Kind, hashing: Hashing) -> Self {
        let presence = kind.access == Access::Presence;
        let presence = presence.then(|| Box::new(Presence::new(hashing)));
        Channel {
            name,
            kind,
            members: Vec::new(),
            presence,
            counted_ms: 0,
            count_due: false,
            is_changed: false,
            elsewhere: Vec::new(),
        }
    }

    /// Writes down all but its name and its members, or reads it.
    pub(super) fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        c.number(&mut self.counted_ms)?;
        c.flag(&mut self.count_due)?;
        c.list(&mut self.elsewhere, |c, elsewhere| {
            c.int(&mut elsewhere.node)?;
            c.flag(&mut elsewhere.stale)?;
            c.int(&mut elsewhere.count)
        })?;
        self.presence.iter_mut().try_for_each(|presence| presence.snapshot(c))
    }

    /// How many subscribers there are at all nodes.
    pub(crate) fn subscriptions(&self) -> u64 {
        let elsewhere = self.elsewhere.iter().map(|elsewhere| u64::from(elsewhere.count));
        self.members.len() as u64 + elsewhere.sum::<u64>()
    }

    /// Whether nobody is in it at any node.
    pub(crate) fn is_vacant(&self) -> bool {
        let nobody_known = self.presence.as_ref().is_none_or(|presence| presence.len() == 0);
        self.members.is_empty() && self.elsewhere.is_empty() && nobody_known
    }

    /// Whether the node with this number is known to have subscribers of it.
    pub(crate) fn is_elsewhere(&self, node: usize) -> bool {
        self.elsewhere.iter().any(|elsewhere| usize::from(elsewhere.node) == node)
    }

    /// Adds the facts that this channel stores about each node to the count of that node.
    pub(crate) fn add_facts(&self, facts: &mut [u32; PLACES]) {
        for elsewhere in &self.elsewhere {
            facts.get_mut(usize::from(elsewhere.node)).into_iter().for_each(|count| *count += 1);
        }
        self.presence.iter().for_each(|presence| presence.add_facts(facts));
    }

    /// Learns how many subscribers a node has; by how much the number of facts has changed.
    pub(crate) fn set_elsewhere(&mut self, node: usize, count: u32) -> i64 {
        let at = self.elsewhere.iter().position(|e| usize::from(e.node) == node);
        match (at, count) {
            (None, 0) => 0,
            (None, _) => {
                self.elsewhere.reserve_exact(1);
                self.elsewhere.push(Elsewhere { node: node as u8, stale: false, count });
                1
            }
            (Some(at), 0) => {
                self.elsewhere.swap_remove(at);
                -1
            }
            (Some(at), _) => {
                self.elsewhere[at] = Elsewhere { node: node as u8, stale: false, count };
                0
            }
        }
    }

    /// Doubts what is known of a node.
    pub(crate) fn mark_stale(&mut self, node: usize) {
        self.elsewhere
            .iter_mut()
            .filter(|e| usize::from(e.node) == node)
            .for_each(|e| e.stale = true);
        if let Some(presence) = &mut self.presence {
            presence.mark_stale(node);
        }
    }

    /// Forgets how many subscribers a node has, if that is stale or in any case; by how much
    /// the number of facts has changed.
    pub(crate) fn forget(&mut self, node: usize, stale_only: bool) -> i64 {
        let of_node = |e: &Elsewhere| usize::from(e.node) == node && (e.stale || !stale_only);
        match self.elsewhere.iter().any(of_node) {
            true => self.set_elsewhere(node, 0),
            false => 0,
        }
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
