//! What no node may do, and no client through a node: the receiving node checks it as well.

use super::super::super::ConnId;
use super::cluster::{Cluster, publish};
use crate::config::ClientEvents;

/// What a node that is none says, as the first of its envelopes with this number.
fn forge(cluster: &mut Cluster, seq: u64, items: &str) {
    let node = "00000000000000ff";
    let text = format!(
        r#"{{"type":"reverb.1","payload":{{"node":"{node}","seq":{seq},"say":[{items}]}}}}"#
    );
    cluster.publish(text.as_bytes());
    cluster.settle();
}

/// Two nodes that pass on the events of all clients, and a user at the second.
fn with_a_user() -> (Cluster, ConnId) {
    let mut cluster = Cluster::new(2);
    for node in &mut cluster.nodes {
        node.hub.apps[0].settings.accept_client_events_from = ClientEvents::All;
    }
    let user = cluster.user(1, "7");
    cluster.settle();
    assert!(cluster.said(1, user).contains("subscription_succeeded"));
    (cluster, user)
}

#[test]
fn a_client_event_to_a_user_is_refused_where_the_user_is_not() {
    let (mut cluster, user) = with_a_user();
    let outside = cluster.member(0, "a", "");
    cluster.said(0, outside);
    for channel in ["#server-to-user-7", "#server-to-user-8", "#signed-in-7", "#other"] {
        cluster.whisper(0, outside, channel, 1);
        assert!(cluster.said(0, outside).contains("4009"), "{channel}");
    }
    cluster.settle();
    assert_eq!(cluster.said(1, user), "");
    publish(&mut cluster, 0, "#server-to-user-7", "2");
    publish(&mut cluster, 0, "#signed-in-7", "3");
    cluster.settle();
    let said = cluster.said(1, user);
    assert_eq!((said.matches(r#""data":"2""#).count(), said.matches("data").count()), (1, 1));
    assert_eq!(cluster.counters(1).foreign, 0);
}

#[test]
fn a_client_event_to_a_user_is_dropped_by_the_node_that_receives_it() {
    let (mut cluster, user) = with_a_user();
    let event = |channel: &str, user: &str, clock: u64| {
        format!(r#"["event","1","\"client-e\"","1",["{channel}"],1,null,{user},{clock}]"#)
    };
    forge(&mut cluster, 0, &event("#server-to-user-7", "null", 0));
    forge(&mut cluster, 1, &event("#server-to-user-7", "\"x\"", 5));
    forge(&mut cluster, 2, &event("#signed-in-7", "null", 5));
    assert_eq!(cluster.said(1, user), "");
    assert_eq!(cluster.counters(1).foreign, 3);
    forge(&mut cluster, 3, &event("#server-to-user-7", "null", 5));
    assert!(cluster.said(1, user).contains("client-e"));
    assert_eq!(cluster.counters(1).foreign, 3);
}
