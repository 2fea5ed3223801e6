//! Webhooks of several nodes on one Redis: what the cluster as a whole sees is sent, also while
//! nodes are killed.
#![cfg(feature = "redis")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::receiver::Receiver;
use super::with_webhooks;
use crate::redis::cluster::Cluster;
use crate::support::{Client, DEADLINE, Setup};

/// The lease of the nodes here: long enough for a busy machine.
const LEASE_MS: u32 = 2_000;

fn setup(url: &str) -> Setup {
    with_webhooks(json!([{"url": url, "batch_ms": 1}])).env("REVERB_LIMIT_NODE_LEASE_MS", LEASE_MS)
}

/// Connected nodes, each of which has sent a webhook: a node that has just started leaves them to
/// the others.
#[track_caller]
fn cluster(receiver: &Receiver, nodes: usize) -> Cluster {
    let url = receiver.url("/hook");
    let cluster = Cluster::with(nodes, move || setup(&url));
    let mut client = Client::connect(cluster.node(0));
    let mut application = Application::default();
    // With so many channels, each node is the owner of some.
    (0..40).for_each(|n| client.subscribe(&format!("start-{n}")));
    application.receive_until(receiver, "occupied", |it| it.occupied.len() == 40);
    drop(client);
    application.receive_until(receiver, "vacated", |it| it.occupied.is_empty());
    cluster
}

/// Joins a room in which others may be.
#[track_caller]
fn join(client: &mut Client, room: &str, user: &str) {
    client.ask_to_join(room, &json!({"user_id": user}).to_string());
    client.joined(room);
}

/// What an application that handles each delivery once knows: the channels and their members.
#[derive(Default)]
struct Application {
    deliveries: BTreeSet<String>,
    occupied: BTreeSet<String>,
    members: BTreeMap<String, BTreeSet<String>>,
    events: Vec<Value>,
}

impl Application {
    /// Receives requests until the condition is true.
    #[track_caller]
    fn receive_until(&mut self, receiver: &Receiver, what: &str, is_met: impl Fn(&Self) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !is_met(self) {
            let Some(request) = receiver.request_until(end) else {
                panic!("{what}: {:?} {:?} {:#?}", self.occupied, self.members, self.events)
            };
            request.is_valid();
            if self.deliveries.insert(request.delivery().to_owned()) {
                request.events().into_iter().for_each(|event| self.handle(event));
            }
        }
    }

    fn handle(&mut self, event: Value) {
        let channel = event["channel"].as_str().unwrap().to_owned();
        let user = event["user_id"].as_str().unwrap_or_default().to_owned();
        match event["name"].as_str().unwrap() {
            "channel_occupied" => drop(self.occupied.insert(channel)),
            "channel_vacated" => drop(self.occupied.remove(&channel)),
            "member_added" => drop(self.members.entry(channel).or_default().insert(user)),
            "member_removed" => {
                if let Some(members) = self.members.get_mut(&channel) {
                    members.remove(&user);
                }
                self.members.retain(|_, members| !members.is_empty());
            }
            other => panic!("{other}"),
        }
        self.events.push(event);
    }

    fn count(&self, name: &str, channel: &str) -> usize {
        let is_same = |event: &&Value| event["name"] == name && event["channel"] == channel;
        self.events.iter().filter(is_same).count()
    }
}

#[test]
fn each_change_of_the_cluster_is_sent_once() {
    let receiver = Receiver::start();
    let cluster = cluster(&receiver, 2);
    let mut application = Application::default();
    let mut one = Client::connect(cluster.node(0));
    let mut two = Client::connect(cluster.node(1));
    for n in 0..20 {
        one.subscribe(&format!("c{n}"));
    }
    application.receive_until(&receiver, "occupied", |it| it.occupied.len() == 20);
    for n in 0..20 {
        two.subscribe(&format!("c{n}"));
    }
    // A client on another node keeps each channel occupied.
    drop(one);
    let mut other = Client::connect(cluster.node(0));
    other.subscribe("barrier");
    other.unsubscribe("barrier");
    application
        .receive_until(&receiver, "barrier", |it| it.count("channel_vacated", "barrier") == 1);
    assert_eq!(application.occupied.len(), 20);
    drop(two);
    application.receive_until(&receiver, "vacated", |it| it.occupied.is_empty());
    for n in 0..20 {
        for name in ["channel_occupied", "channel_vacated"] {
            assert_eq!(application.count(name, &format!("c{n}")), 1, "{name} c{n}");
        }
    }
}

