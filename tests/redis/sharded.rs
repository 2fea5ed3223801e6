//! Nodes on a Redis Cluster: they find the server that owns their channel, and follow the channel.

use super::shards::{CHANNEL, Shards};
use super::team::{Team, by_shard};
use crate::support::{Setup, logged, until};

/// The default times: on a busy machine a server may take a second to answer.
fn setup() -> Setup {
    Setup::new().arg("--debug")
}

/// Shorter times, so that nodes notice soon that a server has stopped.
fn hasty() -> Setup {
    setup().env("REVERB_LIMIT_REDIS_REPLY_TIMEOUT_MS", 1_000)
}

/// Three nodes, whose seeds are the owner of the channel, its replica, and another master.
fn team(shards: &Shards, setup: fn() -> Setup) -> Team {
    let owner = shards.owner();
    let seeds = [owner, shards.replica_of(owner), shards.stranger()];
    Team::of(seeds.map(|seed| by_shard(shards, setup(), seed).start()).into())
}

/// Waits until all nodes are connected to the owner of the channel.
#[track_caller]
fn are_at_the_owner(shards: &Shards, nodes: i64) {
    let owner = shards.owner();
    until("all nodes are at the owner", || shards.subscribers(owner, CHANNEL) == nodes);
}

#[test]
fn nodes_find_the_owner_of_the_channel_from_any_server() {
    let shards = Shards::start();
    let mut team = team(&shards, setup);
    team.exchange(1_000, || {});
    are_at_the_owner(&shards, 3);
    for (at, server) in shards.servers.iter().enumerate() {
        let expected = if at == shards.owner() { 3 } else { 0 };
        assert_eq!(shards.subscribers(at, CHANNEL), expected, "server {at}");
        // One connection subscribes, the other publishes; both are to the owner.
        let clients = server.call(&["CLIENT", "LIST"]);
        let nodes = clients.text().lines().filter(|line| line.contains("name=reverb")).count();
        assert_eq!(nodes as i64, 2 * expected, "server {at}");
    }
    for node in &team.nodes {
        assert!(!node.stderr().contains("[WARN]"), "{}", node.stderr());
    }
}

#[test]
fn nothing_is_lost_when_a_replica_takes_over() {
    let shards = Shards::start();
    let mut team = team(&shards, setup);
    team.exchange(2_000, || shards.fail_over());
    are_at_the_owner(&shards, 3);
    team.exchange(100, || {});
}

#[test]
fn nothing_is_lost_when_the_slot_moves() {
    let shards = Shards::start();
    let mut team = team(&shards, setup);
    let (owner, stranger) = (shards.owner(), shards.stranger());
    team.exchange(2_000, || shards.move_slot(stranger));
    are_at_the_owner(&shards, 3);
    team.exchange(2_000, || shards.move_slot(owner));
    are_at_the_owner(&shards, 3);
    for node in &team.nodes {
        assert!(!node.stderr().contains("[WARN]"), "{}", node.stderr());
    }
}

#[test]
fn nothing_is_lost_when_the_owner_is_killed() {
    let shards = Shards::start();
    let mut team = team(&shards, setup);
    let owner = shards.owner();
    team.exchange(2_000, || shards.servers[owner].kill());
    assert_ne!(shards.owner(), owner);
    are_at_the_owner(&shards, 3);
}

#[test]
fn nothing_is_lost_when_the_owner_stops_answering() {
    let shards = Shards::start();
    let mut team = team(&shards, hasty);
    let owner = shards.owner();
    team.exchange(2_000, || shards.servers[owner].stand_still());
    // It answers again, as the owner at first, and no node returns to it.
    team.exchange(500, || shards.servers[owner].go_on());
    until("the old owner is a replica", || {
        shards.servers[owner].has_info("replication", "role:slave")
    });
    are_at_the_owner(&shards, 3);
}

#[test]
fn nodes_with_and_without_sharded_messages_work_together() {
    let shards = Shards::start();
    let plain =
        |seed| by_shard(&shards, setup(), seed).env("REVERB_SCALING_CLUSTER", "false").start();
    let sharded = |seed| by_shard(&shards, setup(), seed).start();
    let (owner, stranger) = (shards.owner(), shards.stranger());
    let mut team = Team::of(vec![plain(owner), sharded(stranger), plain(stranger), sharded(owner)]);
    team.exchange(1_000, || {});
    are_at_the_owner(&shards, 2);
    // The slot moves while both kinds are in use.
    team.exchange(1_000, || shards.move_slot(stranger));
    are_at_the_owner(&shards, 2);
    for node in &team.nodes {
        assert!(!node.stderr().contains("[WARN]"), "{}", node.stderr());
    }
}

#[test]
fn servers_without_sharded_channels_relay_plain_messages() {
    // As before Redis 7.
    let renamed = ["SSUBSCRIBE", "SPUBLISH", "SUNSUBSCRIBE"];
    let arguments = renamed.map(|name| ["--rename-command", name, ""]).concat();
    let shards = Shards::with(&arguments);
    let mut team = team(&shards, setup);
    team.exchange(500, || {});
    for node in &team.nodes {
        assert!(!node.stderr().contains("[WARN]"), "{}", node.stderr());
    }
}

#[test]
fn the_rights_in_the_manual_are_enough() {
    let manual = include_str!("../../man/reverb-cluster.7");
    let (_, rule) = manual.split_once("ACL SETUSER reverb on >password ").unwrap();
    let (_, rule) = rule.split_once("ACL SETUSER reverb on >password ").unwrap();
    let (rule, _) = rule.split_once(".Ed").unwrap();
    let rule = rule.replace("\\e", " ").replace("reverb", CHANNEL);
    let shards = Shards::start();
    for server in &shards.servers {
        let user = ["ACL", "SETUSER", "app", "on", ">hush"];
        server.call(&[&user[..], &rule.split_whitespace().collect::<Vec<_>>()].concat());
    }
    let node = |seed: usize| {
        let setup = by_shard(&shards, setup(), seed);
        setup.env("REDIS_USERNAME", "app").env("REDIS_PASSWORD", "hush").start()
    };
    let replica = shards.replica_of(shards.owner());
    let mut team = Team::of(vec![node(shards.stranger()), node(replica)]);
    team.exchange(500, || {});
    are_at_the_owner(&shards, 2);
    for node in &team.nodes {
        logged(node, &["connected to Redis"]);
        assert!(!node.stderr().contains("[WARN]"), "{}", node.stderr());
    }
}
