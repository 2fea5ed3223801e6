//! Whether the hub's books agree with each other. Memberships are held both ways, and bytes are
//! counted as they come and go; here everything is counted anew. It walks all there is, for tests,
//! simulation and fuzzing; a server never calls it.

use super::Hub;
use super::channel::Access;
use super::ids::ConnId;
use super::peer::{Membership, Peer, Phase};

impl<T> Hub<T> {
    /// Looks at everything.
    ///
    /// # Errors
    ///
    /// The first two books that disagree.
    #[doc(hidden)]
    pub fn audit(&self) -> Result<(), String> {
        let mut connections = vec![0; self.pubsub.apps.len()];
        for id in self.connections.ids() {
            let Some(peer) = self.connections.get(id) else {
                return Err(format!("{id:?} is nobody"));
            };
            if !peer.outbox.is_sound() {
                return Err(format!("the outbox of {id:?} counts wrong"));
            }
            if let Some(subscriber) = peer.subscriber() {
                connections[subscriber.app as usize] += 1;
            }
            self.audit_memberships(id, peer)?;
        }
        for (app, connections) in (0..).zip(connections) {
            if self.pubsub.apps[app].connections != connections {
                return Err(format!("app {app} counts its connections wrong"));
            }
            self.audit_app(app)?;
        }
        self.pubsub.audit_facts()
    }

    /// Says what is left once everybody has gone and every time is over; `None` when nothing is.
    #[doc(hidden)]
    pub fn remains(&self) -> Option<&'static str> {
        let rest = [
            ("connections", self.connections.len() > 0 || self.connections.has_dirty()),
            ("slow readers", !self.connections.too_slow.is_empty()),
            ("pending leaves", !self.pubsub.pending_leaves.is_empty()),
            ("input", !self.connections.schedule.is_empty()),
            ("member lists", !self.pubsub.member_lists.is_empty()),
            ("counts that are due", !self.pubsub.counts_due.is_empty()),
            ("deadlines", self.connections.wheel.next_ms().is_some()),
            ("channels", self.pubsub.apps.iter().any(|app| !app.channels.is_empty())),
            ("connections of an app", self.pubsub.apps.iter().any(|app| app.connections > 0)),
            ("kept events", self.pubsub.apps.iter().any(|app| !app.cache.is_empty())),
        ];
        rest.iter().find(|(_, is_left)| *is_left).map(|(what, _)| *what)
    }

    /// Each membership of a connection stands in its channel, at its index, and as its user.
    fn audit_memberships(&self, id: ConnId, peer: &Peer<T>) -> Result<(), String> {
        let Phase::Open(subscriber) = &peer.phase else { return Ok(()) };
        let app = &self.pubsub.apps[subscriber.app];
        let mut internal_memberships = 0;
        for Membership { channel, index, user } in &subscriber.memberships {
            let Some(channel) = app.channels.get(*channel as usize) else {
                return Err(format!("{id:?} sits in a channel that is gone"));
            };
            if channel.members.get(*index as usize) != Some(&id) {
                return Err(format!("{id:?} is not where it sits in {}", channel.name));
            }
            let presence = channel.presence.as_ref();
            let knows = |user: &str| presence.is_some_and(|presence| presence.contains(user));
            let is_right = match user {
                Some(user) => knows(user),
                None => presence.is_none(),
            };
            if !is_right {
                return Err(format!("{id:?} is not who it is in {}", channel.name));
            }
            internal_memberships += u32::from(channel.kind.access == Access::Internal);
        }
        if !subscriber.memberships.is_sorted_by(|a, b| a.channel < b.channel) {
            return Err(format!("the memberships of {id:?} are not sorted"));
        }
        match subscriber.user.as_ref().map_or(0, |user| user.internal_memberships)
            == internal_memberships
        {
            true => Ok(()),
            false => Err(format!("{id:?} counts its memberships wrong")),
        }
    }

    /// Each member of a channel has a membership in it, and each channel is found by its name.
    fn audit_app(&self, index: u32) -> Result<(), String> {
        let app = &self.pubsub.apps[index];
        for (place, channel) in &app.channels {
            let name = &channel.name;
            if app.place(name) != Some(place as u32) {
                return Err(format!("{name} is not found by its name"));
            }
            if channel.is_vacant() {
                return Err(format!("{name} stays though nobody is in it"));
            }
            for (at, &member) in (0..).zip(&channel.members) {
                let subscriber = self.connections.subscriber(member);
                let subscriber = subscriber.filter(|one| one.app == index);
                let membership = subscriber.and_then(|one| one.membership(place as u32));
                if membership.is_none_or(|membership| membership.index != at) {
                    return Err(format!("{member:?} has no membership in {name}"));
                }
            }
            let presence = channel.presence.as_ref();
            if presence.is_some_and(|presence| !presence.is_sound(channel.members.len())) {
                return Err(format!("{name} counts its users wrong"));
            }
        }
        match app.cache.is_sound() {
            true => Ok(()),
            false => Err(format!("the cache of app {index} counts wrong")),
        }
    }
}
