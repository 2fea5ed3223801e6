//! Nodes, a proxy in front of each, and two Redis servers of which one is the master.

use std::time::{Duration, Instant};

use serde_json::json;

use super::client::{Listener, Published, TRAFFIC};
use crate::redis::cluster::{connections, scaled};
use crate::redis::daemon::Redis;
use crate::redis::proxy::Proxy;
use crate::support::{APP, Client, Http, Server, Setup, signed};

/// Short, so that many outages outlast it.
pub const LEASE_MS: u32 = 3_000;

pub struct Node {
    /// A number that no other node ever had.
    pub name: usize,
    pub server: Server,
    pub proxy: Proxy,
    pub listeners: Vec<Listener>,
    pub is_stopped: bool,
    /// The names of the nodes it has known while there were no faults, including its own.
    pub met: Vec<usize>,
    http: Http,
}

pub struct World {
    pub nodes: Vec<Node>,
    pub redis: [Redis; 2],
    /// The index of the master in `redis`.
    pub master: usize,
    pub published: Published,
    /// Events received by listeners that ended with their nodes, or were disconnected.
    pub deliveries: usize,
    pub faults: Vec<String>,
    users: usize,
    random: u64,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let redis = [Redis::start(), Redis::start()];
        redis[1].call(&["REPLICAOF", "127.0.0.1", &redis[0].port().to_string()]);
        World {
            nodes: Vec::new(),
            redis,
            master: 0,
            published: Published::new(),
            deliveries: 0,
            faults: Vec::new(),
            users: 0,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 33) as usize % end
    }

    /// The index of a random node that is not stopped.
    pub fn any_running(&mut self) -> usize {
        let running: Vec<usize> = (0..self.nodes.len()).filter(|n| self.runs(*n)).collect();
        running[self.below(running.len())]
    }

    fn runs(&self, at: usize) -> bool {
        !self.nodes[at].is_stopped
    }

    pub fn running(&self) -> usize {
        (0..self.nodes.len()).filter(|at| self.runs(*at)).count()
    }

    pub fn start_node(&mut self) {
        let proxy = Proxy::start(self.redis[self.master].port());
        let setup = Setup::new()
            // Enough for what a fast machine publishes while a storm lasts.
            .env("REDIS_TIMEOUT", 120)
            .env("REVERB_LIMIT_BUS_QUEUE_BYTES", 1_u64 << 30)
            .env("REVERB_LIMIT_OUTBOX_BYTES", 1_u64 << 30)
            .env("REVERB_LIMIT_KEEP_ALIVE_TIMEOUT_MS", 600_000)
            .env("REVERB_LIMIT_NODE_LEASE_MS", LEASE_MS)
            .env("REVERB_LIMIT_REDIS_REPLY_TIMEOUT_MS", 2_000)
            .env("REVERB_LIMIT_REDIS_RETRY_MAX_MS", 300)
            .env("REVERB_LIMIT_DRAIN_LINGER_MS", 0)
            .env("REVERB_LIMIT_DRAIN_WINDOW_MS", 0);
        let server = scaled(setup, proxy.port()).start();
        let name = self.published.len();
        self.published.insert(name, 0);
        let http = Http::connect(&server);
        let (listeners, met) = (Vec::new(), vec![name]);
        self.nodes.push(Node { name, server, proxy, listeners, is_stopped: false, met, http });
        self.connect(self.nodes.len() - 1);
    }

    /// Connects another client to a node.
    pub fn connect(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let due = node.met.iter().map(|met| (*met, self.published[met])).collect();
        self.users += 1;
        let user = format!("u{} of node {}", self.users, node.name);
        node.listeners.push(Listener::start(&node.server, &user, due));
    }

    /// Removes a node: by SIGTERM if `is_graceful`, otherwise by SIGKILL.
    pub fn end_node(&mut self, at: usize, is_graceful: bool) {
        let mut node = self.nodes.remove(at);
        if is_graceful {
            node.server.signal("TERM");
            node.server.wait();
        }
        drop(node.server);
        for listener in node.listeners {
            self.deliveries += listener.count();
            self.faults.extend(listener.faults(&self.published, &[]));
        }
    }

    pub fn stop(&mut self, at: usize, stops: bool) {
        self.nodes[at].server.signal(if stops { "STOP" } else { "CONT" });
        self.nodes[at].is_stopped = stops;
    }

    /// Publishes the next event of a node.
    pub fn publish(&mut self, at: usize, padding: usize) {
        let node = &mut self.nodes[at];
        let number = self.published.get_mut(&node.name).unwrap();
        let data = format!("{} {number} {}", node.name, "x".repeat(padding));
        *number += 1;
        let body = json!({"name": "e", "channel": TRAFFIC, "data": data}).to_string();
        let target = signed(&APP, "POST", "/apps/app-id/events", "", body.as_bytes());
        let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n");
        node.http.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
        node.http.response().is(200, json!({}));
    }

    /// Publishes at all running nodes in turn.
    pub fn traffic(&mut self, rounds: usize) {
        for _ in 0..rounds {
            let padding = if self.below(50) == 0 { 9_000 } else { self.below(300) };
            for at in (0..self.nodes.len()).filter(|at| self.runs(*at)).collect::<Vec<_>>() {
                self.publish(at, padding);
            }
        }
    }

    /// Publishes until the condition holds; returns whether it held within the limit.
    pub fn until(&mut self, limit: Duration, mut condition: impl FnMut(&mut Self) -> bool) -> bool {
        let begin = Instant::now();
        while !condition(self) {
            if begin.elapsed() > limit {
                return false;
            }
            self.traffic(1);
        }
        true
    }

    /// The number of clients, over all nodes.
    pub fn clients(&self) -> usize {
        self.nodes.iter().map(|node| node.listeners.len()).sum()
    }

    /// Whether a node counts exactly this many connections, over all nodes.
    pub fn knows(&self, at: usize, count: usize) -> bool {
        connections(&self.nodes[at].server) == count as u64
    }

    /// Opens and closes a connection, which must leave no state.
    pub fn visit(&self, at: usize) {
        drop(Client::connect(&self.nodes[at].server));
    }
}
