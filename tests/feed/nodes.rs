//! The feed of a node among others.

use super::is;
use crate::redis::cluster::Cluster;
use crate::support::{Client, Feed};
use serde_json::json;

#[test]
fn a_feed_covers_its_node_and_the_channels_of_all() {
    let cluster = Cluster::of(2);
    let mut feed = Feed::of(cluster.node(0), &crate::support::APP, "");
    let hello = feed.next();
    let (node, nodes) = (&hello["node"], &hello["nodes"]);
    assert_eq!(node.as_str().unwrap().len(), 16);
    assert_eq!(nodes.as_array().unwrap().len(), 1);
    assert_ne!(&nodes[0], node);
    let mut client = Client::connect(cluster.node(1));
    client.join("presence-a", "7");
    is(&feed.next(), "occupied", json!({"channel": "presence-a"}));
    is(&feed.next(), "member_added", json!({"channel": "presence-a", "user_id": "7"}));
    let mut other = Feed::open(cluster.node(1), "");
    cluster.node(0).publish("presence-a", "e", "d");
    assert_eq!(feed.next()["recipients"], 0);
    assert_eq!(client.event()["event"], "e");
    // A connection of another node is closed by its socket id as well.
    let path = format!("/apps/app-id/connections/{}/terminate", client.socket_id);
    cluster.node(0).post(&path, json!({})).is(200, json!({}));
    client.error(4009, "Connection terminated by the application");
    client.closed(4009);
    let kinds = ["unsubscribed", "member_removed", "vacated", "disconnected"];
    assert_eq!(other.kinds(4), kinds);
    assert_eq!(feed.kinds(2), ["member_removed", "vacated"]);
}

#[test]
fn nodes_that_leave_and_join_are_reported() {
    let mut cluster = Cluster::of(2);
    let mut feed = Feed::of(cluster.node(0), &crate::support::APP, "kinds=node");
    let other = feed.next()["nodes"][0].clone();
    let mut stopped = cluster.take(1);
    stopped.signal("TERM");
    assert!(stopped.wait().success());
    is(&feed.next(), "node_left", json!({"node": other}));
    cluster.join();
    let line = feed.next();
    assert_eq!(line["kind"], "node_joined");
    assert_ne!(line["node"], other);
}
