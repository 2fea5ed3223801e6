//! State that nodes share besides events and members: the last events of cache channels, the
//! connection limit of an app, and the counts of the API.

use serde_json::{Value, json};

use super::cluster::{Cluster, connections};
use super::presence::member;
use crate::support::{Client, Setup, logged, until};

const CHANNELS: &str = "/apps/app-id/channels";

fn event(channel: &str, data: &str) -> Value {
    json!({"event": "e", "channel": channel, "data": data})
}

/// The event that a new subscriber of a cache channel receives from a node.
#[track_caller]
fn stored_event(cluster: &Cluster, node: usize, channel: &str) -> Value {
    let mut client = Client::connect(cluster.node(node));
    client.subscribe(channel);
    client.event()
}

#[test]
fn every_node_stores_the_last_event_of_a_cache_channel() {
    let mut cluster = Cluster::of(2);
    let mut far = Client::connect(cluster.node(1));
    far.subscribe("cache-a");
    assert_eq!(far.event()["event"], "pusher:cache_miss");
    for data in ["1", "2"] {
        cluster.node(0).publish("cache-a", "e", data);
        far.expect(event("cache-a", data));
    }
    // This channel has no subscriber.
    cluster.node(0).publish("cache-b", "e", "3");
    cluster.node(0).publish("cache-a", "e", "4");
    far.expect(event("cache-a", "4"));
    for node in 0..2 {
        assert_eq!(stored_event(&cluster, node, "cache-a"), event("cache-a", "4"));
        assert_eq!(stored_event(&cluster, node, "cache-b"), event("cache-b", "3"));
    }
    // A late node receives the stored events, too, also those that a killed node published.
    cluster.kill(0);
    let late = cluster.join();
    until("the late node has the event", || {
        stored_event(&cluster, late, "cache-b")["event"] == "e"
    });
    assert_eq!(stored_event(&cluster, late, "cache-b"), event("cache-b", "3"));
    assert_eq!(stored_event(&cluster, late, "cache-a"), event("cache-a", "4"));
    assert_eq!(stored_event(&cluster, late, "cache-c")["event"], "pusher:cache_miss");
}

#[test]
fn the_last_event_wins_regardless_of_its_node() {
    let cluster = Cluster::of(2);
    let mut clients: Vec<Client> = cluster.nodes().map(Client::connect).collect();
    for client in &mut clients {
        client.subscribe("cache-a");
        assert_eq!(client.event()["event"], "pusher:cache_miss");
    }
    for (number, node) in [0, 1, 1, 0, 1].into_iter().enumerate() {
        let data = number.to_string();
        cluster.node(node).publish("cache-a", "e", &data);
        for client in &mut clients {
            client.expect(event("cache-a", &data));
        }
    }
    for node in 0..2 {
        assert_eq!(stored_event(&cluster, node, "cache-a"), event("cache-a", "4"));
    }
}

#[test]
fn the_connection_limit_of_an_app_counts_all_nodes() {
    let setup = || Setup::new().env("REVERB_APP_MAX_CONNECTIONS", 3);
    let cluster = Cluster::with(2, setup);
    let mut clients: Vec<Client> =
        [0, 1, 1].map(|node| Client::connect(cluster.node(node))).into_iter().collect();
    cluster.count(3);
    for node in cluster.nodes() {
        let mut refused = Client::open(node, "/app/app-key?protocol=7", "");
        refused.error(4004, "Application is over connection quota");
        refused.closed(4004);
    }
    cluster.count(3);
    clients.remove(0);
    cluster.count(2);
    clients.push(Client::connect(cluster.node(1)));
    cluster.count(3);
}

