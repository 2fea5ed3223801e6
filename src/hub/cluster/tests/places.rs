//! More nodes than there are places, live and silent.

use super::cluster::{Cluster, publish};
use super::numbers;
use crate::hub::node_set::PLACES;

/// Makes this many other nodes send one heartbeat each.
fn show_life(cluster: &mut Cluster, count: usize) {
    for id in 1..=count {
        let text = format!(
            r#"{{"type":"reverb.1","payload":{{"node":"{id:016x}","say":[["alive",0,0,1,0]]}}}}"#
        );
        cluster.publish(text.as_bytes());
        cluster.settle();
    }
}

/// Adds a node with a member of a presence channel, and returns its index.
fn newcomer(cluster: &mut Cluster) -> usize {
    cluster.add(|limits| limits.node_lease_ms = 5_000);
    cluster.member(1, "presence-a", "new");
    cluster.settle();
    1
}

#[test]
fn a_new_node_gets_the_place_of_a_silent_one_at_once() {
    let mut cluster = Cluster::new(1);
    let id = cluster.member(0, "a", "");
    show_life(&mut cluster, PLACES + 50);
    cluster.pass(5_100);
    assert_eq!(cluster.nodes[0].hub.bus_counters().unwrap().0, 0, "all are silent");
    let new = newcomer(&mut cluster);
    cluster.output(0, id);
    publish(&mut cluster, new, "a", "7 ");
    cluster.settle();
    assert!(cluster.output(0, id).contains("7 "));
    assert_eq!(cluster.view(0)[1].2, ["new"]);
    // The silent nodes stay known, but a heartbeat does not list all of them.
    let bus = cluster.nodes[0].hub.pubsub.bus.as_mut().unwrap();
    assert_eq!(bus.nodes.iter().count(), PLACES + 51);
    bus.alive_pending = true;
    assert_eq!(bus.take_unsequenced(cluster.now.ms).unwrap().matches("silent").count(), 64);
}

#[test]
fn a_node_without_a_place_has_its_events_delivered_and_gets_a_place_later() {
    let mut cluster = Cluster::new(1);
    let id = cluster.member(0, "a", "");
    show_life(&mut cluster, PLACES);
    let new = newcomer(&mut cluster);
    let whisperer = cluster.member(new, "a", "");
    cluster.output(0, id);
    for n in 0..10 {
        cluster.whisper(new, whisperer, "a", n);
        if n == 5 {
            cluster.cut(0);
        }
        cluster.pass(50);
    }
    cluster.pass(1_000);
    assert_eq!(numbers(&cluster.output(0, id)), (0..10).collect::<Vec<_>>());
    assert_eq!(cluster.view(0).len(), 1, "the members of it are not known");
    cluster.nodes[0].hub.audit().unwrap();
    cluster.pass(5_000);
    assert_eq!(cluster.view(0)[1].2, ["new"]);
    cluster.nodes[0].hub.audit().unwrap();
}

#[test]
fn nodes_above_place_64_work_like_all_others() {
    let mut cluster = Cluster::new(1);
    show_life(&mut cluster, 70);
    cluster.add(|limits| limits.node_lease_ms = 5_000);
    cluster.add(|limits| limits.node_lease_ms = 5_000);
    let ids: Vec<_> = (0..3).map(|at| cluster.member(at, "presence-a", &at.to_string())).collect();
    cluster.settle();
    assert_eq!(cluster.view(0)[0].2, ["0", "1", "2"]);
    cluster.nodes[0].hub.audit().unwrap();
    cluster.output(0, ids[0]);
    cluster.whisper(2, ids[2], "presence-a", 7);
    cluster.close(1, ids[1]);
    cluster.settle();
    let output = cluster.output(0, ids[0]);
    assert_eq!((numbers(&output), output.matches("member_removed").count()), (vec![7], 1));
    cluster.reload(0, |_| {});
    assert_eq!(cluster.view(0)[0].2, ["0", "2"]);
}
