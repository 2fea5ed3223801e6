//! Several faults at once on real nodes and real Redis servers: nodes are killed, suspended and
//! replaced; connections to Redis are cut, refused, held, delayed and doubled; Redis is killed,
//! suspended, and becomes a replica of another while nodes are connected to it. Faults last for
//! less and for more time than the lease.
//!
//! Regardless of the faults, no client may receive an event twice, or out of the publisher's order.
//! An event may be lost only if the node that published it died. After the faults, clients and
//! nodes know the members that are connected, and no others.
//!
//! `CHAOS_SEED=7` repeats the faults of that seed, `CHAOS_S=600` runs for that many seconds, and
//! `REVERB_BIN` names a binary to use instead of the one that was built for the tests.
#![cfg(feature = "redis")]

mod client;
mod world;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::redis::cluster::users;
use crate::simulation::variable;
use crate::support::{DEADLINE, until};
use client::ROOM;
use world::{LEASE_MS, World};

/// A third of the time for which nodes keep events (`REDIS_TIMEOUT` in `world`).
const STORM_MAX: Duration = Duration::from_secs(40);

#[test]
fn clients_receive_every_event_once_in_order_and_know_the_members() {
    let seed = variable("CHAOS_SEED").unwrap_or(1);
    let end = Instant::now() + Duration::from_secs(variable("CHAOS_S").unwrap_or(45));
    let mut world = World::new(seed);
    (0..3).for_each(|_| world.start_node());
    world.recover();
    let mut storms = 0;
    while Instant::now() < end {
        world.storm();
        world.recover();
        storms += 1;
    }
    let listeners = world.nodes.iter().flat_map(|node| &node.listeners);
    let deliveries = world.deliveries + listeners.map(|listener| listener.count()).sum::<usize>();
    println!("seed {seed}: {storms} storms, {deliveries} deliveries, no violations");
    assert!(storms > 0 && deliveries > 1_000);
}

impl World {
    /// Causes a few faults that overlap; fewer on a slow machine, because nodes keep events only
    /// for a limited time (REDIS_TIMEOUT).
    fn storm(&mut self) {
        let begin = Instant::now();
        for _ in 0..4 + self.below(6) {
            if begin.elapsed() > STORM_MAX {
                return;
            }
            for _ in 0..1 + self.below(3) {
                self.fault();
            }
            let rounds = 5 + self.below(100);
            self.traffic(rounds);
            if self.below(6) == 0 {
                self.outlast_the_lease();
            }
        }
    }

    fn fault(&mut self) {
        let (at, kind) = (self.any_running(), self.below(20));
        let proxy = &self.nodes[at].proxy;
        match kind {
            0..=1 => proxy.cut(),
            2 => proxy.refuse(),
            3 => proxy.hold(),
            4 => proxy.delay(5),
            5 => proxy.double(),
            6 => proxy.cut_after(30_000),
            7..=8 => self.mend_one(),
            9 => self.redis[self.master].kill(),
            10..=11 => self.redis[self.master].restart(),
            12 => self.redis[self.master].stand_still(),
            13 => self.redis[self.master].go_on(),
            14..=15 => self.fail_over(),
            16 if self.running() > 2 => self.stop(at, true),
            17 if self.running() > 2 => {
                let is_graceful = self.below(2) == 0;
                self.end_node(at, is_graceful);
            }
            18 if self.nodes.len() < 4 => self.start_node(),
            _ if self.nodes[at].listeners.len() < 4 => self.connect(at),
            _ => self.visit(at),
        }
    }

    /// Resumes a node, ends the faults of its proxy, and leads new connections to the master.
    /// Existing connections stay: a node at a replica must notice that by itself.
    fn mend_one(&mut self) {
        let at = self.below(self.nodes.len());
        self.mend(at);
    }

