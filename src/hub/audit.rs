//! Consistency checks of the hub. Each membership is stored in its connection and in its channel,
//! and counts are updated with each change; the audit compares the two, and counts again. It visits
//! the whole state, for tests, simulation and fuzzing; a server never calls it.

use super::Hub;
use super::channel::Access;
use super::feed::EVERY_APP;
use super::ids::ConnId;
use super::peer::{Mark, Membership, Peer, Phase};

impl<T> Hub<T> {
    /// Checks the whole state.
    ///
    /// # Errors
    ///
    /// The first inconsistency.
    #[doc(hidden)]
    pub fn audit(&self) -> Result<(), String> {
        let with_deflate = self.connections.iter().filter(|peer| peer.marks.has(Mark::Deflate));
        if self.connections.compressor.clients as usize != with_deflate.count() {
            return Err("the count of clients with compression is wrong".into());
        }
        let mut viewers = 0;
        let mut connections = vec![0; self.pubsub.apps.len()];
        for id in self.connections.ids() {
            let Some(peer) = self.connections.get(id) else {
                return Err(format!("{id:?} is not a connection"));
            };
            if !peer.outbox.is_sound() {
                return Err(format!("the byte count of the outbox of {id:?} is wrong"));
            }
            if let Some(subscriber) = peer.subscriber() {
                connections[subscriber.app as usize] += 1;
            }
            if let Phase::Viewing(viewing) = &peer.phase {
                viewers += 1;
                if !self.connections.happenings.feed().is_some_and(|it| it.has(viewing.app, id)) {
                    return Err(format!("the viewer {id:?} is not in the feed"));
                }
            }
            self.audit_memberships(id, peer)?;
        }
        let apps = self.pubsub.apps.indexes().chain([EVERY_APP]);
        let in_feed: usize = apps.map(|app| self.connections.happenings.viewers(app)).sum();
        if in_feed != viewers {
            return Err("a viewer of the feed is not a connection".into());
        }
        for (app, connections) in (0..).zip(connections) {
            if self.pubsub.apps[app].connections != connections {
                return Err(format!("the connection count of app {app} is wrong"));
            }
            self.audit_app(app)?;
        }
        self.connections.audit_lanes()?;
        self.audit_webhooks()?;
        self.pubsub.audit_facts()
    }

    /// For leak tests, after all connections have closed and all deadlines have passed: the kind of
    /// data that is still stored, if any.
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
            ("webhooks", self.connections.happenings.webhooks().is_some_and(|it| !it.is_idle())),
            ("viewers", self.connections.happenings.feed().is_some()),
            ("cached events", self.pubsub.apps.iter().any(|app| !app.cache.is_empty())),
        ];
        rest.iter().find(|(_, is_left)| *is_left).map(|(what, _)| *what)
    }

    /// Checks each membership of a connection: its channel exists, has the connection at the
    /// membership's index and, for a presence channel, contains the membership's user. Also checks
    /// that the memberships are sorted, and the count of internal ones.
    fn audit_memberships(&self, id: ConnId, peer: &Peer<T>) -> Result<(), String> {
        let Phase::Open(subscriber) = &peer.phase else { return Ok(()) };
        let app = &self.pubsub.apps[subscriber.app];
        let mut internal_memberships = 0;
        for Membership { channel, index, user } in &subscriber.memberships {
            let Some(channel) = app.channels.get(*channel as usize) else {
                return Err(format!("{id:?} is a member of a channel that does not exist"));
            };
            if channel.members.get(*index as usize) != Some(&id) {
                return Err(format!(
                    "{id:?} is not at its index among the members of {}",
                    channel.name
                ));
            }
            let presence = channel.presence.as_ref();
            let contains = |user: &str| presence.is_some_and(|presence| presence.contains(user));
            let is_right = match user {
                Some(user) => contains(user),
                None => presence.is_none(),
            };
            if !is_right {
                return Err(format!("{id:?} has the wrong user in {}", channel.name));
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
            false => Err(format!("the count of internal memberships of {id:?} is wrong")),
        }
    }

    /// Checks that each member of a channel has a membership in it, and that each channel is found
    /// by its name.
    fn audit_app(&self, index: u32) -> Result<(), String> {
        let app = &self.pubsub.apps[index];
        let listed = app.channels.iter().filter(|(_, channel)| channel.kind.is_listed()).count();
        if app.listed as usize != listed {
            return Err(format!("the count of listed channels of app {index} is wrong"));
        }
        for (place, channel) in &app.channels {
            let name = &channel.name;
            if app.place(name) != Some(place as u32) {
                return Err(format!("{name} is not found by its name"));
            }
            if channel.is_vacant() {
                return Err(format!("{name} exists without members"));
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
                return Err(format!("the counts of the users of {name} are wrong"));
            }
        }
        match app.cache.is_sound() {
            true => Ok(()),
            false => Err(format!("the counts of the cache of app {index} are wrong")),
        }
    }
}
