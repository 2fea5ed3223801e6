//! Channels: what their names mean, and their subscribers at this node and at others. Nothing here
//! queues a message.

use std::rc::Rc;

use super::ids::ConnId;
use super::node_set::PLACES;
use super::presence::Presence;
use super::random::Hashing;
use crate::proto::snapshot::{Codec, DecodeResult};

/// The properties of a channel that its name determines (protocol section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    pub access: Access,
    /// Whether its last event is cached for later subscribers.
    pub cache: bool,
}

/// Which connections may subscribe to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// All connections.
    Public,
    /// Connections with a signature of the app. Encrypted channels are included: the server treats
    /// them as private channels and never receives their keys.
    Private,
    /// As `Private`; each member also receives the member list, and an event for each change of it.
    Presence,
    /// Connections that are signed in as the user that the name contains.
    User,
    /// No client: the hub itself uses these channels as lists of signed-in users and of their
    /// watchers.
    Internal,
}

/// The prefix of the name of the channel to a user.
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
        match self.access {
            Access::User | Access::Internal => true,
            Access::Public | Access::Private | Access::Presence => false,
        }
    }

    /// Whether a subscription must be signed by the app.
    pub(crate) fn is_signed(self) -> bool {
        match self.access {
            Access::Private | Access::Presence => true,
            Access::Public | Access::User | Access::Internal => false,
        }
    }

    /// Whether it is one of the hub's own lists: no client can subscribe, no publisher can send to
    /// it.
    pub(crate) fn is_internal(self) -> bool {
        match self.access {
            Access::Internal => true,
            Access::Public | Access::Private | Access::Presence | Access::User => false,
        }
    }

    /// Whether the API lists and counts it.
    pub(crate) fn is_listed(self) -> bool {
        !self.is_reserved()
    }
}

/// Whether the data of its events is encrypted for its subscribers.
pub(crate) fn is_encrypted(name: &str) -> bool {
    name.starts_with("private-encrypted-")
}

/// Whether every character is one that Pusher allows in channel names.
pub(crate) fn is_strict(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-=@,.;".contains(&b))
}

/// A channel with a subscriber at some node. It is removed when the last subscriber leaves.
pub(crate) struct Channel {
    pub name: Rc<str>,
    pub kind: Kind,
    /// Its subscribers. The membership of each contains its index in this list.
    pub members: Vec<ConnId>,
    /// The users of a presence channel.
    pub presence: Option<Box<Presence>>,
    /// When its subscription count was last sent to its subscribers.
    pub counted_ms: u64,
    /// Whether a changed count is deferred (`PubSub::counts_due`).
    pub count_due: bool,
    /// Whether the number of subscribers at this node has changed in this turn and is not published
    /// to the other nodes yet.
    pub is_changed: bool,
    /// The numbers of subscribers at other nodes.
    elsewhere: Vec<Elsewhere>,
}

/// Subscribers of a channel at another node.
#[derive(Default)]
struct Elsewhere {
    /// The node, by its number.
    node: u8,
    /// Whether the node has begun a full sync and not confirmed this channel yet.
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

    /// Encodes or decodes everything but the name and the members.
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

    /// The number of subscribers at all nodes.
    pub(crate) fn subscriptions(&self) -> u64 {
        let elsewhere = self.elsewhere.iter().map(|elsewhere| u64::from(elsewhere.count));
        self.members.len() as u64 + elsewhere.sum::<u64>()
    }

    /// Whether it has no subscriber at any node.
    pub(crate) fn is_vacant(&self) -> bool {
        let has_no_users = self.presence.as_ref().is_none_or(|presence| presence.len() == 0);
        self.members.is_empty() && self.elsewhere.is_empty() && has_no_users
    }

    /// Whether this other node has subscribers of the channel.
    pub(crate) fn is_elsewhere(&self, node: usize) -> bool {
        self.elsewhere.iter().any(|elsewhere| usize::from(elsewhere.node) == node)
    }

    /// For each node, adds the number of its facts in this channel to the node's entry in `facts`.
    pub(crate) fn add_facts(&self, facts: &mut [u32; PLACES]) {
        for elsewhere in &self.elsewhere {
            facts.get_mut(usize::from(elsewhere.node)).into_iter().for_each(|count| *count += 1);
        }
        self.presence.iter().for_each(|presence| presence.add_facts(facts));
    }

    /// Sets how many subscribers a node has. Returns by how much the number of facts changes.
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

    /// Marks the facts of a node as stale until the node confirms them.
    pub(crate) fn mark_stale(&mut self, node: usize) {
        self.elsewhere
            .iter_mut()
            .filter(|e| usize::from(e.node) == node)
            .for_each(|e| e.stale = true);
        if let Some(presence) = &mut self.presence {
            presence.mark_stale(node);
        }
    }

    /// Removes the number of subscribers of a node; with `stale_only`, only if it is stale. Returns
    /// by how much the number of facts changes.
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
