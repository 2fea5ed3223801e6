//! A Redis that becomes a replica while nodes are connected to it: PUBLISH still succeeds there,
//! but its messages reach no node at the master.

use std::net::SocketAddr;

use super::cluster::{BUS, scaled};
use super::daemon::Redis;
use super::proxy::Proxy;
use super::traffic::{burst, take};
use crate::metrics::{figure, get, watched};
use crate::support::{Client, Http, Server, Setup, logged, until};

const LEASE_MS: u32 = 3_000;

/// A node with a metrics port, a proxy that can switch Redis servers, and a subscriber.
struct Node {
    server: Server,
    figures: SocketAddr,
    redis: Proxy,
    client: Client,
}

impl Node {
    fn start(redis: &Redis) -> Self {
        let proxy = Proxy::start(redis.port());
        let setup = Setup::new()
            .env("REVERB_LIMIT_NODE_LEASE_MS", LEASE_MS)
            .env("REVERB_LIMIT_REDIS_RETRY_MAX_MS", 500);
        let (server, figures) = watched(scaled(setup, proxy.port()));
        let mut client = Client::connect(&server);
        client.subscribe("traffic");
        Node { server, figures, redis: proxy, client }
    }

    fn figure(&self, name: &str) -> f64 {
        let figures = get(&mut Http::connect_to(self.figures), "/metrics");
        figure(figures.text(), name)
    }

    fn knows(&self, others: usize) -> bool {
        self.figure("reverb_redis_up") == 1.0 && self.figure("reverb_nodes") == others as f64
    }

    fn warnings(&self, text: &str) -> usize {
        let log = self.server.stderr();
        log.lines().filter(|line| line.contains("[WARN]") && line.contains(text)).count()
    }
}

#[test]
fn a_demotion_is_logged_once_and_nothing_is_lost() {
    let (old, new) = (Redis::start(), Redis::start());
    let mut nodes = [0, 1, 2].map(|_| Node::start(&old));
    until("the nodes are connected", || nodes.iter().all(|node| node.knows(2)));
    // One node is connected to the new master before the old one becomes its replica.
    nodes[2].redis.lead_to(new.port());
    until("the third node connects", || new.subscribers(BUS) == 1);
    old.call(&["REPLICAOF", "127.0.0.1", &new.port().to_string()]);
    for node in &nodes[..2] {
        logged(&node.server, &["[WARN]", "Redis: the server is a replica", "REDIS_HOST"]);
        until("Redis counts as down", || node.figure("reverb_redis_up") == 0.0);
    }
    for (n, node) in nodes.iter().enumerate() {
        burst(&node.server, "traffic", &n.to_string(), 100);
    }
    for (n, node) in nodes.iter_mut().enumerate() {
        take(&mut node.client, &n.to_string(), 100);
    }
    for node in &nodes[..2] {
        assert_eq!(node.warnings("is a replica"), 1, "{}", node.server.stderr());
        node.redis.lead_to(new.port());
    }
    let mut next = [[0; 3]; 3];
    for (at, node) in nodes.iter_mut().enumerate() {
        for _ in 0..200 {
            let event = node.client.event();
            let (tag, number) = event["data"].as_str().unwrap().split_once(' ').unwrap();
            let next = &mut next[at][tag.parse::<usize>().unwrap()];
            assert_eq!(number.parse::<usize>().unwrap(), *next, "of {tag} at {at}");
            *next += 1;
        }
        node.client.nothing();
    }
    until("the nodes are connected again", || nodes.iter().all(|node| node.knows(2)));
    for node in &nodes[..2] {
        logged(&node.server, &["Redis is back"]);
        assert_eq!(node.warnings("Redis: the server is a replica"), 1, "{}", node.server.stderr());
    }
}

#[test]
fn a_redis_that_delivers_no_messages_counts_as_down() {
    let redis = Redis::start();
    redis.call(&["ACL", "SETUSER", "app", "on", ">of-app", "+@all", "~*", &format!("&{BUS}")]);
    let setup = Setup::new()
        .env("REDIS_USERNAME", "app")
        .env("REDIS_PASSWORD", "of-app")
        .env("REVERB_LIMIT_NODE_LEASE_MS", LEASE_MS)
        .env("REVERB_LIMIT_REDIS_REPLY_TIMEOUT_MS", 1_000);
    let (server, figures) = watched(scaled(setup, redis.port()));
    let is_up = || {
        let figures = get(&mut Http::connect_to(figures), "/metrics");
        figure(figures.text(), "reverb_redis_up") == 1.0
    };
    until("Redis is up", is_up);
    redis.call(&["ACL", "SETUSER", "app", "-publish"]);
    logged(&server, &["[WARN]", "Redis: this node has not received its own messages"]);
    assert!(!is_up());
    redis.call(&["ACL", "SETUSER", "app", "+publish"]);
    until("Redis is up again", is_up);
    logged(&server, &["Redis is back"]);
}
