//! Members of a dead node leave; members of a node that is unreachable for less than the lease
//! stay.

use serde_json::Value;

use super::cluster::{Cluster, connections};
use super::presence::{ROOM, added, ids, member, quiet, removed};
use crate::support::{Client, Setup, logged, until};

/// Short enough to wait for, and longer than the pauses of a busy machine.
const LEASE_MS: u32 = 3_000;

/// Two nodes, with a member and a witness on the first and a member on the second.
#[track_caller]
fn three_members(cluster: &Cluster) -> [Client; 3] {
    let mut ann = member(cluster, 0, "ann");
    let mut bob = member(cluster, 1, "bob");
    added(&mut ann, "bob");
    let cid = member(cluster, 1, "cid");
    added(&mut ann, "cid");
    added(&mut bob, "cid");
    [ann, bob, cid]
}

/// Fails unless the next messages are these member events, in any order.
#[track_caller]
fn expect_member_events(client: &mut Client, expected: &[&str]) {
    let mut got: Vec<String> = Vec::new();
    for _ in expected {
        let event = client.event();
        let data: Value = serde_json::from_str(event["data"].as_str().unwrap()).unwrap();
        let name = event["event"].as_str().unwrap().trim_start_matches("pusher_internal:");
        got.push(format!("{name} {}", data["user_id"].as_str().unwrap_or("?")));
    }
    got.sort();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(got, expected);
}

#[test]
fn the_members_of_a_killed_node_leave_once_on_every_node() {
    let mut cluster = Cluster::with_lease(3, LEASE_MS);
    let mut ann = member(&cluster, 0, "ann");
    let bob = member(&cluster, 1, "bob");
    added(&mut ann, "bob");
    let mut cid = member(&cluster, 2, "cid");
    added(&mut ann, "cid");
    // Ann also has a connection to the killed node, and stays.
    let tab = member(&cluster, 1, "ann");
    cluster.count(4);
    cluster.kill(1);
    removed(&mut ann, "bob");
    removed(&mut cid, "bob");
    cluster.users(ROOM, &["ann", "cid"]);
    cluster.count(2);
    quiet(&cluster, &mut [&mut ann, &mut cid]);
    drop((bob, tab));
}

#[test]
fn the_members_of_a_stopping_node_leave_immediately() {
    // Longer than this test may take: the lease does not end within it.
    let setup = || {
        let setup = Setup::new().env("REVERB_LIMIT_NODE_LEASE_MS", 600_000);
        setup.env("REVERB_LIMIT_DRAIN_LINGER_MS", 0)
    };
    let mut cluster = Cluster::with(2, setup);
    let [mut ann, bob, cid] = three_members(&cluster);
    let mut stopping = cluster.take(1);
    stopping.signal("TERM");
    expect_member_events(&mut ann, &["member_removed bob", "member_removed cid"]);
    drop((bob, cid));
    assert_eq!(stopping.wait().code(), Some(0));
    cluster.users(ROOM, &["ann"]);
    cluster.count(1);
    quiet(&cluster, &mut [&mut ann]);
}

#[test]
fn a_node_that_stopped_cleanly_is_not_reported_as_timed_out() {
    let setup = || {
        let setup = Setup::new().env("REVERB_LIMIT_NODE_LEASE_MS", LEASE_MS);
        setup.env("REVERB_LIMIT_DRAIN_LINGER_MS", 0).env("REVERB_LIMIT_DRAIN_WINDOW_MS", 0)
    };
    let mut cluster = Cluster::with(3, setup);
    let mut stopping = cluster.take(1);
    stopping.signal("TERM");
    stopping.wait();
    // The other node's lease starts later, so it ends later.
    let mut client = Client::connect(cluster.node(0));
    client.subscribe("a");
    cluster.node(2).publish("a", "e", "{}");
    assert_eq!(client.event()["event"], "e");
    cluster.kill(2);
    logged(cluster.node(0), &["[WARN]", "timed out after", "other nodes: 0"]);
    let log = cluster.node(0).stderr();
    assert_eq!(log.matches("timed out after").count(), 1, "{log}");
}

