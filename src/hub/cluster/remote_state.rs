//! The state of other nodes: their connections, the subscribers of their channels, the users of
//! their presence channels; and the events that local subscribers receive when it changes.
//!
//! This state consists of *facts*: a node has so many subscribers of a channel, or a user is
//! present at a node. To apply a fact twice has no effect. When a node begins a full sync, all of
//! its facts become stale until the node sends them again; facts that are still stale at the end
//! are removed. So no `member_removed` is sent for a user that is still present.

use std::rc::Rc;

use super::super::channel::{Access, Kind};
use super::super::connections::Connections;
use super::super::ids::Now;
use super::super::node_set::PLACES;
use super::super::presence::{self, Member};
use super::super::pubsub::PubSub;
use super::super::signin;
use crate::proto::envelope::{Item, NodeId};
use crate::proto::websocket;

impl PubSub {
    /// Applies a fact of the node with this number. Facts of a node without a place are ignored.
    pub(in crate::hub) fn apply_fact<T>(
        &mut self,
        connections: &mut Connections<T>,
        at: usize,
        item: &Item<'_>,
        now: Now,
    ) {
        if at >= PLACES {
            return;
        }
        let app = |id: &str| self.by_id.get(id).copied();
        let is_fact = match item {
            Item::Connections { app: id, count } => {
                if let Some(app) = app(id) {
                    self.apps[app].elsewhere.set(at, *count);
                }
                true
            }
            Item::Channel { app: id, channel, count } => app(id)
                .is_none_or(|app| self.apply_channel(connections, at, app, channel, *count, now)),
            Item::Joined { app: id, channel, user, info } => app(id).is_none_or(|app| {
                let member = Member { id: (&**user).into(), info: info.map(Into::into) };
                self.apply_joined(connections, at, app, channel, &member)
            }),
            Item::Left { app: id, channel, user } => {
                app(id).inspect(|&app| self.apply_left(connections, at, app, channel, user));
                true
            }
            Item::Cached { app: id, .. } => {
                app(id).is_none_or(|app| self.apply_cached(at, app, item, now))
            }
            _ => false,
        };
        if let Some(bus) = self.bus.as_mut().filter(|_| !is_fact) {
            bus.counters.foreign += 1;
        }
    }

    fn apply_channel<T>(
        &mut self,
        connections: &mut Connections<T>,
        at: usize,
        app: u32,
        name: &str,
        count: u32,
        now: Now,
    ) -> bool {
        let kind = Kind::of(name);
        if !self.is_name(name) || !signin::is_replicated(name, kind) {
            return false;
        }
        if count == 0 {
            let Some(place) = self.apps[app].place(name) else { return true };
            self.set_elsewhere(at, app, place, 0);
            self.remove_if_vacant(connections, app, place);
        } else {
            let known = self.apps[app].channel(name);
            let is_known = known.is_some_and(|channel| channel.is_elsewhere(at));
            if let Some(place) = self.place_for_fact(connections, at, app, name, kind, is_known) {
                self.set_elsewhere(at, app, place, count);
                self.report_synced(connections, at, app, place, None);
            }
        }
        self.send_count(connections, app, name, now);
        true
    }

    fn apply_cached(&mut self, at: usize, app: u32, item: &Item<'_>, now: Now) -> bool {
        let Item::Cached { channel, message, ttl_ms, version, .. } = item else { return false };
        if !self.is_name(channel) || !Kind::of(channel).cache {
            return false;
        }
        let Some(bus) = &mut self.bus else { return true };
        let from = bus.nodes.get(at).map_or(NodeId(0), |node| node.id);
        // If the clock is impossible, the publish time is unknown: (0, 0) is less than all other
        // versions, so that the next event replaces this one.
        let version = if bus.accept_clock(version.0, from, now) { *version } else { (0, 0) };
        let frame = websocket::text(message);
        let cache = &mut self.apps[app].cache;
        cache.store_remote(channel, frame, *ttl_ms, version, now.ms);
        true
    }

    fn apply_joined<T>(
        &mut self,
        connections: &mut Connections<T>,
        at: usize,
        app: u32,
        name: &str,
        member: &Member,
    ) -> bool {
        let kind = Kind::of(name);
        let bytes = member.id.len() + member.info.as_deref().map_or(0, str::len);
        if !self.is_name(name)
            || kind.access != Access::Presence
            || member.id.is_empty()
            || bytes > self.limits.presence_data_bytes as usize
        {
            return false;
        }
        let known = self.apps[app].channel(name).and_then(|c| c.presence.as_deref());
        let is_known = known.is_some_and(|presence| presence.is_at(at, &member.id));
        let Some(place) = self.place_for_fact(connections, at, app, name, kind, is_known) else {
            return true;
        };
        // For a user that moves between nodes, clients must receive the leave before the join.
        self.announce_leaves(connections, app, place);
        let channel = self.apps[app].channels.get_mut(place as usize);
        let Some(channel) = channel else { return true };
        let Some(presence) = &mut channel.presence else { return true };
        let change = presence.join_at(at, member);
        if change.anywhere {
            connections.happenings.member_added(app, &channel.name, &member.id);
        }
        if change.anywhere && !channel.members.is_empty() {
            let frame = presence::member_added(name, member);
            connections.broadcast(app, &channel.members, &frame, None);
        }
        self.count_facts(at, i64::from(change.at_node));
        self.report_synced(connections, at, app, place, None);
        self.report_synced(connections, at, app, place, Some(&member.id));
        true
    }

