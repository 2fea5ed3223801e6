//! Each subscriber on every node receives an event once and in order; an excluded connection does
//! not.

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::traffic::exchange;
use crate::support::{APP, App, Client, Setup};

const EVENTS: &str = "/apps/app-id/events";

fn event(channel: &str, name: &str, data: &str) -> Value {
    json!({"event": name, "channel": channel, "data": data})
}

/// A client on each node, subscribed to these channels.
#[track_caller]
fn listeners(cluster: &Cluster, channels: &[&str]) -> Vec<Client> {
    let mut clients = Vec::new();
    for node in cluster.nodes() {
        let mut client = Client::connect(node);
        for channel in channels {
            client.subscribe(channel);
        }
        clients.push(client);
    }
    clients
}

#[track_caller]
fn all_expect(clients: &mut [Client], message: &Value) {
    for client in clients {
        client.expect(message.clone());
    }
}

#[test]
fn an_event_published_at_any_node_reaches_each_subscriber_once() {
    let cluster = Cluster::of(3);
    let mut clients = listeners(&cluster, &["a", "b"]);
    for (number, node) in cluster.nodes().enumerate() {
        let data = format!("from {number} \"é\"\u{1}");
        let single = json!({"name": "single", "channel": "a", "data": data});
        node.post(EVENTS, single).is(200, json!({}));
        all_expect(&mut clients, &event("a", "single", &data));

        let several = json!({"name": "several", "channels": ["b", "c", "a"], "data": data});
        node.post(EVENTS, several).is(200, json!({}));
        all_expect(&mut clients, &event("b", "several", &data));
        all_expect(&mut clients, &event("a", "several", &data));

        let batch = [("a", "1"), ("c", "2"), ("b", "3"), ("a", "4")];
        let batch =
            batch.map(|(channel, data)| json!({"name": "e", "channel": channel, "data": data}));
        node.post("/apps/app-id/batch_events", json!({"batch": batch})).is(200, json!({}));
        for (channel, data) in [("a", "1"), ("b", "3"), ("a", "4")] {
            all_expect(&mut clients, &event(channel, "e", data));
        }
    }
    for client in &mut clients {
        client.nothing();
    }
}

#[test]
fn the_data_of_an_event_arrives_unchanged() {
    let cluster = Cluster::of(2);
    let mut far = Client::connect(cluster.node(1));
    far.subscribe("a");
    for data in
        ["{}", "{\"f\":1.0,\"big\":12345678901234567890}", "plain  text", "\u{1}\"\\é😀\u{7f}"]
    {
        cluster.node(0).publish("a", "App\\Events\\\"E\"", data);
        far.expect(event("a", "App\\Events\\\"E\"", data));
    }
    let long = "x".repeat(300_000);
    cluster.node(0).publish("a", "long", &long);
    far.expect(event("a", "long", &long));
}

#[test]
fn thousands_of_events_from_all_nodes_arrive_once_and_in_order() {
    let cluster = Cluster::of(2);
    exchange(&cluster, 3_000, || {});
}

#[test]
fn a_client_event_reaches_every_node_except_its_sender() {
    let cluster = Cluster::of(2);
    let mut clients: Vec<Client> = cluster.nodes().map(Client::connect).collect();
    let mut near = Client::connect(cluster.node(0));
    for client in clients.iter_mut().chain([&mut near]) {
        client.subscribe_private("private-a");
    }
    let typing = json!({"event": "client-typing", "channel": "private-a", "data": {"n": 1.0}});
    let [sender, far] = &mut clients[..] else { panic!("two nodes") };
    for _ in 0..20 {
        sender.send(typing.clone());
        near.expect(typing.clone());
        far.expect(typing.clone());
    }
    sender.nothing();
    far.send(typing.clone());
    for client in [sender, &mut near] {
        client.expect(typing.clone());
    }
    far.nothing();
}

#[test]
fn a_client_event_on_a_presence_channel_names_its_user_on_every_node() {
    let cluster = Cluster::of(2);
    let mut ann = Client::connect(cluster.node(0));
    ann.join("presence-a", "ann");
    cluster.users("presence-a", &["ann"]);
    let mut bob = Client::connect(cluster.node(1));
    bob.join("presence-a", "bob");
    assert_eq!(ann.event()["event"], "pusher_internal:member_added");
    let typing = json!({"event": "client-typing", "channel": "presence-a", "data": {}});
    ann.send(typing.clone());
    let mut expected = typing;
    expected["user_id"] = "ann".into();
    bob.expect(expected);
    ann.nothing();
}

#[test]
fn an_excluded_connection_is_excluded_on_every_node() {
    let cluster = Cluster::of(2);
    let mut clients = listeners(&cluster, &["a", "b"]);
    let left_out = clients[1].socket_id.clone();
    for node in cluster.nodes() {
        let one = json!({"name": "e", "channel": "a", "data": "1", "socket_id": left_out});
        node.post(EVENTS, one).is(200, json!({}));
        clients[0].expect(event("a", "e", "1"));

        let two = json!({"name": "e", "channels": ["a", "b"], "data": "2", "socket_id": left_out});
        node.post(EVENTS, two).is(200, json!({}));
        clients[0].expect(event("a", "e", "2"));
        clients[0].expect(event("b", "e", "2"));

        let batch = json!({"batch": [
            {"name": "e", "channel": "a", "data": "3", "socket_id": left_out},
            {"name": "e", "channel": "a", "data": "4"},
        ]});
        node.post("/apps/app-id/batch_events", batch).is(200, json!({}));
        clients[0].expect(event("a", "e", "3"));
        // This is the first event that the excluded connection receives.
        all_expect(&mut clients, &event("a", "e", "4"));
    }
}

#[test]
fn apps_do_not_receive_the_events_of_other_apps() {
    const OTHER: App = App { id: "other-id", key: "other-key", secret: "other-secret" };
    let apps = || {
        let settings = json!({"allowed_origins": ["*"]});
        Setup::bare().apps(&[(&APP, settings.clone()), (&OTHER, settings)])
    };
    let cluster = Cluster::with(2, apps);
    let mut ours = Client::connect(cluster.node(1));
    ours.subscribe("a");
    let mut other = Client::connect_to(cluster.node(1), "/app/other-key?protocol=7");
    other.subscribe("a");
    let body = json!({"name": "e", "channel": "a", "data": "theirs"}).to_string();
    cluster.node(0).post_as(&OTHER, "/apps/other-id/events", &body).is(200, json!({}));
    other.expect(event("a", "e", "theirs"));
    cluster.node(0).publish("a", "e", "ours");
    ours.expect(event("a", "e", "ours"));
    other.nothing();
    let count = cluster.node(0).get_as(&OTHER, "/apps/other-id/connections", "").json();
    assert_eq!(count, json!({"connections": 1}));
}

#[test]
fn clusters_with_different_redis_channels_share_no_events() {
    let ours = Cluster::of(2);
    let theirs = super::cluster::scaled(Setup::new(), ours.redis.port())
        .env("REVERB_SCALING_CHANNEL", "another")
        .start();
    let mut outside = Client::connect(&theirs);
    outside.subscribe("a");
    let mut inside = Client::connect(ours.node(1));
    inside.subscribe("a");
    theirs.publish("a", "e", "theirs");
    outside.expect(event("a", "e", "theirs"));
    ours.node(0).publish("a", "e", "ours");
    inside.expect(event("a", "e", "ours"));
    outside.nothing();
    ours.count(1);
}