#[test]
fn a_restarted_node_replaces_the_killed_one() {
    let mut cluster = Cluster::with_lease(2, LEASE_MS);
    let [mut ann, bob, cid] = three_members(&cluster);
    cluster.kill(1);
    drop((bob, cid));
    let next = cluster.join();
    until("the new node has connected to the first", || connections(cluster.node(next)) > 0);
    // Bob reconnects before the lease of the killed node ends.
    let bob = member(&cluster, next, "bob");
    removed(&mut ann, "cid");
    cluster.users(ROOM, &["ann", "bob"]);
    cluster.count(2);
    quiet(&cluster, &mut [&mut ann]);
    drop(bob);
    removed(&mut ann, "bob");
}

#[test]
fn a_broken_redis_connection_removes_no_member() {
    let cluster = Cluster::of(2);
    let [mut ann, mut bob, mut cid] = three_members(&cluster);
    for round in 0..5 {
        cluster.proxy(round % 2).cut();
        quiet(&cluster, &mut [&mut ann, &mut bob, &mut cid]);
    }
    cluster.users(ROOM, &["ann", "bob", "cid"]);
}

#[test]
fn a_restart_of_redis_removes_no_member() {
    let cluster = Cluster::of(2);
    let [mut ann, mut bob, mut cid] = three_members(&cluster);
    cluster.redis.kill();
    // Changes during the outage are sent after it.
    let mut dot = Client::connect(cluster.node(1));
    dot.join(ROOM, "dot");
    added(&mut bob, "dot");
    added(&mut cid, "dot");
    cid.unsubscribe(ROOM);
    removed(&mut bob, "cid");
    removed(&mut dot, "cid");
    cluster.redis.restart();
    expect_member_events(&mut ann, &["member_added dot", "member_removed cid"]);
    quiet(&cluster, &mut [&mut ann, &mut bob, &mut dot]);
    cluster.users(ROOM, &["ann", "bob", "dot"]);
}

#[test]
fn both_sides_of_a_network_partition_agree_afterwards() {
    let cluster = Cluster::with_lease(2, LEASE_MS);
    split(&cluster, || cluster.proxy(1).refuse());
}

#[test]
fn both_sides_of_a_stalled_connection_agree_afterwards() {
    let cluster = Cluster::with_lease(2, LEASE_MS);
    split(&cluster, || cluster.proxy(1).hold());
}

/// Separates the second node from the first for longer than the lease.
#[track_caller]
fn split(cluster: &Cluster, part: impl Fn()) {
    let [mut ann, mut bob, mut cid] = three_members(cluster);
    // Ann also has a connection to the other node, and stays on both.
    let mut tab = member(cluster, 1, "ann");
    part();
    expect_member_events(&mut ann, &["member_removed bob", "member_removed cid"]);
    until("the separated node counts only its own", || connections(cluster.node(1)) == 3);
    // One member joins and one leaves on the second node, one joins on the first.
    let mut dot = Client::connect(cluster.node(1));
    assert_eq!(ids(&dot.join(ROOM, "dot")), ["ann", "bob", "cid", "dot"]);
    added(&mut cid, "dot");
    cid.unsubscribe(ROOM);
    for client in [&mut bob, &mut tab] {
        added(client, "dot");
        removed(client, "cid");
    }
    cid.nothing();
    let mut eve = Client::connect(cluster.node(0));
    assert_eq!(ids(&eve.join(ROOM, "eve")), ["ann", "eve"]);
    added(&mut ann, "eve");

    cluster.proxy(1).mend();
    for client in [&mut ann, &mut eve] {
        expect_member_events(client, &["member_added bob", "member_added dot"]);
    }
    added(&mut bob, "eve");
    added(&mut tab, "eve");
    expect_member_events(&mut dot, &["member_added eve", "member_removed cid"]);
    cluster.users(ROOM, &["ann", "bob", "dot", "eve"]);
    cluster.count(6);
    quiet(cluster, &mut [&mut ann, &mut bob, &mut dot, &mut eve, &mut tab]);
}
