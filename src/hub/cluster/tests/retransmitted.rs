//! Envelopes that one node missed are retransmitted, and do not delay the other nodes.

use super::cluster::{Cluster, publish};
use crate::hub::ConnId;

/// So many events that they do not fit into the window to Redis together.
const EVENTS: usize = 400;

/// Three nodes, the last of which was cut off while the first published [`EVENTS`] events. It has
/// requested all of them, and the first node has begun to retransmit.
fn lagging(permits_inboxes: bool) -> (Cluster, [ConnId; 3]) {
    let mut cluster = Cluster::new(0);
    cluster.permits_inboxes = permits_inboxes;
    (0..3).for_each(|_| cluster.add(|limits| limits.node_lease_ms = 5_000));
    cluster.settle();
    let ids = [0, 1, 2].map(|at| cluster.member(at, "a", ""));
    cluster.settle();
    // The last node misses all that the others receive.
    cluster.is_cut_off(2, true);
    for n in 0..EVENTS {
        publish(&mut cluster, 0, "a", &format!("{n} {}", "x".repeat(9_000)));
        cluster.turn(0);
        cluster.turn(1);
    }
    cluster.settle();
    (0..3).for_each(|at| _ = cluster.output(at, ids[at]));
    cluster.is_cut_off(2, false);
    cluster.cut(2);
    while !cluster.nodes[0].hub.pubsub.bus.as_ref().unwrap().session.is_resending() {
        assert!(cluster.now.ms < 60_000, "no retransmission begins");
        cluster.now.ms += 10;
        (0..3).for_each(|at| _ = cluster.turn(at));
    }
    (cluster, ids)
}

fn numbers(output: &str) -> Vec<usize> {
    let events = output.split(r#""data":""#).skip(1);
    events.filter_map(|event| event.split(' ').next()?.parse().ok()).collect()
}

#[test]
fn a_new_event_does_not_wait_for_a_retransmission() {
    [true, false].into_iter().for_each(a_new_event_does_not_wait);
}

fn a_new_event_does_not_wait(permits_inboxes: bool) {
    let (mut cluster, ids) = lagging(permits_inboxes);
    publish(&mut cluster, 0, "a", "400 ");
    (0..2).for_each(|at| _ = cluster.turn(at));
    assert_eq!(numbers(&cluster.output(1, ids[1])), [EVENTS]);
    let got = numbers(&cluster.output(2, ids[2])).len();
    assert!(got < EVENTS / 2, "{got} were retransmitted before it");
    let mut all: Vec<usize> = (0..got).collect();
    cluster.pass(1_000);
    all.extend(numbers(&cluster.output(2, ids[2])));
    assert_eq!(all, (0..=EVENTS).collect::<Vec<_>>());
    assert_eq!(cluster.output(1, ids[1]), "");
}

#[test]
fn events_published_during_a_retransmission_are_sent_once() {
    [true, false].into_iter().for_each(events_are_sent_once);
}

fn events_are_sent_once(permits_inboxes: bool) {
    let (mut cluster, ids) = lagging(permits_inboxes);
    let mut all = numbers(&cluster.output(2, ids[2]));
    for n in 0..200 {
        publish(&mut cluster, 0, "a", &format!("{} ", EVENTS + n));
        (0..3).for_each(|at| _ = cluster.turn(at));
        cluster.now.ms += 10;
    }
    cluster.pass(1_000);
    all.extend(numbers(&cluster.output(2, ids[2])));
    assert_eq!(all, (0..EVENTS + 200).collect::<Vec<_>>());
    // Without inboxes, the other node received each missed envelope twice, and no other one.
    let most = if permits_inboxes { 0 } else { EVENTS };
    assert!(cluster.counters(1).duplicates as usize <= most, "{:?}", cluster.counters(1));
}

#[test]
fn early_envelopes_are_handled_within_the_budget_of_a_turn() {
    let mut cluster = Cluster::new(2);
    let ids = [0, 1].map(|at| cluster.member(at, "a", ""));
    cluster.settle();
    cluster.output(1, ids[1]);
    // The second node misses the first of many events.
    cluster.is_cut_off(1, true);
    publish(&mut cluster, 0, "a", "0 ");
    cluster.turn(0);
    cluster.is_cut_off(1, false);
    for n in 1..200 {
        publish(&mut cluster, 0, "a", &format!("{n} {}", "x".repeat(500)));
        cluster.turn(0);
    }
    (0..2).rev().for_each(|at| _ = cluster.turn(at));
    assert_eq!(cluster.output(1, ids[1]), "");
    cluster.nodes[1].hub.connections.limits.work_per_turn = 1_024;
    cluster.nodes[1].hub.begin_turn();
    cluster.turn(1);
    let mut received = numbers(&cluster.output(1, ids[1]));
    assert!(received.len() < 50, "{} in one turn", received.len());
    while cluster.nodes[1].hub.bus_has_input() {
        let now = cluster.now;
        cluster.nodes[1].hub.begin_turn();
        cluster.nodes[1].hub.bus_resume(now);
        let of_turn = numbers(&cluster.output(1, ids[1]));
        assert!(of_turn.len() < 50, "{} in one turn", of_turn.len());
        received.extend(of_turn);
    }
    assert_eq!(received, (0..200).collect::<Vec<_>>());
}
