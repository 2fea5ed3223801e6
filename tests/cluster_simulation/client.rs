//! A client in the model: what it has received, and whether that is correct.

use std::collections::{BTreeMap, BTreeSet};

use reverb::hub::ConnId;
use serde_json::Value;

/// An event that was published.
pub struct Published {
    /// The node it was published at: a number that no other node ever had.
    pub node: usize,
    pub channel: &'static str,
    /// The socket id that the event is not sent to.
    pub except: Option<String>,
}

/// A client of a node.
pub struct Client {
    pub node: usize,
    pub id: ConnId,
    pub socket_id: String,
    pub subscriptions: BTreeMap<&'static str, Subscription>,
}

/// A subscription, and the messages received for it.
pub struct Subscription {
    pub user: Option<&'static str>,
    /// How many events had been published before it.
    since: usize,
    /// Nodes whose events it must receive from the beginning: its own node knows them.
    met: BTreeSet<usize>,
    /// The numbers of the events received.
    got: Vec<usize>,
    /// Whether `subscription_succeeded` has arrived.
    is_confirmed: bool,
    /// Whether the kept event of the cache channel, or the cache miss, has arrived.
    has_cache_event: bool,
    /// The members, according to the messages received.
    pub users: BTreeSet<String>,
}

impl Subscription {
    pub fn new(user: Option<&'static str>, since: usize, met: BTreeSet<usize>) -> Self {
        let (got, users) = (Vec::new(), BTreeSet::new());
        Subscription { user, since, met, got, is_confirmed: false, has_cache_event: false, users }
    }

    /// Applies a message of its channel.
    pub fn receive(&mut self, message: &Value, channel: &str) {
        let event = message["event"].as_str().unwrap();
        let user = || message["data"]["user_id"].as_str().unwrap().to_owned();
        match event {
            "pusher_internal:subscription_succeeded" => {
                self.is_confirmed = true;
                self.users.clear();
                if let Some(ids) = message["data"]["presence"]["ids"].as_array() {
                    let ids = ids.iter().map(|id| id.as_str().unwrap().to_owned());
                    self.users.extend(ids);
                }
            }
            "pusher_internal:member_added" => {
                assert!(self.users.insert(user()), "{} joined twice", user());
            }
            "pusher_internal:member_removed" => {
                assert!(self.users.remove(&user()), "{} left without a join", user());
            }
            "pusher:cache_miss" => self.has_cache_event = true,
            "e" if channel.contains("cache-") && !self.has_cache_event => {
                self.has_cache_event = true
            }
            "e" | "client-e" => {
                assert!(self.is_confirmed, "an event arrived before the response");
                self.got.push(message["data"]["n"].as_u64().unwrap() as usize);
            }
            other => panic!("unexpected {other} on {channel}"),
        }
    }

    /// Fails unless the events received from each node are those it published, in order, once, and
    /// without a gap; up to the last one, if `alive` has the node and nothing was dropped.
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
            let arrived: Vec<usize> = got.into_iter().filter(|n| *n >= self.since).collect();
            assert!(
                due.starts_with(&arrived),
                "of node {node} on {channel}: {arrived:?} of {due:?}"
            );
            if alive.is_some_and(|alive| alive.contains(&node)) {
                assert_eq!(arrived, due, "of node {node} on {channel}");
            }
        }
    }
}
