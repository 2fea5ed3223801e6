//! Signed-in users on several nodes: events for a user, termination and watchlists.

use serde_json::json;

use super::cluster::Cluster;
use crate::signin::{error_code, sign_in, watched};
use crate::support::Client;

#[test]
fn an_event_for_a_user_reaches_each_connection_on_every_node_once() {
    let cluster = Cluster::of(2);
    let mut tabs: Vec<Client> = cluster.nodes().map(Client::connect).collect();
    for tab in &mut tabs {
        sign_in(tab, r#"{"id":"42"}"#);
        tab.subscribe("#server-to-user-42");
    }
    let mut other = Client::connect(cluster.node(1));
    sign_in(&mut other, r#"{"id":"43"}"#);
    for node in cluster.nodes() {
        node.publish("#server-to-user-42", "news", "{}");
        for tab in &mut tabs {
            tab.expect(json!({"event": "news", "channel": "#server-to-user-42", "data": "{}"}));
        }
    }
    for client in tabs.iter_mut().chain([&mut other]) {
        client.nothing();
    }
}

#[test]
fn terminating_a_user_closes_only_its_connections_on_every_node() {
    let cluster = Cluster::of(2);
    let mut witness = Client::connect(cluster.node(0));
    witness.join("presence-a", "7");
    cluster.users("presence-a", &["7"]);
    let mut signed: Vec<Client> = cluster.nodes().map(Client::connect).collect();
    for client in &mut signed {
        sign_in(client, r#"{"id":"42"}"#);
    }
    let mut member = Client::connect(cluster.node(1));
    member.join("presence-a", "42");
    assert_eq!(witness.event()["event"], "pusher_internal:member_added");
    let mut other = Client::connect(cluster.node(1));
    sign_in(&mut other, r#"{"id":"4"}"#);
    let path = "/apps/app-id/users/42/terminate_connections";
    cluster.node(0).post(path, json!({})).is(200, json!({}));
    for client in signed.iter_mut().chain([&mut member]) {
        assert_eq!(error_code(client), 4009);
        client.closed(4009);
    }
    assert_eq!(witness.event()["event"], "pusher_internal:member_removed");
    witness.nothing();
    other.nothing();
    cluster.count(2);
    // A client of the user may reconnect afterwards, on every node.
    for node in cluster.nodes() {
        let mut again = Client::connect(node);
        sign_in(&mut again, r#"{"id":"42"}"#);
        cluster.node(0).publish("a", "e", "{}");
        again.nothing();
    }
}

#[test]
fn a_watchlist_reports_users_of_every_node_once() {
    let cluster = Cluster::of(2);
    let mut friend = Client::connect(cluster.node(0));
    sign_in(&mut friend, r#"{"id":"1"}"#);
    // A later event shows that the other node has received the sign-in.
    wait_until_received(&cluster, 0, 1);
    let mut watcher = Client::connect(cluster.node(1));
    sign_in(&mut watcher, r#"{"id":"42","watchlist":["1","2"]}"#);
    let events = watched(&mut watcher);
    let find = |name: &str| {
        events.as_array().unwrap().iter().find(|event| event["name"] == name).cloned().unwrap()
    };
    assert_eq!(find("online")["user_ids"], json!(["1"]));
    assert_eq!(find("offline")["user_ids"], json!(["2"]));
    let mut second = Client::connect(cluster.node(0));
    sign_in(&mut second, r#"{"id":"2"}"#);
    assert_eq!(watched(&mut watcher), json!([{"name": "online", "user_ids": ["2"]}]));
    // A connection to the other node keeps the friend online.
    let mut tab = Client::connect(cluster.node(1));
    sign_in(&mut tab, r#"{"id":"1"}"#);
    wait_until_received(&cluster, 1, 0);
    drop(friend);
    cluster.count(3);
    watcher.nothing();
    drop(tab);
    assert_eq!(watched(&mut watcher), json!([{"name": "offline", "user_ids": ["1"]}]));
    drop(second);
    assert_eq!(watched(&mut watcher), json!([{"name": "offline", "user_ids": ["2"]}]));
    watcher.nothing();
}

#[test]
fn a_user_of_a_killed_node_goes_offline_when_its_lease_ends() {
    let mut cluster = Cluster::with_lease(2, 3_000);
    let mut friend = Client::connect(cluster.node(1));
    sign_in(&mut friend, r#"{"id":"1"}"#);
    wait_until_received(&cluster, 1, 0);
    let mut watcher = Client::connect(cluster.node(0));
    sign_in(&mut watcher, r#"{"id":"42","watchlist":["1"]}"#);
    assert_eq!(watched(&mut watcher), json!([{"name": "online", "user_ids": ["1"]}]));
    cluster.kill(1);
    assert_eq!(watched(&mut watcher), json!([{"name": "offline", "user_ids": ["1"]}]));
    watcher.nothing();
}

/// Waits until one node has received everything that another has published so far.
#[track_caller]
fn wait_until_received(cluster: &Cluster, from: usize, to: usize) {
    let mut client = Client::connect(cluster.node(to));
    client.subscribe("settled");
    cluster.node(from).publish("settled", "e", "{}");
    client.expect(json!({"event": "e", "channel": "settled", "data": "{}"}));
    drop(client);
}
