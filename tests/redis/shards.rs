//! A real Redis Cluster of three masters and three replicas.

use std::time::{Duration, Instant};

use super::daemon::Redis;
use super::resp::Reply;
use crate::support::until;

/// A running Redis Cluster.
pub struct Shards {
    /// At first, the replica of server N is server N + 3.
    pub servers: Vec<Redis>,
    ids: Vec<String>,
}

/// The channel whose slot is failed over and moved.
pub const CHANNEL: &str = "reverb-of-a-test";

/// The number of slots of a Redis Cluster.
const SLOTS: usize = 16_384;

/// After this time, a failover that a replica was told to begin has failed: Redis gives up after 5 s
/// (`CLUSTER_MF_TIMEOUT`), which happens on a machine with too much to do.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(6);

impl Shards {
    /// Starts the servers, and waits until the cluster is complete.
    #[track_caller]
    pub fn start() -> Self {
        Shards::with(&[])
    }

    /// The same with these arguments for each server.
    #[track_caller]
    pub fn with(arguments: &[&str]) -> Self {
        let common = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
        let further = ["--cluster-config-file", "{folder}/nodes.conf"];
        // Without the delay, the master sends its data to a replica at once. Without the other
        // setting, a replica that was disconnected for long does not become the master.
        let replica = ["--repl-diskless-sync-delay", "0", "--cluster-replica-validity-factor", "0"];
        let arguments = [&common[..], &further, &replica, arguments].concat();
        let servers: Vec<Redis> = (0..6).map(|_| Redis::with(&arguments)).collect();
        let ids = servers.iter().map(|s| s.call(&["CLUSTER", "MYID"]).text().to_owned()).collect();
        let shards = Shards { servers, ids };
        for (at, server) in shards.servers.iter().enumerate() {
            server.call(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]);
            if at < 3 {
                let (first, end) = (at * SLOTS / 3, (at + 1) * SLOTS / 3);
                let range = [first.to_string(), (end - 1).to_string()];
                server.call(&["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]);
            }
            shards.servers[0].call(&["CLUSTER", "MEET", "127.0.0.1", &server.port().to_string()]);
        }
        for (at, server) in shards.servers.iter().enumerate() {
            until("the servers know each other", || {
                server.has_info("cluster", "cluster_known_nodes:6")
            });
            if at >= 3 {
                let master = &shards.ids[at - 3];
                until("the replica knows its master", || {
                    server.session().send_and_receive(&[
                        b"CLUSTER",
                        b"REPLICATE",
                        master.as_bytes(),
                    ]) == Reply::Text("OK".into())
                });
            }
        }
        shards.wait();
        shards
    }

    /// Waits until all running servers agree on the slots, and all replicas are in sync.
    #[track_caller]
    pub fn wait(&self) {
        for server in self.running() {
            until("the cluster is complete", || {
                let is_replica = server.has_info("replication", "role:slave");
                server.has_info("cluster", "cluster_state:ok")
                    && (!is_replica || server.has_info("replication", "master_link_status:up"))
                    && self.replicas(server) + 3 == self.running().count()
            });
        }
    }

    fn running(&self) -> impl Iterator<Item = &Redis> {
        self.servers.iter().filter(|server| server.is_running())
    }

    /// How many working replicas this server knows.
    fn replicas(&self, server: &Redis) -> usize {
        let nodes = server.call(&["CLUSTER", "NODES"]);
        let flags = nodes.text().lines().filter_map(|line| line.split(' ').nth(2));
        flags.filter(|flags| flags.contains("slave") && !flags.contains("fail")).count()
    }

    fn slot(&self) -> String {
        let server = self.running().next().unwrap();
        server.call(&["CLUSTER", "KEYSLOT", CHANNEL]).number().to_string()
    }

    /// The master of the slot of the nodes' channel, as one server knows it. During a failover, a
    /// server may know none.
    #[track_caller]
    fn owner_at(&self, asked: usize) -> Option<usize> {
        let slot: i64 = self.slot().parse().unwrap();
        let Reply::List(ranges) = self.servers[asked].call(&["CLUSTER", "SLOTS"]) else { panic!() };
        let port = ranges.iter().find_map(|range| {
            let Reply::List(parts) = range else { panic!("{range:?}") };
            let Reply::List(master) = &parts[2] else { panic!("{range:?}") };
            let is_range = (parts[0].number()..=parts[1].number()).contains(&slot);
            is_range.then(|| master[1].number())
        });
        self.servers.iter().position(|s| Some(i64::from(s.port())) == port)
    }

    /// The replica of a master. Waits until it follows that master.
    #[track_caller]
    pub fn replica_of(&self, master: usize) -> usize {
        let line = format!("master_port:{}", self.servers[master].port());
        let is_its_replica =
            |server: &Redis| server.is_running() && server.has_info("replication", &line);
        until_some("the master has a replica", || self.servers.iter().position(is_its_replica))
    }

    /// The master of the slot, as any running server knows it.
    pub fn owner(&self) -> usize {
        let asked = self.servers.iter().position(Redis::is_running).unwrap();
        until_some("the slot has an owner", || self.owner_at(asked))
    }

    /// A master that does not own the slot.
    pub fn stranger(&self) -> usize {
        let owner = self.owner();
        (0..3).find(|at| *at != owner).unwrap()
    }

    /// Makes the replica of the slot its master, and waits until all servers know that.
    #[track_caller]
    pub fn fail_over(&self) {
        let replica = self.replica_of(self.owner());
        let mut requested: Option<Instant> = None;
        until("the replica owns the slot", || {
            if requested.is_none_or(|at| at.elapsed() > FAILOVER_TIMEOUT) {
                // A replica that is the master by now answers with an error.
                self.servers[replica].session().send_and_receive(&[b"CLUSTER", b"FAILOVER"]);
                requested = Some(Instant::now());
            }
            self.owner_at(replica) == Some(replica)
        });
        self.wait_for_owner(replica);
    }

    /// Waits until all running servers know that this one owns the slot.
    #[track_caller]
    pub fn wait_for_owner(&self, owner: usize) {
        for (at, _) in self.servers.iter().enumerate().filter(|(_, s)| s.is_running()) {
            until("all servers know the owner of the slot", || self.owner_at(at) == Some(owner));
        }
    }

    /// Moves the slot to another master.
    #[track_caller]
    pub fn move_slot(&self, to: usize) {
        let (from, slot) = (self.owner(), self.slot());
        let set = |at: usize, words: &[&str]| {
            let words = [&["CLUSTER", "SETSLOT", slot.as_str()], words].concat();
            self.servers[at].call(&words);
        };
        set(to, &["IMPORTING", &self.ids[from]]);
        set(from, &["MIGRATING", &self.ids[to]]);
        set(to, &["NODE", &self.ids[to]]);
        set(from, &["NODE", &self.ids[to]]);
        self.wait_for_owner(to);
    }

    /// How many connections are subscribed to a sharded channel at one server.
    #[track_caller]
    pub fn subscribers(&self, at: usize, channel: &str) -> i64 {
        match self.servers[at].call(&["PUBSUB", "SHARDNUMSUB", channel]) {
            Reply::List(parts) => parts[1].number(),
            other => panic!("{other:?}"),
        }
    }
}

/// Waits until there is a value.
#[track_caller]
fn until_some<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    until(what, || {
        found = find();
        found.is_some()
    });
    found.expect("the wait ended with a value")
}
