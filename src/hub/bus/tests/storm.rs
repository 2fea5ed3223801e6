//! A hundred seeds of everything at once: clients come, go and whisper while connections are
//! cut, Redis stops and starts, publishes are doubled, nodes die and are added. Afterwards every
//! node must know what a naive model knows, and no client may have heard anything wrong.
//! `SIM_SEED=7` plays one seed again; `SIM_SEEDS=10000` plays more.

use std::collections::{BTreeMap, BTreeSet};

use super::cluster::Cluster;
use crate::hub::ConnId;

const USERS: u64 = 5;
const STEPS: usize = 250;

/// A client that stays, and writes down what it hears.
struct Witness {
    node: usize,
    id: ConnId,
    /// The last number it heard of each node.
    heard: BTreeMap<u32, u32>,
    /// What the others had said when it came.
    before: BTreeMap<usize, u32>,
    users: BTreeSet<String>,
    /// Whispers of its own.
    said: u32,
}

struct Storm {
    cluster: Cluster,
    random: u64,
    witnesses: Vec<Witness>,
    /// Members of the presence channel that come and go: node, connection, user.
    members: Vec<(usize, ConnId, u64)>,
    /// Subscribers of plain channels: node, connection, channel.
    others: Vec<(usize, ConnId, u64)>,
    alive: Vec<usize>,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let cluster = Cluster::new(3);
        let (witnesses, members, others) = (Vec::new(), Vec::new(), Vec::new());
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut storm = Storm { cluster, random, witnesses, members, others, alive: vec![0, 1, 2] };
        (0..3).for_each(|node| storm.watch(node));
        storm
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % end
    }

    fn some_node(&mut self) -> usize {
        let at = self.below(self.alive.len() as u64) as usize;
        self.alive[at]
    }

    /// Puts a witness at a node.
    fn watch(&mut self, node: usize) {
        let id = self.cluster.member(node, "presence-p", &format!("w{node}"));
        self.cluster.settle();
        let before = self.witnesses.iter().map(|other| (other.node, other.said)).collect();
        let (heard, users) = (BTreeMap::new(), BTreeSet::new());
        self.witnesses.push(Witness { node, id, heard, before, users, said: 0 });
    }

    fn step(&mut self) {
        match self.below(100) {
            0..20 => {
                let (node, user) = (self.some_node(), self.below(USERS));
                let id = self.cluster.member(node, "presence-p", &user.to_string());
                self.members.push((node, id, user));
            }
            20..38 if !self.members.is_empty() => {
                let at = self.below(self.members.len() as u64) as usize;
                let (node, id, _) = self.members.swap_remove(at);
                self.cluster.close(node, id);
            }
            38..48 => {
                let (node, channel) = (self.some_node(), self.below(4));
                let id = self.cluster.member(node, &format!("c{channel}"), "");
                self.others.push((node, id, channel));
            }
            48..56 if !self.others.is_empty() => {
                let at = self.below(self.others.len() as u64) as usize;
                let (node, id, _) = self.others.swap_remove(at);
                self.cluster.close(node, id);
            }
            56..76 => self.whisper(),
            76..79 => {
                let node = self.some_node();
                self.cluster.cut(node);
            }
            79 => self.cluster.stop_redis(),
            80..83 => self.cluster.is_up = true,
            83 => self.cluster.doubles = !self.cluster.doubles,
            84 if self.alive.len() > 1 && self.below(4) == 0 => self.kill(),
            85 if self.cluster.nodes.len() < 8 && self.cluster.is_up && self.below(2) == 0 => {
                self.cluster.add(|limits| limits.node_lease_ms = 5_000);
                let node = self.cluster.nodes.len() - 1;
                self.alive.push(node);
                self.cluster.pass(500);
                self.watch(node);
            }
            86..93 => {
                let node = self.some_node();
                self.cluster.turn(node);
            }
            _ => {
                let ms = self.below(1_500);
                self.cluster.pass(ms);
            }
        }
        self.listen();
    }

    fn whisper(&mut self) {
        let at = self.below(self.witnesses.len() as u64) as usize;
        let Witness { node, id, said, .. } = &mut self.witnesses[at];
        *said += 1;
        let data = *node as u32 * 1_000_000 + *said;
        let (node, id) = (*node, *id);
        self.cluster.whisper(node, id, "presence-p", data);
    }

    /// A node that ends without a word, with all its clients.
    fn kill(&mut self) {
        let at = self.below(self.alive.len() as u64) as usize;
        let node = self.alive.swap_remove(at);
        self.cluster.kill(node);
        self.witnesses.retain(|witness| witness.node != node);
        self.members.retain(|member| member.0 != node);
        self.others.retain(|other| other.0 != node);
    }

    /// Every witness reads what has come.
    fn listen(&mut self) {
        for witness in &mut self.witnesses {
            let said = self.cluster.said(witness.node, witness.id);
            for message in said.split(r#"{"event":""#).skip(1) {
                witness.hear(message);
            }
        }
    }

    fn quiet(&mut self) {
        self.cluster.is_up = true;
        self.cluster.doubles = false;
        self.cluster.pass(25_000);
        self.listen();
    }

    /// What everybody must know.
    fn check(&self) {
        let mut users: BTreeSet<String> = self.members.iter().map(|m| m.2.to_string()).collect();
        users.extend(self.witnesses.iter().map(|witness| format!("w{}", witness.node)));
        let mut expected: BTreeMap<String, (u64, Vec<String>)> = BTreeMap::new();
        let count = (self.members.len() + self.witnesses.len()) as u64;
        expected.insert("presence-p".into(), (count, users.iter().cloned().collect()));
        for (_, _, channel) in &self.others {
            expected.entry(format!("c{channel}")).or_insert((0, Vec::new())).0 += 1;
        }
        let expected: Vec<_> =
            expected.into_iter().map(|(name, (n, ids))| (name, n, ids)).collect();
        let connections = count + self.others.len() as u64;
        for &node in &self.alive {
            assert_eq!(self.cluster.view(node), expected, "node {node}");
            assert_eq!(self.cluster.connections(node), connections, "node {node}");
        }
        for witness in &self.witnesses {
            assert_eq!(witness.users, users, "the witness at node {}", witness.node);
            for other in self.witnesses.iter().filter(|other| other.node != witness.node) {
                let before = witness.before.get(&other.node).copied().unwrap_or(0);
                let heard = witness.heard.get(&(other.node as u32)).copied().unwrap_or(before);
                assert_eq!(heard, other.said, "node {} of {}", witness.node, other.node);
            }
        }
    }
}

