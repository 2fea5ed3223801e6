//! A client in the model: what it has heard, and whether that can be.

use std::collections::{BTreeMap, BTreeSet};

use reverb::hub::ConnId;
use serde_json::Value;

/// An event that was published.
pub struct Published {
    /// The node it was published at: a number no other node ever had.
    pub node: usize,
    pub channel: &'static str,
    /// The socket id that is left out.
    pub except: Option<String>,
}

/// A client of a node.
pub struct Client {
    pub node: usize,
    pub id: ConnId,
    pub socket_id: String,
    pub seats: BTreeMap<&'static str, Seat>,
}

/// A subscription, and what came of it.
pub struct Seat {
    pub user: Option<&'static str>,
    /// How many events had been published before.
    since: usize,
    /// Nodes whose events it must hear from the beginning: they and its own have met.
    met: BTreeSet<usize>,
    /// The events that came, by their numbers.
    got: Vec<usize>,
    /// Whether the answer has come, and what the cache channel keeps.
    is_in: bool,
    is_cache_told: bool,
    /// The users it has been told are here.
    pub users: BTreeSet<String>,
}

impl Seat {
    pub fn new(user: Option<&'static str>, since: usize, met: BTreeSet<usize>) -> Self {
        let (got, users) = (Vec::new(), BTreeSet::new());
        Seat { user, since, met, got, is_in: false, is_cache_told: false, users }
    }

    /// Takes a message of its channel.
    pub fn hear(&mut self, message: &Value, channel: &str) {
        let event = message["event"].as_str().unwrap();
        let user = || message["data"]["user_id"].as_str().unwrap().to_owned();
        match event {
            "pusher_internal:subscription_succeeded" => {
                self.is_in = true;
                self.users.clear();
                if let Some(ids) = message["data"]["presence"]["ids"].as_array() {
                    let ids = ids.iter().map(|id| id.as_str().unwrap().to_owned());
                    self.users.extend(ids);
                }
            }
            "pusher_internal:member_added" => {
                assert!(self.users.insert(user()), "{} was here already", user());
            }
            "pusher_internal:member_removed" => {
                assert!(self.users.remove(&user()), "{} was not here", user());
            }
            "pusher:cache_miss" => self.is_cache_told = true,
            "e" if channel.contains("cache-") && !self.is_cache_told => self.is_cache_told = true,
            "e" | "client-e" => {
                assert!(self.is_in, "an event came before the answer");
                self.got.push(message["data"]["n"].as_u64().unwrap() as usize);
            }
            other => panic!("{other} came on {channel}"),
        }
    }

    /// Fails unless what came of each node is what it published, in order, once, and without a
    /// gap; to the last one, if `ends_at` has the node and nothing was dropped.
    pub fn check(
        &self,
        channel: &str,
        socket_id: &str,
        published: &[Published],
        alive: Option<&BTreeSet<usize>>,
        is_lossy: bool,
    ) {
        let mut by_node: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (n, event) in published.iter().enumerate() {
            if event.channel == channel && event.except.as_deref() != Some(socket_id) {
                by_node.entry(event.node).or_default().push(n);
            }
        }
        let known = |n: &usize| by_node.get(&published[*n].node).is_some_and(|all| all.contains(n));
        assert!(self.got.iter().all(known), "an event that is not for it: {:?}", self.got);
        for (node, all) in by_node {
            let of_node = |n: &&usize| published[**n].node == node;
            let got: Vec<usize> = self.got.iter().filter(of_node).copied().collect();
            let is_rising = got.windows(2).all(|two| two[0] < two[1]);
            assert!(is_rising, "of node {node} on {channel}: {got:?}");
            if is_lossy || !self.met.contains(&node) {
                continue;
            }
            let due: Vec<usize> = all.into_iter().filter(|n| *n >= self.since).collect();
            let came: Vec<usize> = got.into_iter().filter(|n| *n >= self.since).collect();
            assert!(due.starts_with(&came), "of node {node} on {channel}: {came:?} of {due:?}");
            if alive.is_some_and(|alive| alive.contains(&node)) {
                assert_eq!(came, due, "of node {node} on {channel}");
            }
        }
    }
}
