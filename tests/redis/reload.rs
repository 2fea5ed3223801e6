//! A node keeps its identity over a reload.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::cluster::Cluster;
use super::presence::{ROOM, added, ids, member, quiet, removed};
use crate::reload::reload;
use crate::support::Client;

#[test]
fn a_reload_sends_no_member_events_and_later_changes_arrive() {
    let cluster = Cluster::of(3);
    let mut ann = member(&cluster, 0, "ann");
    let mut bob = member(&cluster, 1, "bob");
    added(&mut ann, "bob");
    reload(cluster.node(0));
    let mut early = Client::connect(cluster.node(0));
    assert_eq!(
        ids(&early.join(ROOM, "early")),
        ["ann", "bob", "early"],
        "the member list is complete at once"
    );
    for client in [&mut ann, &mut bob] {
        added(client, "early");
    }
    quiet(&cluster, &mut [&mut ann, &mut bob, &mut early]);
    reload(cluster.node(1));
    quiet(&cluster, &mut [&mut ann, &mut bob, &mut early]);
    drop(early);
    removed(&mut ann, "early");
    removed(&mut bob, "early");
    cluster.users(ROOM, &["ann", "bob"]);
    let text = cluster.node(2).stderr();
    assert!(!text.contains("has left") && !text.contains("timed out after"), "{text}");
}

#[test]
fn events_of_all_nodes_arrive_once_and_in_order_across_reloads() {
    let cluster = Cluster::of(2);
    let mut clients: Vec<Client> = cluster.nodes().map(Client::connect).collect();
    clients.iter_mut().for_each(|client| client.subscribe("news"));
    cluster.agree(
        "/apps/app-id/channels/news",
        "info=subscription_count",
        &serde_json::json!({
            "occupied": true, "subscription_count": 2
        }),
    );
    let is_over = AtomicBool::new(false);
    let published: Vec<u64> = thread::scope(|scope| {
        let publishers: Vec<_> = cluster
            .nodes()
            .enumerate()
            .map(|(n, node)| {
                let is_over = &is_over;
                scope.spawn(move || {
                    let mut count = 0;
                    while !is_over.load(Ordering::Relaxed) {
                        node.publish("news", &format!("of-{n}"), &count.to_string());
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        for _ in 0..3 {
            cluster.nodes().for_each(reload);
        }
        is_over.store(true, Ordering::Relaxed);
        publishers.into_iter().map(|publisher| publisher.join().unwrap()).collect()
    });
    for client in &mut clients {
        let mut next = [0, 0];
        while next.iter().zip(&published).any(|(next, published)| next < published) {
            let event = client.event();
            let of = usize::from(event["event"] == "of-1");
            let number: u64 = event["data"].as_str().unwrap().parse().unwrap();
            assert_eq!(number, next[of], "{event}");
            next[of] += 1;
        }
        client.nothing();
    }
}