impl Witness {
    fn hear(&mut self, message: &str) {
        let between = |start: &str, end: char| {
            message.split(start).nth(1).and_then(|rest| rest.split(end).next())
        };
        let user = || between(r#"\"user_id\":\""#, '\\').unwrap().to_owned();
        if message.starts_with("client-e") {
            let number: u32 = between(r#""data":"#, ',').unwrap().parse().unwrap();
            let (from, number) = (number / 1_000_000, number % 1_000_000);
            // A witness that came later begins in the middle.
            let last = self.heard.entry(from).or_insert(number - 1);
            assert_eq!(number, *last + 1, "node {} of node {from}", self.node);
            *last = number;
        } else if message.starts_with("pusher_internal:subscription_succeeded") {
            let ids = between(r#"\"ids\":["#, ']').unwrap();
            self.users = ids.split(',').map(|id| id.trim_matches(['\\', '"']).to_owned()).collect();
        } else if message.starts_with("pusher_internal:member_added") {
            assert!(self.users.insert(user()), "added twice: {message}");
        } else if message.starts_with("pusher_internal:member_removed") {
            assert!(self.users.remove(&user()), "removed twice: {message}");
        }
    }
}

fn play(seed: u64) {
    let mut storm = Storm::new(seed);
    (0..STEPS).for_each(|_| storm.step());
    storm.quiet();
    storm.check();
}

#[test]
fn after_any_storm_all_nodes_agree_and_nobody_heard_anything_wrong() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    if let Some(seed) = number("SIM_SEED") {
        return play(seed);
    }
    for seed in 0..number("SIM_SEEDS").unwrap_or(100) {
        if let Err(panic) = std::panic::catch_unwind(|| play(seed)) {
            eprintln!("SIM_SEED={seed} plays it again");
            std::panic::resume_unwind(panic);
        }
    }
}