#[test]
fn a_member_that_moves_to_another_node_is_not_reported() {
    let receiver = Receiver::start();
    let cluster = cluster(&receiver, 2);
    let mut application = Application::default();
    let mut client = Client::connect(cluster.node(0));
    client.join("presence-room", "7");
    application.receive_until(&receiver, "added", |it| it.members.len() == 1);
    drop(client);
    let mut client = Client::connect(cluster.node(1));
    client.join("presence-room", "7");
    client.subscribe("barrier");
    client.unsubscribe("barrier");
    application
        .receive_until(&receiver, "barrier", |it| it.count("channel_vacated", "barrier") == 1);
    assert_eq!(application.count("member_added", "presence-room"), 1);
    assert_eq!(application.count("member_removed", "presence-room"), 0);
}

#[test]
fn clients_of_a_killed_node_are_reported_by_the_others() {
    let receiver = Receiver::start();
    let mut cluster = cluster(&receiver, 3);
    let mut application = Application::default();
    let mut gone = Client::connect(cluster.node(0));
    let mut stays = Client::connect(cluster.node(1));
    for n in 0..10 {
        gone.join(&format!("presence-{n}"), "gone");
        gone.subscribe(&format!("alone-{n}"));
    }
    for n in 0..10 {
        join(&mut stays, &format!("presence-{n}"), "stays");
    }
    let is_complete = |it: &Application| it.occupied.len() == 20 && it.members_count() == 20;
    application.receive_until(&receiver, "all", is_complete);
    cluster.kill(0);
    let is_gone = |it: &Application| it.occupied.len() == 10 && it.members_count() == 10;
    application.receive_until(&receiver, "the rest", is_gone);
    let users = application.members.values().flatten();
    assert!(users.clone().all(|user| user == "stays"), "{:?}", application.members);
    for n in 0..10 {
        assert_eq!(application.count("channel_vacated", &format!("alone-{n}")), 1);
        assert_eq!(application.count("member_removed", &format!("presence-{n}")), 1);
    }
}

impl Application {
    fn members_count(&self) -> usize {
        self.members.values().map(BTreeSet::len).sum()
    }
}

#[test]
fn each_node_in_turn_is_killed_under_churn_and_the_application_is_right_at_the_end() {
    let receiver = Receiver::start();
    let mut cluster = cluster(&receiver, 2);
    let mut application = Application::default();
    let mut nodes = [0, 1];
    let mut clients: Vec<(usize, String, String, Client)> = Vec::new();
    let mut random = 7_u32;
    let mut next = |below: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 16) % below
    };
    for round in 0..4 {
        for _ in 0..60 {
            let node = nodes[next(2) as usize];
            let (room, user) = (format!("presence-{}", next(8)), format!("u{}", next(12)));
            let mut client = Client::connect(cluster.node(node));
            join(&mut client, &room, &user);
            clients.push((node, room, user, client));
            if clients.len() > 20 {
                clients.remove(next(20) as usize);
            }
        }
        // Kills one node in the middle of what it has to report, and starts another.
        let victim = nodes[round % 2];
        cluster.kill(victim);
        clients.retain(|(node, ..)| *node != victim);
        nodes[round % 2] = cluster.join();
        // Each node has noticed that the killed one is gone, and knows the clients of the other.
        cluster.count(clients.len() as u64);
    }
    let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, room, user, _) in &clients {
        wanted.entry(room.clone()).or_default().insert(user.clone());
    }
    let rooms: BTreeSet<String> = wanted.keys().cloned().collect();
    application.receive_until(&receiver, &format!("the state {wanted:?}"), |it| {
        it.members == wanted && it.occupied == rooms
    });
    // It stays right: nothing else is reported.
    let end = Instant::now() + Duration::from_millis(u64::from(LEASE_MS) + 4_000);
    while let Some(request) = receiver.request_until(end) {
        if application.deliveries.insert(request.delivery().to_owned()) {
            request.events().into_iter().for_each(|event| application.handle(event));
        }
    }
    assert_eq!((application.members, application.occupied), (wanted, rooms));
}