    fn apply_left<T>(
        &mut self,
        connections: &mut Connections<T>,
        at: usize,
        app: u32,
        name: &str,
        user: &str,
    ) {
        let Some(place) = self.apps[app].place(name) else { return };
        let Some(channel) = self.apps[app].channels.get_mut(place as usize) else {
            return;
        };
        let Some(presence) = &mut channel.presence else { return };
        let change = presence.leave_at(at, user);
        if change.anywhere {
            connections.happenings.member_removed(app, &channel.name, &user.into());
        }
        if change.anywhere && !channel.members.is_empty() {
            self.add_leave(app, place, user.into());
        }
        self.count_facts(at, -i64::from(change.at_node));
        self.remove_if_vacant(connections, app, place);
    }

    /// The place of the channel that a fact is about; the channel is created if necessary. `None`
    /// if the node has too many facts already.
    fn place_for_fact<T>(
        &mut self,
        connections: &mut Connections<T>,
        at: usize,
        app: u32,
        name: &str,
        kind: Kind,
        is_known: bool,
    ) -> Option<u32> {
        if !is_known {
            let bus = self.bus.as_mut()?;
            let max = bus.facts_max;
            let node = bus.nodes.get(at)?;
            if node.facts >= max {
                if !std::mem::replace(&mut node.has_rejected_facts, true) {
                    log::warn!(
                        "node {} has more than {max} channels and users, and the rest is ignored; \
                         raise limits.node_facts on this node",
                        node.id
                    );
                }
                return None;
            }
        }
        let (place, created) = self.apps[app].occupy(name, kind);
        if created {
            self.notify_created(connections, app, place);
            self.notify_online(connections, app, name);
        }
        Some(place)
    }

    /// Reports that a full sync of a node contains a channel, or a user of it. If that node has
    /// started no earlier than a lease ago, it may not know either what the app was reported.
    fn report_synced<T>(
        &mut self,
        connections: &mut Connections<T>,
        at: usize,
        app: u32,
        place: u32,
        user: Option<&Rc<str>>,
    ) {
        let Some(bus) = &mut self.bus else { return };
        let (now_ms, lease_ms) = (bus.now_ms, bus.lease_ms);
        let Some(node) = bus.nodes.get(at).filter(|node| node.is_syncing) else { return };
        let is_old = node.started_ms.is_some_and(|ms| ms + lease_ms <= now_ms);
        let channel = self.apps[app].channels.get(place as usize);
        if let Some(channel) = channel.filter(|_| is_old) {
            connections.happenings.synced(app, &channel.name, user);
        }
    }

    fn set_elsewhere(&mut self, at: usize, app: u32, place: u32, count: u32) {
        let channel = self.apps[app].channels.get_mut(place as usize);
        let change = channel.map_or(0, |channel| channel.set_elsewhere(at, count));
        self.count_facts(at, change);
    }

    fn count_facts(&mut self, at: usize, change: i64) {
        if let Some(node) = self.bus.as_mut().and_then(|bus| bus.nodes.get(at)) {
            node.facts = node.facts.saturating_add_signed(change as i32);
        }
    }

    /// Recounts the facts of each node, as the saved state does not contain their number.
    pub(in crate::hub) fn recount_facts(&mut self) {
        let facts = self.facts();
        let Some(bus) = &mut self.bus else { return };
        for (at, count) in facts.into_iter().enumerate() {
            bus.nodes.get(at).into_iter().for_each(|node| node.facts = count);
        }
    }

    /// The number of facts of each node, by place.
    fn facts(&self) -> [u32; PLACES] {
        let mut facts = [0; PLACES];
        let channels = self.apps.iter().flat_map(|app| app.channels.iter());
        channels.for_each(|(_, channel)| channel.add_facts(&mut facts));
        facts
    }

    /// Checks that the number of facts of each node is right.
    pub(in crate::hub) fn audit_facts(&self) -> Result<(), String> {
        let facts = self.facts();
        let nodes = self.bus.iter().flat_map(|bus| bus.nodes.iter());
        let facts = |at: usize| facts.get(at).copied().unwrap_or_default();
        match nodes.into_iter().find(|(at, node)| node.facts != facts(*at)) {
            Some((at, node)) => {
                Err(format!("node {} has {} facts, not {}", node.id, facts(at), node.facts))
            }
            None => Ok(()),
        }
    }

