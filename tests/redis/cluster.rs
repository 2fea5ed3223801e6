//! Several real nodes on one real Redis, each connected through its own proxy.

use serde_json::{Value, json};

use super::daemon::Redis;
use super::proxy::Proxy;
use crate::support::{Client, Server, Setup, until};

/// The channel on which the nodes of a [`Cluster`] publish.
pub const BUS: &str = "reverb-of-a-test";

/// Connected nodes.
pub struct Cluster {
    nodes: Vec<Option<Server>>,
    proxies: Vec<Proxy>,
    pub redis: Redis,
    setup: Box<dyn Fn() -> Setup>,
}

impl Cluster {
    /// This many nodes with default settings.
    #[track_caller]
    pub fn of(nodes: usize) -> Self {
        Cluster::with(nodes, Setup::new)
    }

    /// The same with this node lease.
    #[track_caller]
    pub fn with_lease(nodes: usize, milliseconds: u32) -> Self {
        Cluster::with(nodes, move || Setup::new().env("REVERB_LIMIT_NODE_LEASE_MS", milliseconds))
    }

    /// The same with these settings for each node.
    #[track_caller]
    pub fn with(nodes: usize, setup: impl Fn() -> Setup + 'static) -> Self {
        Cluster::on(Redis::start(), nodes, setup)
    }

    /// The same on this Redis server.
    #[track_caller]
    pub fn on(redis: Redis, nodes: usize, setup: impl Fn() -> Setup + 'static) -> Self {
        let mut cluster =
            Cluster { nodes: Vec::new(), proxies: Vec::new(), redis, setup: Box::new(setup) };
        for _ in 0..nodes {
            cluster.join();
        }
        cluster.wait_until_connected();
        cluster
    }

    /// Starts another node and returns its number.
    #[track_caller]
    pub fn join(&mut self) -> usize {
        self.join_with((self.setup)())
    }

    /// Starts another node with these settings, and returns its number.
    #[track_caller]
    pub fn join_with(&mut self, setup: Setup) -> usize {
        let proxy = Proxy::start(self.redis.port());
        let node = scaled(setup, proxy.port()).start();
        self.nodes.push(Some(node));
        self.proxies.push(proxy);
        self.nodes.len() - 1
    }

    #[track_caller]
    pub fn node(&self, number: usize) -> &Server {
        self.nodes[number].as_ref().expect("the node was neither killed nor taken")
    }

    /// The proxy between a node and Redis.
    pub fn proxy(&self, number: usize) -> &Proxy {
        &self.proxies[number]
    }

    /// All running nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &Server> {
        self.nodes.iter().flatten()
    }

    /// Kills a node with SIGKILL.
    pub fn kill(&mut self, number: usize) {
        self.nodes[number] = None;
    }

    /// Removes a node from the cluster without stopping it.
    pub fn take(&mut self, number: usize) -> Server {
        self.nodes[number].take().expect("the node was neither killed nor taken")
    }

    /// Waits until each node counts the connections of all: it then receives from every other node.
    #[track_caller]
    pub fn wait_until_connected(&self) {
        let Some(first) = self.nodes().next() else { return };
        let before = connections(first);
        let probes: Vec<Client> = self.nodes().map(Client::connect).collect();
        self.count(before + probes.len() as u64);
        drop(probes);
        self.count(before);
    }

    /// Waits until each node counts this many connections on all nodes.
    #[track_caller]
    pub fn count(&self, expected: u64) {
        for (number, node) in self.nodes().enumerate() {
            let what = format!("{expected} connections for node {number}");
            until(&what, || connections(node) == expected);
        }
    }

    /// Waits until each node responds with `expected` to a GET.
    #[track_caller]
    pub fn agree(&self, path: &str, params: &str, expected: &Value) {
        for (number, node) in self.nodes().enumerate() {
            let mut got = Value::Null;
            let mut is_so = || {
                got = node.get(path, params).json();
                got == *expected
            };
            let what = format!("node {number} answers {expected} to {path}");
            until(&what, &mut is_so);
        }
    }

    /// Waits until each node lists these users of a presence channel, in any order.
    #[track_caller]
    pub fn users(&self, channel: &str, expected: &[&str]) {
        let mut expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
        expected.sort();
        for (number, node) in self.nodes().enumerate() {
            let what = format!("node {number} knows {expected:?} in {channel}");
            let path = format!("/apps/app-id/channels/{channel}");
            let counted = match expected.len() {
                0 => json!({"occupied": false}),
                count => json!({"occupied": true, "user_count": count}),
            };
            // A dropped client may still be joining, and leaves afterwards.
            until(&what, || {
                users(node, channel) == expected
                    && node.get(&path, "info=user_count").json() == counted
            });
        }
    }
}

/// The settings of a node that uses the Redis server on this port.
pub fn scaled(setup: Setup, redis: u16) -> Setup {
    setup
        .env("REVERB_SCALING_ENABLED", "true")
        .env("REVERB_SCALING_CHANNEL", BUS)
        .env("REDIS_HOST", "127.0.0.1")
        .env("REDIS_PORT", redis)
}

/// The number of connections to the app on all nodes, as one node counts them.
#[track_caller]
pub fn connections(node: &Server) -> u64 {
    node.get("/apps/app-id/connections", "").json()["connections"].as_u64().unwrap()
}

/// The users of a presence channel as one node lists them, sorted.
#[track_caller]
pub fn users(node: &Server, channel: &str) -> Vec<String> {
    let answer = node.get(&format!("/apps/app-id/channels/{channel}/users"), "");
    if answer.status == 404 {
        return Vec::new();
    }
    let answer = answer.json();
    let users = answer["users"].as_array().unwrap().iter();
    let mut ids: Vec<String> = users.map(|user| user["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}
