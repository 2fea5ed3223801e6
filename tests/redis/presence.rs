//! A presence channel has one member list on all nodes.

use std::thread;

use serde_json::{Value, json};

use super::cluster::{Cluster, users};
use crate::support::{Client, until};

pub const ROOM: &str = "presence-room";

#[track_caller]
pub fn added(client: &mut Client, user: &str) {
    let data = json!({"user_id": user, "user_info": {"name": user}}).to_string();
    client.expect(json!({"event": "pusher_internal:member_added", "channel": ROOM, "data": data}));
}

#[track_caller]
pub fn removed(client: &mut Client, user: &str) {
    let data = json!({"user_id": user}).to_string();
    client
        .expect(json!({"event": "pusher_internal:member_removed", "channel": ROOM, "data": data}));
}

/// Joins on a node, and waits until all nodes list the user.
#[track_caller]
pub fn member(cluster: &Cluster, node: usize, user: &str) -> Client {
    let mut client = Client::connect(cluster.node(node));
    client.join(ROOM, user);
    let what = format!("every node lists {user}");
    until(&what, || cluster.nodes().all(|node| users(node, ROOM).contains(&user.to_owned())));
    client
}

/// Fails if one of these members has received anything: one event from each node serves as a
/// barrier.
#[track_caller]
pub fn quiet(cluster: &Cluster, clients: &mut [&mut Client]) {
    let barrier = json!({"event": "barrier", "channel": ROOM, "data": "{}"});
    for node in cluster.nodes() {
        node.publish(ROOM, "barrier", "{}");
    }
    for client in clients {
        for _ in cluster.nodes() {
            client.expect(barrier.clone());
        }
        client.nothing();
    }
}

/// The ids in the answer to a subscription, sorted.
#[track_caller]
pub fn ids(members: &Value) -> Vec<&str> {
    let mut ids: Vec<&str> =
        members["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    ids.sort();
    assert_eq!(members["count"], ids.len());
    assert_eq!(members["hash"].as_object().unwrap().len(), ids.len());
    ids
}

#[test]
fn a_member_receives_the_members_of_all_nodes() {
    let cluster = Cluster::of(3);
    let mut ann = member(&cluster, 0, "ann");
    let mut bob = member(&cluster, 1, "bob");
    added(&mut ann, "bob");
    let mut cid = Client::connect(cluster.node(2));
    let members = cid.join(ROOM, "cid");
    assert_eq!(ids(&members), ["ann", "bob", "cid"]);
    let hash = json!({"ann": {"name": "ann"}, "bob": {"name": "bob"}, "cid": {"name": "cid"}});
    assert_eq!(members["hash"], hash);
    added(&mut ann, "cid");
    added(&mut bob, "cid");
    cluster.users(ROOM, &["ann", "bob", "cid"]);
    drop(bob);
    removed(&mut ann, "bob");
    removed(&mut cid, "bob");
    cluster.users(ROOM, &["ann", "cid"]);
    cid.unsubscribe(ROOM);
    removed(&mut ann, "cid");
    cid.nothing();
    quiet(&cluster, &mut [&mut ann]);
}

#[test]
fn a_user_with_connections_on_two_nodes_joins_once_and_leaves_once() {
    let cluster = Cluster::of(2);
    let mut near = member(&cluster, 0, "near");
    let mut far = member(&cluster, 1, "far");
    added(&mut near, "far");
    let first = member(&cluster, 0, "ann");
    added(&mut near, "ann");
    added(&mut far, "ann");
    let mut second = Client::connect(cluster.node(1));
    assert_eq!(ids(&second.join(ROOM, "ann")), ["ann", "far", "near"]);
    let mut third = Client::connect(cluster.node(1));
    assert_eq!(ids(&third.join(ROOM, "ann")), ["ann", "far", "near"]);
    cluster.count(5);
    cluster.users(ROOM, &["ann", "far", "near"]);
    drop(first);
    cluster.count(4);
    drop(second);
    cluster.count(3);
    cluster.users(ROOM, &["ann", "far", "near"]);
    quiet(&cluster, &mut [&mut near, &mut far, &mut third]);
    drop(third);
    removed(&mut near, "ann");
    removed(&mut far, "ann");
    cluster.users(ROOM, &["far", "near"]);
    quiet(&cluster, &mut [&mut near, &mut far]);
}

#[test]
fn all_nodes_agree_on_the_info_of_a_user_with_differing_connections() {
    let cluster = Cluster::of(2);
    let tab = |node: usize, name: &str| {
        let mut client = Client::connect(cluster.node(node));
        let data = json!({"user_id": "ann", "user_info": {"name": name}});
        client.ask_to_join(ROOM, &data.to_string());
        let members = client.joined(ROOM);
        (client, members["hash"]["ann"].clone())
    };
    let (_first, _) = tab(0, "first");
    cluster.users(ROOM, &["ann"]);
    let (_second, info) = tab(1, "second");
    assert_eq!(info, json!({"name": "first"}), "the first connection sets the user's info");
    let (_third, info) = tab(0, "third");
    assert_eq!(info, json!({"name": "first"}));
}

#[test]
fn a_node_that_joins_late_knows_the_members() {
    let mut cluster = Cluster::of(2);
    let mut ann = member(&cluster, 0, "ann");
    let mut bob = member(&cluster, 1, "bob");
    added(&mut ann, "bob");
    let late = cluster.join();
    cluster.users(ROOM, &["ann", "bob"]);
    let mut cid = Client::connect(cluster.node(late));
    assert_eq!(ids(&cid.join(ROOM, "cid")), ["ann", "bob", "cid"]);
    added(&mut ann, "cid");
    added(&mut bob, "cid");
    quiet(&cluster, &mut [&mut ann, &mut bob, &mut cid]);
    cluster.count(3);
}

#[test]
fn all_nodes_have_the_same_list_after_a_storm_of_joins_and_leaves() {
    const ROUNDS: usize = 40;
    let cluster = Cluster::of(3);
    let mut stay = thread::scope(|scope| {
        let storms: Vec<_> = (0..3)
            .map(|number| {
                let node = cluster.node(number);
                scope.spawn(move || storm(node, number, ROUNDS))
            })
            .collect();
        storms.into_iter().flat_map(|storm| storm.join().unwrap()).collect::<Vec<_>>()
    });
    // Each storm leaves one connection of its own user and one of the shared user.
    cluster.users(ROOM, &["0", "1", "2", "all"]);
    cluster.count(6);
    cluster.agree("/apps/app-id/channels", "", &json!({"channels": {ROOM: {}}}));
    stay.clear();
    cluster.users(ROOM, &[]);
    cluster.agree("/apps/app-id/channels", "", &json!({"channels": {}}));
}

/// Joins and leaves many times; returns the clients that stay.
fn storm(node: &crate::support::Server, number: usize, rounds: usize) -> Vec<Client> {
    let own = number.to_string();
    let mut stay = Vec::new();
    for round in 0..rounds {
        let mut clients = Vec::new();
        for user in [own.as_str(), "all", "passing"] {
            let mut client = Client::connect(node);
            let data = json!({"user_id": user, "user_info": {"round": round}});
            client.ask_to_join(ROOM, &data.to_string());
            clients.push(client);
        }
        clients.pop();
        if round + 1 == rounds {
            stay = clients;
        }
    }
    // The response arrives after all earlier events.
    for client in &mut stay {
        let (mut joined, event) = (false, "pusher_internal:subscription_succeeded");
        while !joined {
            joined = client.event()["event"] == event;
        }
    }
    stay
}
