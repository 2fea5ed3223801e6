//! A rolling upgrade: nodes of an older binary and of this one on the same Redis. `REVERB_BEFORE_BIN`
//! names the older binary; without it, nodes of this binary replace each other.

use std::path::Path;

use serde_json::json;

use super::cluster::Cluster;
use super::presence::{ROOM, added, member, quiet, removed};
use super::shards::{CHANNEL, Shards};
use super::team::{Team, by_shard};
use crate::support::{Client, Setup, binary, until};

/// The settings of a node of the older binary.
fn older() -> Setup {
    let before = std::env::var("REVERB_BEFORE_BIN").unwrap_or_else(|_| binary().to_owned());
    Setup::new().program(Path::new(&before))
}

/// Starts a node of the older binary.
fn join_older(cluster: &mut Cluster) -> usize {
    cluster.join_with(older())
}

/// Publishes at each node; the clients receive each event once and in order.
fn exchange(cluster: &Cluster, clients: &mut [&mut Client], round: u32) {
    for (number, node) in cluster.nodes().enumerate() {
        for n in 0..20 {
            node.publish(ROOM, "e", &format!("{round} {number} {n}"));
        }
        for client in &mut *clients {
            for n in 0..20 {
                let data = format!("{round} {number} {n}");
                client.expect(json!({"event": "e", "channel": ROOM, "data": data}));
            }
        }
    }
}

#[test]
fn nodes_of_two_binaries_replace_each_other() {
    let mut cluster = Cluster::of(0);
    let older = [join_older(&mut cluster), join_older(&mut cluster)];
    let mut ann = member(&cluster, older[0], "ann");
    // A new node receives the state of an older one.
    let newer = cluster.join();
    cluster.users(ROOM, &["ann"]);
    let mut bob = member(&cluster, newer, "bob");
    added(&mut ann, "bob");
    exchange(&cluster, &mut [&mut ann, &mut bob], 1);
    // An older node receives the state of a new one, and both send what a node has missed.
    let late = join_older(&mut cluster);
    cluster.users(ROOM, &["ann", "bob"]);
    for missing in [newer, late] {
        let mut far = Client::connect(cluster.node(missing));
        far.subscribe("a");
        cluster.proxy(missing).refuse();
        for sender in [older[0], newer, late].into_iter().filter(|node| *node != missing) {
            (0..20).for_each(|n| cluster.node(sender).publish("a", "e", &format!("{sender} {n}")));
        }
        cluster.proxy(missing).mend();
        let mut received: Vec<String> =
            (0..40).map(|_| far.event()["data"].as_str().unwrap().to_owned()).collect();
        // Both senders keep their order.
        received.sort_by_key(|data| data.split(' ').next().unwrap().to_owned());
        let senders: Vec<&str> = received.iter().map(|it| it.split(' ').nth(1).unwrap()).collect();
        let once: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        assert_eq!(senders, [&once[..], &once].concat());
    }
    // The older nodes stop, one after the other.
    for node in [older[1], late] {
        let mut stopping = cluster.take(node);
        stopping.signal("TERM");
        stopping.wait();
    }
    quiet(&cluster, &mut [&mut ann, &mut bob]);
    let mut cid = member(&cluster, newer, "cid");
    added(&mut ann, "cid");
    added(&mut bob, "cid");
    exchange(&cluster, &mut [&mut ann, &mut bob, &mut cid], 2);
    let mut stopping = cluster.take(older[0]);
    stopping.signal("TERM");
    removed(&mut bob, "ann");
    removed(&mut cid, "ann");
    stopping.wait();
    cluster.users(ROOM, &["bob", "cid"]);
    exchange(&cluster, &mut [&mut bob, &mut cid], 3);
}

#[test]
fn nodes_of_two_binaries_replace_each_other_on_a_redis_cluster() {
    let shards = Shards::start();
    let (owner, stranger) = (shards.owner(), shards.stranger());
    // An older binary may not know the setting; without it, nodes use plain messages.
    let older =
        |seed| by_shard(&shards, older(), seed).env("REVERB_SCALING_CLUSTER", "false").start();
    let newer = |seed| by_shard(&shards, Setup::new(), seed).start();
    let mut team = Team::of(vec![older(owner), older(stranger), newer(stranger), newer(owner)]);
    team.exchange(500, || {});
    team.exchange(1_000, || shards.fail_over());
    team.stop(1);
    team.exchange(500, || {});
    team.stop(0);
    team.exchange(500, || shards.fail_over());
    until("the nodes are at the owner", || shards.subscribers(shards.owner(), CHANNEL) == 2);
}
