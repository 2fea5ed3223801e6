//! A node whose messages do not reach the other nodes detects it, and only that node reconnects.

use super::cluster::{Cluster, publish};

const LEASE_MS: u64 = 5_000;

fn is_up(cluster: &Cluster, at: usize) -> bool {
    cluster.nodes[at].hub.is_bus_up()
}

#[test]
fn a_node_disconnects_from_a_redis_that_is_or_becomes_a_replica() {
    let mut cluster = Cluster::new(2);
    assert!(is_up(&cluster, 0) && is_up(&cluster, 1));
    cluster.role = "replica";
    cluster.pass(LEASE_MS / 4);
    assert!(!is_up(&cluster, 0) && !is_up(&cluster, 1));
    let hellos = cluster.hellos;
    cluster.pass(20_000);
    assert!(cluster.hellos > hellos + 4, "it keeps trying");
    assert!(!is_up(&cluster, 0), "the login is rejected");
    cluster.role = "master";
    cluster.pass(6_000);
    assert!(is_up(&cluster, 0) && is_up(&cluster, 1));
}

#[test]
fn a_replica_in_a_redis_cluster_is_accepted() {
    let mut cluster = Cluster::new(0);
    (cluster.role, cluster.mode) = ("replica", "cluster");
    (0..2).for_each(|_| cluster.add(|_| {}));
    cluster.pass(1_000);
    assert!(is_up(&cluster, 0) && is_up(&cluster, 1));
    let hellos = cluster.hellos;
    cluster.pass(60_000);
    assert_eq!(cluster.hellos, hellos, "the number of receivers means nothing there");
}

#[test]
fn too_few_receivers_cause_one_role_query_per_second() {
    let mut cluster = Cluster::with(2, |limits| limits.node_lease_ms = 60_000);
    cluster.pass(2_000);
    let hellos = cluster.hellos;
    cluster.nodes[0].is_one_way = true;
    for _ in 0..20 {
        publish(&mut cluster, 0, "a", "1");
        cluster.settle();
    }
    assert_eq!(cluster.hellos, hellos + 1);
    cluster.now.ms += 1_000;
    cluster.role = "replica";
    publish(&mut cluster, 0, "a", "2");
    cluster.settle();
    assert!(!is_up(&cluster, 0) && is_up(&cluster, 1));
}

#[test]
fn a_node_whose_messages_do_not_arrive_reconnects_until_they_do() {
    let mut cluster = Cluster::new(2);
    let a = cluster.member(1, "a", "");
    cluster.settle();
    cluster.output(1, a);
    let connects = cluster.connects;
    cluster.nodes[0].is_one_way = true;
    cluster.pass(LEASE_MS);
    assert!(is_up(&cluster, 0), "the other may be slow");
    cluster.pass(2 * LEASE_MS);
    assert!(!is_up(&cluster, 0) && is_up(&cluster, 1));
    publish(&mut cluster, 0, "a", "1");
    cluster.pass(4 * LEASE_MS);
    let reconnects = cluster.connects - connects;
    assert!((2..=6).contains(&reconnects), "{reconnects}: one in a lease");
    assert_eq!(cluster.output(1, a), "");
    cluster.nodes[0].is_one_way = false;
    cluster.pass(LEASE_MS);
    assert!(is_up(&cluster, 0));
    assert!(cluster.output(1, a).contains(r#""data":"1""#));
}

#[test]
fn a_node_that_does_not_receive_its_own_messages_is_not_connected() {
    let mut cluster = Cluster::new(2);
    cluster.is_cut_off(0, true);
    cluster.pass(2 * LEASE_MS);
    assert!(!is_up(&cluster, 0) && is_up(&cluster, 1));
    cluster.is_cut_off(0, false);
    cluster.pass(2 * LEASE_MS);
    assert!(is_up(&cluster, 0));
    let connects = cluster.connects;
    cluster.pass(100_000);
    assert_eq!(cluster.connects, connects);
}

#[test]
fn dead_or_paused_nodes_cause_no_reconnect() {
    let mut cluster = Cluster::new(3);
    let connects = cluster.connects;
    cluster.forget_connection(2);
    cluster.nodes.remove(2);
    cluster.pass(4 * LEASE_MS);
    // The process is paused: the other node reports this one as silent for a long time.
    let stopped = cluster.nodes.pop().unwrap();
    cluster.pass(4 * LEASE_MS);
    cluster.nodes.push(stopped);
    cluster.settle();
    cluster.pass(4 * LEASE_MS);
    assert!(is_up(&cluster, 0) && is_up(&cluster, 1));
    assert_eq!(cluster.connects, connects);
}

#[test]
fn no_deadline_is_in_the_past_after_a_slow_login() {
    let mut cluster = Cluster::new(1);
    let connects = cluster.connects;
    cluster.cut(0);
    while cluster.connects == connects {
        cluster.now.ms += 10;
        cluster.turn(0);
    }
    // Longer than the time between two heartbeats.
    cluster.now.ms += 1_500;
    let now = cluster.now;
    cluster.receive(0);
    assert_eq!(cluster.nodes[0].hub.overdue(now), None);
    cluster.settle();
    assert!(is_up(&cluster, 0));
}
