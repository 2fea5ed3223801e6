//! Reloads of a node with another configuration: which of its knowledge about other nodes stays
//! valid.

use super::cluster::{Cluster, publish, publish_to};
use crate::config::{App, Config};

#[test]
fn cached_events_lose_their_versions_on_another_channel_or_without_a_cluster() {
    for is_alone in [true, false] {
        let mut cluster = Cluster::new(2);
        let remote = cluster.member(1, "presence-a", "1");
        let local = cluster.member(0, "presence-a", "2");
        publish(&mut cluster, 0, "cache-a", "1");
        cluster.settle();
        cluster.output(0, local);
        cluster.output(1, remote);
        cluster.reload(0, |config| match is_alone {
            true => config.server.scaling.enabled = false,
            false => config.server.scaling.channel = "another".into(),
        });
        let reader = cluster.member(0, "cache-a", "");
        assert!(cluster.output(0, reader).contains(r#""data":"1""#));
        let hub = &mut cluster.nodes[0].hub;
        assert!(hub.pubsub.apps[0].cache.after(0).all(|(_, _, event)| event.version == (0, 0)));
        assert_eq!(cluster.view(0)[1].2, ["2"], "nothing is left of the other node");
        publish(&mut cluster, 0, "cache-a", "2");
        let reader = cluster.member(0, "cache-a", "");
        assert!(cluster.output(0, reader).contains(r#""data":"2""#), "alone: {is_alone}");
    }
}

#[test]
fn cached_events_keep_their_versions_in_the_same_cluster() {
    let mut cluster = Cluster::new(2);
    publish(&mut cluster, 1, "cache-a", "1");
    cluster.settle();
    let version = |cluster: &Cluster| {
        let cache = &cluster.nodes[0].hub.pubsub.apps[0].cache;
        cache.after(0).map(|(_, _, event)| event.version).next().unwrap()
    };
    let before = version(&cluster);
    cluster.reload(0, |_| {});
    assert_eq!(version(&cluster), before);
    publish(&mut cluster, 0, "cache-a", "2");
    assert!(version(&cluster) > before);
    cluster.settle();
    let reader = cluster.member(1, "cache-a", "");
    assert!(cluster.output(1, reader).contains(r#""data":"2""#));
}

#[test]
fn facts_of_a_removed_app_are_dropped() {
    let mut cluster = Cluster::new(2);
    for n in 0..50 {
        cluster.member(1, &format!("c{n}"), "");
        cluster.member(1, "presence-a", &n.to_string());
    }
    cluster.settle();
    let facts = |cluster: &mut Cluster| {
        let bus = cluster.nodes[0].hub.pubsub.bus.as_mut().unwrap();
        bus.nodes.get(0).unwrap().facts
    };
    assert_eq!(facts(&mut cluster), 101);
    cluster.reload(0, |_| {});
    assert_eq!(facts(&mut cluster), 101);
    // A client of the removed app is still connected: its channel is the only one left.
    cluster.member(0, "presence-a", "me");
    cluster.settle();
    cluster.reload(0, |config| config.apps = vec![App::new("2", "key", "secret")]);
    let channels = |cluster: &Cluster| {
        cluster.nodes[0].hub.pubsub.apps.iter().map(|app| app.channels.len()).sum::<usize>()
    };
    assert_eq!((facts(&mut cluster), channels(&cluster)), (0, 1));
    cluster.settle();
    assert_eq!((facts(&mut cluster), channels(&cluster)), (0, 0));
    cluster.nodes.iter().for_each(|node| node.hub.audit().unwrap());
}

/// Adds a second app, which the clients of a [`Cluster`] connect to.
fn with_a_second(config: &mut Config) {
    config.apps = vec![App::new("2", "key", "secret"), App::new("1", "key-1", "secret")];
}

#[test]
fn facts_of_an_app_that_is_added_are_synced_again() {
    let mut cluster = Cluster::new(2);
    cluster.reload(0, with_a_second);
    cluster.settle();
    let first = cluster.member(0, "presence-a", "1");
    publish_to(&mut cluster, 0, "2", "cache-a", "kept");
    cluster.pass(2_000);
    cluster.reload(1, with_a_second);
    cluster.pass(5_000);
    assert_eq!(cluster.view(1), cluster.view(0));
    assert_eq!(cluster.view(1), [("presence-a".to_owned(), 1, vec!["1".to_owned()])]);
    let reader = cluster.member(1, "cache-a", "");
    assert!(cluster.output(1, reader).contains(r#""data":"kept""#));
    // The app is removed, and added again before all of its connections have closed.
    (0..50).for_each(|_| _ = cluster.member(1, "news", ""));
    cluster.settle();
    cluster.reload(1, |_| {});
    cluster.close(0, first);
    cluster.member(0, "presence-a", "2");
    cluster.pass(500);
    cluster.reload(1, with_a_second);
    cluster.pass(5_000);
    assert_eq!(cluster.view(1), cluster.view(0));
    assert!(cluster.view(1).contains(&("presence-a".to_owned(), 1, vec!["2".to_owned()])));
}

#[test]
fn rejected_facts_are_synced_again_once_there_is_room() {
    let mut cluster = Cluster::new(2);
    for n in 0..2_000 {
        cluster.member(0, &format!("c{n}"), "");
    }
    cluster.settle();
    assert_eq!(cluster.view(1).len(), 2_000);
    let published = cluster.counters(0).published;
    cluster.reload(1, |config| config.limits.node_facts = 3_000);
    cluster.pass(10_000);
    assert!(
        cluster.counters(0).published - published < 3,
        "no fact was refused, none is sent again"
    );
    cluster.add(|limits| limits.node_facts = 1_500);
    cluster.pass(10_000);
    assert_eq!(cluster.view(2).len(), 1_500);
    cluster.reload(2, |config| config.limits.node_facts = 3_000);
    cluster.pass(10_000);
    assert_eq!(cluster.view(2).len(), 2_000);
}
