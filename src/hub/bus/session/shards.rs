//! The servers of a Redis Cluster: which to connect to next, and which owns the slot of the shared
//! channel. How the session finds the owner and follows the slot is in `cluster`.

use crate::config::redis::inbox_prefix;
use crate::config::{HostPort, RedisTarget, Transport};
use crate::proto::resp::{self, ClusterNode, SlotRange};

/// The servers of a Redis Cluster.
#[derive(Debug)]
pub(in crate::hub) struct Shards {
    /// The configured server.
    seed: HostPort,
    /// The beginning of the names of inboxes, which have the slot of the shared channel.
    pub inbox_prefix: String,
    slot: u16,
    /// The server of this connection or attempt.
    pub current: HostPort,
    /// The server to connect to next: the one that a server last named as the owner of the slot.
    pub owner: Option<HostPort>,
    /// The other servers that the last one has named, to ask if the owner does not answer.
    known: Vec<HostPort>,
    /// The number of servers asked since the last login: first the seed, then those in `known`.
    asked: usize,
    /// How many servers in a row have named another one.
    pub redirects: u32,
    /// Whether the server knows no sharded channels.
    pub is_plain: bool,
    pub is_replica: bool,
    /// Whether a live node does not receive sharded messages.
    pub has_plain_nodes: bool,
}

impl Shards {
    pub(in crate::hub) fn new(target: &RedisTarget, channel: &str) -> Option<Self> {
        let Transport::Tcp { host, port } = &target.transport else { return None };
        let seed = HostPort { host: host.clone(), port: *port };
        let inbox_prefix = inbox_prefix(channel).filter(|_| target.is_cluster)?;
        Some(Shards {
            current: seed.clone(),
            seed,
            inbox_prefix,
            slot: resp::cluster::slot(channel),
            owner: None,
            known: Vec::new(),
            asked: 0,
            redirects: 0,
            is_plain: false,
            is_replica: false,
            has_plain_nodes: false,
        })
    }

    /// The server for the next attempt to connect.
    pub(in crate::hub) fn next_server(&mut self) -> HostPort {
        let next = self.owner.take().unwrap_or_else(|| {
            let others = self.known.iter().filter(|known| **known != self.seed);
            let servers: Vec<&HostPort> = std::iter::once(&self.seed).chain(others).collect();
            // The last server has just failed, so another is asked first.
            self.asked += usize::from(servers[self.asked % servers.len()] == &self.current);
            let next = servers[self.asked % servers.len()].clone();
            self.asked += 1;
            next
        });
        self.current = next.clone();
        next
    }

    pub(in crate::hub) fn resolve(&self, node: &ClusterNode) -> HostPort {
        let host = node.host.as_ref().unwrap_or(&self.current.host);
        HostPort { host: host.clone(), port: node.port }
    }

    /// Remembers the servers. Returns the owner of the slot.
    pub(in crate::hub) fn learn(&mut self, ranges: &[SlotRange]) -> Option<HostPort> {
        let owners = ranges.iter().filter(|range| (range.first..=range.last).contains(&self.slot));
        let owner = owners.filter_map(|range| range.master.as_ref()).next();
        let owner = owner.map(|owner| self.resolve(owner));
        self.known.clear();
        for node in ranges.iter().flat_map(|range| range.master.iter().chain(&range.replicas)) {
            let server = self.resolve(node);
            if self.known.len() < KNOWN_MAX && !self.known.contains(&server) {
                self.known.push(server);
            }
        }
        owner
    }

    /// The login is complete.
    pub(in crate::hub) fn logged_in(&mut self) {
        (self.asked, self.redirects) = (0, 0);
    }
}

/// The most servers of a cluster that are remembered: a hundred masters with nine replicas each.
const KNOWN_MAX: usize = 1_000;
