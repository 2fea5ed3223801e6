//! Many events from every node to every node, and the check that each arrives once and in order.

use std::thread;

use serde_json::json;

use super::cluster::Cluster;
use crate::support::{APP, Client, Http, Server, signed};

/// Requests in flight on the connection of one publisher.
const PIPELINED: usize = 50;

/// Publishes `tag 0`, `tag 1` and so on, as fast as the node accepts them.
pub fn burst(node: &Server, channel: &str, tag: &str, count: usize) {
    let mut http = Http::connect(node);
    for first in (0..count).step_by(PIPELINED) {
        let end = count.min(first + PIPELINED);
        http.send(
            (first..end).map(|n| request(channel, &format!("{tag} {n}"))).collect::<String>(),
        );
        for _ in first..end {
            http.response().is(200, json!({}));
        }
    }
}

fn request(channel: &str, data: &str) -> String {
    let body = json!({"name": "e", "channel": channel, "data": data}).to_string();
    let target = signed(&APP, "POST", "/apps/app-id/events", "", body.as_bytes());
    let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n");
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// Receives the first `count` events of one publisher, and nothing else.
#[track_caller]
pub fn take(client: &mut Client, tag: &str, count: usize) {
    for number in 0..count {
        let data = client.event()["data"].as_str().unwrap().to_owned();
        assert_eq!(data, format!("{tag} {number}"));
    }
}

/// Every node publishes `each` events while `disturb` runs; each event must reach a subscriber on
/// every node once, and in the order of its publisher.
#[track_caller]
pub fn exchange(cluster: &Cluster, each: usize, disturb: impl FnOnce()) {
    exchange_between(&cluster.nodes().collect::<Vec<_>>(), each, disturb);
}

/// The same on these nodes.
#[track_caller]
pub fn exchange_between(nodes: &[&Server], each: usize, disturb: impl FnOnce()) {
    let listeners: Vec<Client> = nodes
        .iter()
        .map(|node| {
            let mut client = Client::connect(node);
            client.subscribe("traffic");
            client
        })
        .collect();
    let publishers = listeners.len();
    thread::scope(|scope| {
        for (tag, node) in nodes.iter().enumerate() {
            scope.spawn(move || burst(node, "traffic", &tag.to_string(), each));
        }
        for (number, client) in listeners.into_iter().enumerate() {
            scope.spawn(move || take_all(client, number, publishers, each));
        }
        disturb();
    });
}

/// Receives all events of all publishers.
fn take_all(mut client: Client, number: usize, publishers: usize, each: usize) {
    let mut next = vec![0; publishers];
    for _ in 0..publishers * each {
        let event = client.event();
        let (tag, n) = event["data"].as_str().unwrap().split_once(' ').unwrap();
        let next = &mut next[tag.parse::<usize>().unwrap()];
        assert_eq!(n.parse::<usize>().unwrap(), *next, "of node {tag}, at node {number}");
        *next += 1;
    }
    client.nothing();
}