    fn mend(&mut self, at: usize) {
        if self.nodes[at].is_stopped {
            self.stop(at, false);
        }
        let proxy = &self.nodes[at].proxy;
        proxy.mend();
        proxy.lead_new_to(self.redis[self.master].port());
    }

    /// Makes the other Redis the master. Some nodes reach it at once; others stay connected to the
    /// old one, which becomes its replica or restarts.
    fn fail_over(&mut self) {
        let (old, new) = (self.master, 1 - self.master);
        self.redis[new].go_on();
        self.redis[new].restart();
        self.master = new;
        for at in 0..self.nodes.len() {
            if self.below(2) == 0 {
                self.nodes[at].proxy.lead_to(self.redis[new].port());
            }
        }
        self.redis[old].go_on();
        if self.below(3) == 0 {
            // It restarts as a second master.
            self.redis[old].restart();
        } else if self.redis[old].is_running() {
            let port = self.redis[new].port().to_string();
            self.redis[old].call(&["REPLICAOF", "127.0.0.1", &port]);
        }
    }

    /// Keeps the faults until a running node has expired all others, or for two leases.
    fn outlast_the_lease(&mut self) {
        let at = self.any_running();
        let here = self.nodes[at].listeners.len();
        self.until(Duration::from_millis(2 * u64::from(LEASE_MS)), |world| world.knows(at, here));
    }

    /// Ends all faults; the cluster must then recover in time.
    fn recover(&mut self) {
        let redis = &self.redis[self.master];
        redis.go_on();
        if !redis.is_running() {
            redis.restart();
        }
        redis.call(&["REPLICAOF", "NO", "ONE"]);
        let (other, port) = (&self.redis[1 - self.master], redis.port().to_string());
        other.go_on();
        if other.is_running() {
            other.call(&["REPLICAOF", "127.0.0.1", &port]);
        }
        (0..self.nodes.len()).for_each(|at| self.mend(at));
        let clients = self.clients();
        for at in 0..self.nodes.len() {
            let is_complete = self.until(DEADLINE, |world| world.knows(at, clients));
            assert!(
                is_complete,
                "node {} never knows all {clients} connections",
                self.nodes[at].name
            );
        }
        self.traffic(1);
        let alive: Vec<usize> = self.nodes.iter().map(|node| node.name).collect();
        let begin = Instant::now();
        let has_last = |world: &World| {
            let mut listeners = world.nodes.iter().flat_map(|node| &node.listeners);
            listeners.all(|listener| listener.has_last(&alive, &world.published))
        };
        while !has_last(self) && begin.elapsed() < DEADLINE {
            std::thread::yield_now();
        }
        let mut faults = std::mem::take(&mut self.faults);
        for listener in self.nodes.iter().flat_map(|node| &node.listeners) {
            faults.extend(listener.faults(&self.published, &alive));
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        self.check_members();
        for node in &mut self.nodes {
            node.met.clone_from(&alive);
            for listener in &mut node.listeners {
                for name in &alive {
                    listener.due_from.entry(*name).or_insert(self.published[name]);
                }
            }
        }
    }

    /// Fails unless all nodes and clients know the connected members, and no others.
    fn check_members(&self) {
        let listeners = self.nodes.iter().flat_map(|node| &node.listeners);
        let connected: BTreeSet<String> = listeners.map(|listener| listener.user.clone()).collect();
        for node in &self.nodes {
            let known = || users(&node.server, ROOM).into_iter().collect::<BTreeSet<_>>();
            let begin = Instant::now();
            let mut last = known();
            while last != connected && begin.elapsed() < DEADLINE {
                std::thread::yield_now();
                last = known();
            }
            let name = node.name;
            let odd: Vec<&String> = last.symmetric_difference(&connected).collect();
            assert!(odd.is_empty(), "node {name} has missed or kept {odd:?} of {connected:?}");
            for listener in &node.listeners {
                let what = format!("{} knows {connected:?}", listener.user);
                until(&what, || listener.members() == connected);
            }
        }
    }
}