#[test]
fn the_api_of_each_node_counts_all_nodes() {
    let cluster = Cluster::of(3);
    let mut clients: Vec<Client> = cluster.nodes().map(Client::connect).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.subscribe("everywhere");
        client.subscribe(&format!("only-{number}"));
    }
    let _ann = member(&cluster, 0, "ann");
    let _tab = member(&cluster, 1, "ann");
    let _bob = member(&cluster, 2, "bob");
    cluster.count(6);
    let all = json!({"channels": {
        "everywhere": {}, "only-0": {}, "only-1": {}, "only-2": {}, "presence-room": {},
    }});
    cluster.agree(CHANNELS, "", &all);
    let counted = json!({"channels": {"presence-room": {"user_count": 2}}});
    cluster.agree(CHANNELS, "filter_by_prefix=presence-&info=user_count", &counted);
    let one = json!({"occupied": true, "subscription_count": 3});
    cluster.agree("/apps/app-id/channels/everywhere", "info=subscription_count", &one);
    let one = json!({"occupied": true, "subscription_count": 1});
    cluster.agree("/apps/app-id/channels/only-1", "info=subscription_count", &one);
    cluster.agree("/apps/app-id/channels/nowhere", "", &json!({"occupied": false}));
    cluster.users("presence-room", &["ann", "bob"]);
    for node in cluster.nodes() {
        let body = json!({"name": "e", "channels": ["everywhere", "presence-room"], "data": "{}",
            "info": "subscription_count,user_count"});
        let answer = node.post("/apps/app-id/events", body).json();
        assert_eq!(answer["channels"]["everywhere"]["subscription_count"], 3, "{answer}");
        assert_eq!(answer["channels"]["presence-room"]["user_count"], 2, "{answer}");
    }
    clients.pop();
    cluster.count(5);
    cluster.agree("/apps/app-id/channels/only-2", "", &json!({"occupied": false}));
}

#[test]
fn the_api_answers_while_a_dead_node_has_not_timed_out() {
    // Longer than this test may take: the dead node does not time out within it.
    let setup = || Setup::new().env("REVERB_LIMIT_NODE_LEASE_MS", 600_000);
    let mut cluster = Cluster::with(3, setup);
    let _near = member(&cluster, 0, "near");
    let _far = member(&cluster, 2, "far");
    cluster.kill(2);
    for node in cluster.nodes() {
        assert_eq!(connections(node), 2);
        assert_eq!(super::cluster::users(node, "presence-room"), ["far", "near"]);
        assert_eq!(node.get(CHANNELS, "").json(), json!({"channels": {"presence-room": {}}}));
    }
}

#[test]
fn the_api_answers_from_local_state_without_asking_other_nodes() {
    let cluster = Cluster::of(2);
    let _near = member(&cluster, 0, "near");
    let _far = member(&cluster, 1, "far");
    // A request to another node would now wait for ever.
    cluster.redis.stand_still();
    for node in cluster.nodes() {
        assert_eq!(connections(node), 2);
        assert_eq!(super::cluster::users(node, "presence-room"), ["far", "near"]);
        assert_eq!(node.get(CHANNELS, "").json(), json!({"channels": {"presence-room": {}}}));
    }
}

#[test]
fn without_redis_a_node_logs_it_and_answers_for_itself() {
    let cluster = Cluster::with_lease(2, 3_000);
    let mut near = member(&cluster, 0, "near");
    let _far = member(&cluster, 1, "far");
    assert_eq!(near.event()["event"], "pusher_internal:member_added");
    cluster.redis.kill();
    assert_eq!(near.event()["event"], "pusher_internal:member_removed");
    for (number, node) in cluster.nodes().enumerate() {
        node.is_up();
        until("the node counts its own connections", || connections(node) == 1);
        let own = ["near", "far"][number];
        assert_eq!(super::cluster::users(node, "presence-room"), [own]);
        logged(node, &["[WARN]", "edis"]);
        node.is_up();
    }
    cluster.redis.restart();
    cluster.users("presence-room", &["far", "near"]);
    for node in cluster.nodes() {
        logged(node, &["Redis is back"]);
        node.is_up();
    }
}
