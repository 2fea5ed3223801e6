//! Nodes that find Redis by Sentinel or in a Redis Cluster, with members of a presence channel.

use super::cluster::{connections, users};
use super::presence::{ROOM, added, removed};
use super::sentinels::Sentinels;
use super::shards::{CHANNEL, Shards};
use super::traffic::exchange_between;
use crate::support::{Client, Server, Setup, until};

/// A node that uses these sentinels. Its `REDIS_HOST` leads nowhere.
pub fn by_sentinel(sentinels: &Sentinels, setup: Setup) -> Setup {
    setup
        .env("REVERB_SCALING_ENABLED", "true")
        .env("REVERB_SCALING_SENTINELS", sentinels.addresses())
        .env("REDIS_HOST", "redis.invalid")
}

/// A node on a Redis Cluster, which it knows by this server.
pub fn by_shard(shards: &Shards, setup: Setup, seed: usize) -> Setup {
    setup
        .env("REVERB_SCALING_ENABLED", "true")
        .env("REVERB_SCALING_CLUSTER", "true")
        .env("REVERB_SCALING_CHANNEL", CHANNEL)
        .env("REDIS_HOST", "127.0.0.1")
        .env("REDIS_PORT", shards.servers[seed].port())
}

/// Connected nodes, each with a member of the presence channel.
pub struct Team {
    pub nodes: Vec<Server>,
    /// The names of the members, and their clients.
    members: Vec<(String, Client)>,
}

impl Team {
    /// Waits until the nodes exchange messages; then the members join.
    #[track_caller]
    pub fn of(nodes: Vec<Server>) -> Self {
        let mut team = Team { nodes, members: Vec::new() };
        team.wait_until_connected();
        for (at, node) in team.nodes.iter().enumerate() {
            let mut client = Client::connect(node);
            let user = format!("user-{at}");
            client.join(ROOM, &user);
            until("every node lists the user", || {
                team.nodes.iter().all(|node| users(node, ROOM).contains(&user))
            });
            team.members.iter_mut().for_each(|(_, member)| added(member, &user));
            team.members.push((user, client));
        }
        team
    }

    /// Waits until each node counts the connections of all: it then receives from every other node.
    #[track_caller]
    pub fn wait_until_connected(&self) {
        let probes: Vec<Client> = self.nodes.iter().map(Client::connect).collect();
        let expected = (probes.len() + self.members.len()) as u64;
        for (at, node) in self.nodes.iter().enumerate() {
            until(&format!("node {at} counts all connections"), || connections(node) == expected);
        }
    }

    /// Every node publishes events while Redis is disturbed. Each event must reach each node once and
    /// in order, and no member may seem to leave.
    #[track_caller]
    pub fn exchange(&mut self, each: usize, disturb: impl FnOnce()) {
        exchange_between(&self.nodes.iter().collect::<Vec<_>>(), each, disturb);
        self.wait_until_connected();
        self.members.iter_mut().for_each(|(_, member)| member.nothing());
    }

    /// Stops a node; its member leaves.
    #[track_caller]
    pub fn stop(&mut self, at: usize) {
        let mut node = self.nodes.remove(at);
        node.signal("TERM");
        let (user, _) = self.members.remove(at);
        self.members.iter_mut().for_each(|(_, member)| removed(member, &user));
        node.wait();
    }
}
