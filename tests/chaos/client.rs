//! A client on a thread of its own: what it receives, and whether that is correct.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::support::{Client, Got, Server};

pub const TRAFFIC: &str = "traffic";
pub const ROOM: &str = "presence-room";

/// How many events each node has published, by the node's name.
pub type Published = BTreeMap<usize, usize>;

/// A subscriber of both channels.
pub struct Listener {
    pub user: String,
    /// For each node, the first of the events that the client must receive.
    pub due_from: Published,
    received: Arc<Mutex<Received>>,
}

/// What a client has received.
#[derive(Default)]
struct Received {
    /// The numbers of events, by publisher.
    events: BTreeMap<usize, Vec<usize>>,
    /// The members of the presence channel, according to the messages received.
    members: BTreeSet<String>,
    /// Messages that must never arrive.
    wrong: Vec<String>,
}

impl Listener {
    /// Connects to a node and subscribes. This node already knows the nodes in `due_from`.
    pub fn start(node: &Server, user: &str, due_from: Published) -> Self {
        let mut client = Client::connect(node);
        client.subscribe(TRAFFIC);
        let received = Arc::new(Mutex::new(Received::default()));
        received.lock().unwrap().set_members(&join(&mut client, user));
        let of_thread = Arc::clone(&received);
        thread::spawn(move || receive_all(client, &of_thread));
        Listener { user: user.to_owned(), due_from, received }
    }

    /// The number of events received, over all nodes.
    pub fn count(&self) -> usize {
        self.received.lock().unwrap().events.values().map(Vec::len).sum()
    }

    /// Whether it has received the last event of each of these nodes.
    pub fn has_last(&self, nodes: &[usize], published: &Published) -> bool {
        let received = self.received.lock().unwrap();
        let last =
            |node: &usize| received.events.get(node).and_then(|events| events.last()).copied();
        nodes.iter().all(|node| last(node).map_or(0, |last| last + 1) == published[node])
    }

    pub fn members(&self) -> BTreeSet<String> {
        self.received.lock().unwrap().members.clone()
    }

    /// All faults in the events received. From nodes that are `alive`, every event must have
    /// arrived; from the others, every event up to the last that did.
    pub fn faults(&self, published: &Published, alive: &[usize]) -> Vec<String> {
        let received = self.received.lock().unwrap();
        let mut faults = received.wrong.clone();
        for (node, events) in &received.events {
            for pair in events.windows(2).filter(|pair| pair[0] >= pair[1]) {
                let what = if pair[0] == pair[1] { "duplicate" } else { "out of order" };
                faults.push(format!("{what}: {} after {} of node {node}", pair[1], pair[0]));
            }
        }
        for (node, &from) in &self.due_from {
            let events = received.events.get(node).into_iter().flatten();
            let arrived: BTreeSet<usize> = events.copied().filter(|n| *n >= from).collect();
            let end = match alive.contains(node) {
                true => published[node],
                false => arrived.last().map_or(from, |last| last + 1),
            };
            let lost: Vec<usize> = (from..end).filter(|n| !arrived.contains(n)).collect();
            if !lost.is_empty() {
                faults.push(format!("lost: {lost:?} of node {node}"));
            }
        }
        faults.iter().map(|fault| format!("{}: {fault}", self.user)).collect()
    }
}

/// Joins the presence channel, and returns the answer with the list of members.
fn join(client: &mut Client, user: &str) -> Value {
    client.ask_to_join(ROOM, &json!({"user_id": user}).to_string());
    loop {
        let event = client.event();
        if event["event"] == "pusher_internal:subscription_succeeded" {
            return event;
        }
        // Events of other nodes may arrive between the two subscriptions; they are not required.
        assert_eq!(event["channel"], TRAFFIC, "{event}");
    }
}

/// Handles all messages until the connection ends. On a busy machine it lasts longer than a minute, and
/// the server pings.
fn receive_all(mut client: Client, received: &Mutex<Received>) {
    loop {
        match client.receive() {
            Got::Text(text) => {
                let message: Value = serde_json::from_str(&text).unwrap();
                if message["event"] == "pusher:ping" {
                    client.send(json!({"event": "pusher:pong"}));
                } else {
                    received.lock().unwrap().apply(&message);
                }
            }
            Got::Ping(payload) => client.frame(0x8A, &payload),
            _ => return,
        }
    }
}

impl Received {
    fn set_members(&mut self, answer: &Value) {
        let data: Value = serde_json::from_str(answer["data"].as_str().unwrap()).unwrap();
        let ids = data["presence"]["ids"].as_array().unwrap();
        self.members = ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect();
    }

    fn apply(&mut self, message: &Value) {
        let data = message["data"].as_str().unwrap_or_default();
        let user = || {
            let data: Value = serde_json::from_str(data).unwrap();
            data["user_id"].as_str().unwrap().to_owned()
        };
        match message["event"].as_str().unwrap() {
            "e" => {
                let (node, number) = data.split_once(' ').unwrap();
                let number = number.split(' ').next().unwrap().parse().unwrap();
                self.events.entry(node.parse().unwrap()).or_default().push(number);
            }
            "pusher_internal:member_added" if !self.members.insert(user()) => {
                self.wrong.push(format!("duplicate: {} joined twice", user()));
            }
            "pusher_internal:member_removed" if !self.members.remove(&user()) => {
                self.wrong.push(format!("duplicate: {} left twice", user()));
            }
            _ => {}
        }
    }
}
