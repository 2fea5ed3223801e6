//! A node that goes on with another configuration: what it knew as one of several, and what of it
//! still holds.

use super::cluster::{Cluster, publish};

#[test]
fn what_a_cache_channel_keeps_is_replaced_once_the_node_is_alone_or_among_others() {
    for is_alone in [true, false] {
        let mut cluster = Cluster::new(2);
        let elsewhere = cluster.member(1, "presence-a", "1");
        let here = cluster.member(0, "presence-a", "2");
        publish(&mut cluster, 0, "cache-a", "1");
        cluster.settle();
        cluster.said(0, here);
        cluster.said(1, elsewhere);
        cluster.reload(0, |config| match is_alone {
            true => config.server.scaling.enabled = false,
            false => config.server.scaling.channel = "another".into(),
        });
        let reader = cluster.member(0, "cache-a", "");
        assert!(cluster.said(0, reader).contains(r#""data":"1""#));
        let hub = &mut cluster.nodes[0].hub;
        assert!(hub.apps[0].cache.after(0).all(|(_, _, kept)| kept.version == (0, 0)));
        assert_eq!(cluster.view(0)[1].2, ["2"], "nothing is left of the other node");
        publish(&mut cluster, 0, "cache-a", "2");
        let reader = cluster.member(0, "cache-a", "");
        assert!(cluster.said(0, reader).contains(r#""data":"2""#), "alone: {is_alone}");
    }
}

#[test]
fn what_a_cache_channel_keeps_stays_the_newest_when_the_node_is_among_the_same_others() {
    let mut cluster = Cluster::new(2);
    publish(&mut cluster, 1, "cache-a", "1");
    cluster.settle();
    let version = |cluster: &Cluster| {
        let cache = &cluster.nodes[0].hub.apps[0].cache;
        cache.after(0).map(|(_, _, kept)| kept.version).next().unwrap()
    };
    let before = version(&cluster);
    cluster.reload(0, |_| {});
    assert_eq!(version(&cluster), before);
    publish(&mut cluster, 0, "cache-a", "2");
    assert!(version(&cluster) > before);
    cluster.settle();
    let reader = cluster.member(1, "cache-a", "");
    assert!(cluster.said(1, reader).contains(r#""data":"2""#));
}
