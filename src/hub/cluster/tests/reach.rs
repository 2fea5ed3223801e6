//! A node whose messages do not reach the other nodes detects it, and only that node reconnects.

use super::cluster::{Cluster, publish};

const LEASE_MS: u64 = 5_000;

fn is_up(cluster: &Cluster, at: usize) -> bool {
    cluster.nodes[at].hub.is_bus_up()
}

#[test]
fn a_redis_that_becomes_a_replica_is_left_and_one_that_is_one_is_refused() {
    let mut cluster = Cluster::new(2);
    assert!(is_up(&cluster, 0) && is_up(&cluster, 1));
    cluster.role = "replica";
    cluster.pass(LEASE_MS / 4);
    assert!(!is_up(&cluster, 0) && !is_up(&cluster, 1));
    let asked = cluster.asked;
    cluster.pass(20_000);
    assert!(cluster.asked > asked + 4, "it goes on trying");
    assert!(!is_up(&cluster, 0), "it is refused at the login");
    cluster.role = "master";
    cluster.pass(6_000);
    assert!(is_up(&cluster, 0) && is_up(&cluster, 1));
}

#[test]
fn a_replica_that_is_one_of_a_cluster_delivers() {
    let mut cluster = Cluster::new(0);
    (cluster.role, cluster.mode) = ("replica", "cluster");
    (0..2).for_each(|_| cluster.add(|_| {}));
    cluster.pass(1_000);
    assert!(is_up(&cluster, 0) && is_up(&cluster, 1));
    let asked = cluster.asked;
    cluster.pass(60_000);
    assert_eq!(cluster.asked, asked, "a number of receivers says nothing there");
}

#[test]
fn too_few_receivers_are_a_reason_to_ask_at_once_and_not_all_the_time() {
    let mut cluster = Cluster::with(2, |limits| limits.node_lease_ms = 60_000);
    cluster.pass(2_000);
    let asked = cluster.asked;
    cluster.nodes[0].is_one_way = true;
    for _ in 0..20 {
        publish(&mut cluster, 0, "a", "1");
        cluster.settle();
    }
    assert_eq!(cluster.asked, asked + 1);
    cluster.now.ms += 1_000;
    cluster.role = "replica";
    publish(&mut cluster, 0, "a", "2");
    cluster.settle();
    assert!(!is_up(&cluster, 0) && is_up(&cluster, 1));
}

#[test]
fn a_node_that_others_do_not_receive_is_cut_off_until_they_do() {
    let mut cluster = Cluster::new(2);
    let a = cluster.member(1, "a", "");
    cluster.settle();
    cluster.said(1, a);
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
    assert_eq!(cluster.said(1, a), "");
    cluster.nodes[0].is_one_way = false;
    cluster.pass(LEASE_MS);
    assert!(is_up(&cluster, 0));
    assert!(cluster.said(1, a).contains(r#""data":"1""#));
}

#[test]
fn a_node_that_does_not_receive_itself_is_not_connected() {
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
fn nodes_that_die_or_stand_still_are_no_reason_to_reconnect() {
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
fn no_deadline_is_in_the_past_when_the_login_took_long() {
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
