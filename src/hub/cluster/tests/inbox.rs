//! What only one node needs goes to its inbox, and costs the other nodes nothing.

use super::cluster::Cluster;
use crate::proto::envelope::Item;

/// So many channels and users that a full sync takes several chunks.
const CHANNELS: usize = 8_000;

/// Three nodes; the first has many channels, which the second knows.
fn two_of_three() -> Cluster {
    let mut cluster = Cluster::new(2);
    add_channels(&mut cluster);
    cluster
}

fn add_channels(cluster: &mut Cluster) {
    for n in 0..CHANNELS {
        let name = format!("{}-{n}", "x".repeat(150));
        cluster.member(0, if n % 100 == 0 { "presence-a" } else { &name }, &n.to_string());
    }
    cluster.settle();
}

fn join(cluster: &mut Cluster) {
    cluster.add(|limits| limits.node_lease_ms = 5_000);
    cluster.settle();
}

#[test]
fn a_bystander_receives_nothing_of_a_full_sync() {
    let mut cluster = two_of_three();
    let before = cluster.nodes[1].delivered;
    join(&mut cluster);
    assert_eq!(cluster.view(2), cluster.view(0));
    let delivered = cluster.nodes[1].delivered - before;
    assert!(delivered < 20, "{delivered} messages");
    assert!(cluster.nodes[2].delivered > 20, "the joining node received the parts");
}

#[test]
fn without_the_permission_for_inboxes_a_full_sync_goes_to_all() {
    let mut cluster = Cluster::new(0);
    cluster.permits_inboxes = false;
    (0..2).for_each(|_| join(&mut cluster));
    add_channels(&mut cluster);
    let before = cluster.nodes[1].delivered;
    join(&mut cluster);
    assert_eq!(cluster.view(2), cluster.view(0));
    assert!(cluster.nodes[1].delivered > before + 20, "it received the full sync as well");
    // The state of this node is complete, too.
    assert_eq!(cluster.view(1), cluster.view(0));
}

/// Three nodes, the last of which has received some parts of the state of the first, and not all.
fn amid_a_full_sync() -> Cluster {
    let mut cluster = two_of_three();
    cluster.add(|limits| limits.node_lease_ms = 5_000);
    let is_syncing = |cluster: &Cluster| {
        let bus = cluster.nodes[2].hub.pubsub.bus.as_ref().unwrap();
        bus.nodes.iter().any(|(_, node)| node.incoming.is_some_and(|next| next.part > 2))
    };
    while !is_syncing(&cluster) {
        cluster.now.ms += 1;
        assert!(cluster.now.ms < 60_000, "no full sync begins");
        (0..3).for_each(|at| _ = cluster.turn(at));
    }
    cluster
}

#[test]
fn a_full_sync_to_all_nodes_does_not_end_one_to_an_inbox() {
    let mut cluster = amid_a_full_sync();
    // A node without an inbox has requested it; its end arrives before the other parts.
    let bus = cluster.nodes[0].hub.pubsub.bus.as_mut().unwrap();
    bus.publish(&Item::SyncBegin { with_cache: false });
    bus.publish(&Item::SyncEnd);
    cluster.pass(15_000);
    assert!(cluster.view(2) == cluster.view(0), "the state is incomplete");
}

#[test]
fn the_rest_of_a_full_sync_does_not_complete_one_whose_beginning_is_forgotten() {
    let mut cluster = amid_a_full_sync();
    // The first node stands still for longer than the lease, and then continues.
    for _ in 0..7 {
        cluster.now.ms += 1_000;
        (1..3).for_each(|at| _ = cluster.turn(at));
    }
    cluster.pass(15_000);
    assert!(cluster.view(2) == cluster.view(0), "the state is incomplete");
}

#[test]
fn a_full_sync_begins_again_when_a_connection_is_lost_in_between() {
    for lost in 0..3 {
        let mut cluster = amid_a_full_sync();
        cluster.cut(lost);
        // A channel that is removed while its node sends the state stays removed.
        let member = cluster.member(0, "short", "");
        (0..3).for_each(|at| _ = cluster.turn(at));
        cluster.close(0, member);
        cluster.pass(15_000);
        assert!(cluster.view(2) == cluster.view(0), "the connection of node {lost} was lost");
        assert!(!cluster.view(2).iter().any(|(name, ..)| name == "short"));
    }
}