    fn remove_if_vacant<T>(&mut self, connections: &mut Connections<T>, app: u32, place: u32) {
        let channel = self.apps[app].channels.get(place as usize);
        if channel.is_some_and(|channel| channel.is_vacant()) {
            self.remove_vacant_channel(connections, app, place);
        }
    }

    /// Marks all facts of a node as stale.
    pub(in crate::hub) fn mark_stale(&mut self, at: usize) {
        for app in self.apps.iter_mut() {
            app.channels.iter_mut().for_each(|(_, channel)| channel.mark_stale(at));
        }
    }

    /// Removes all facts of a node.
    pub(in crate::hub) fn remove_all_facts<T>(
        &mut self,
        connections: &mut Connections<T>,
        at: usize,
        now: Now,
    ) {
        self.remove_facts(connections, at, false, now);
    }

    /// Removes the facts that a node has not confirmed in its full sync.
    pub(in crate::hub) fn remove_stale_facts<T>(
        &mut self,
        connections: &mut Connections<T>,
        at: usize,
        now: Now,
    ) {
        self.remove_facts(connections, at, true, now);
    }

    fn remove_facts<T>(
        &mut self,
        connections: &mut Connections<T>,
        at: usize,
        stale_only: bool,
        now: Now,
    ) {
        for app in 0..self.apps.len() as u32 {
            self.remove_facts_in(connections, at, app, stale_only, now);
        }
    }

    fn remove_facts_in<T>(
        &mut self,
        connections: &mut Connections<T>,
        at: usize,
        index: u32,
        stale_only: bool,
        now: Now,
    ) {
        let app = &mut self.apps[index];
        if !stale_only {
            app.elsewhere.set(at, 0);
        }
        let places: Vec<usize> = app.channels.iter().map(|(place, _)| place).collect();
        for place in places {
            self.remove_facts_of(connections, at, index, place as u32, stale_only, now);
        }
    }

    /// Removes the facts about apps that were removed from the configuration. Later items about
    /// these apps are ignored.
    pub(in crate::hub) fn remove_facts_of_orphaned_apps<T>(
        &mut self,
        connections: &mut Connections<T>,
        now: Now,
    ) {
        for app in self.apps.indexes().filter(|app| !self.is_served(*app)).collect::<Vec<u32>>() {
            self.remove_facts_of_app(connections, app, now);
        }
    }

    /// Removes the facts about an app that was removed.
    pub(in crate::hub) fn remove_facts_of_app<T>(
        &mut self,
        connections: &mut Connections<T>,
        app: u32,
        now: Now,
    ) {
        if self.bus.is_none() {
            return;
        }
        let mut facts = [0; PLACES];
        self.apps[app].channels.iter().for_each(|(_, channel)| channel.add_facts(&mut facts));
        for (at, facts) in facts.into_iter().enumerate() {
            if facts > 0 || self.apps[app].elsewhere.has(at) {
                self.remove_facts_in(connections, at, app, false, now);
            }
        }
    }

    /// The places of nodes with facts or connections.
    pub(in crate::hub) fn known_places(&self) -> Vec<usize> {
        let facts = self.facts();
        let has_connections = |at| self.apps.iter().any(|app| app.elsewhere.has(at));
        (0..PLACES).filter(|&at| facts[at] > 0 || has_connections(at)).collect()
    }

    fn remove_facts_of<T>(
        &mut self,
        connections: &mut Connections<T>,
        at: usize,
        app: u32,
        place: u32,
        stale_only: bool,
        now: Now,
    ) {
        let channel = self.apps[app].channels.get_mut(place as usize);
        let Some(channel) = channel else { return };
        let mut change = channel.forget(at, stale_only);
        let (mut absent, name) = (Vec::new(), Rc::clone(&channel.name));
        if let Some(presence) = &mut channel.presence {
            let users;
            (users, absent) = presence.remove_node(at, stale_only);
            change -= users as i64;
        }
        for user in &absent {
            connections.happenings.member_removed(app, &name, user);
        }
        if !channel.members.is_empty() {
            absent.into_iter().for_each(|user| self.add_leave(app, place, user));
        }
        if change != 0 {
            self.count_facts(at, change);
            self.remove_if_vacant(connections, app, place);
            self.send_count(connections, app, &name, now);
        }
    }

    /// Whether a name is short enough to be a channel name.
    pub(in crate::hub) fn is_name(&self, name: &str) -> bool {
        // A character has at most four bytes; names of internal channels have a prefix.
        name.len() <= 4 * self.limits.channel_name_length as usize + 32
    }
}
