//! The publish/subscribe state of this node: apps, their channels and members, messages that are
//! yet to be sent, and what is known of other nodes. Sockets and outboxes are in
//! [`Connections`](super::connections::Connections).
//!
//! A membership is stored on both sides: in the channel's list of members and in the connection's
//! list of memberships. Every method keeps them consistent. A [`PubSub`] owns no connections:
//! methods that queue messages or read memberships take the `Connections` as an argument.

use std::collections::{HashMap, VecDeque};
use std::ops::{Index, IndexMut};
use std::rc::Rc;

use super::app::App;
use super::bus::Bus;
use super::ids::Now;
use super::log_throttle::{LogThrottle, Policy};
use super::pending_leaves::PendingLeaves;
use super::random::{Hashing, Random};
use crate::config::{Config, Limits};

/// All apps of a hub.
pub(crate) struct PubSub {
    pub apps: Apps,
    /// The indexes of the configured apps. A removed app keeps its index in `apps` but has no entry
    /// in these maps.
    pub by_id: HashMap<String, u32, Hashing>,
    pub by_key: HashMap<String, u32, Hashing>,
    /// The indexes of removed apps, by id.
    pub removed: HashMap<String, u32, Hashing>,
    pub limits: Limits,
    /// Leaves from presence channels that the members have not received yet.
    pub pending_leaves: PendingLeaves,
    /// Presence channels whose member list is stored in encoded form, by app and name.
    pub member_lists: Vec<(u32, Rc<str>)>,
    /// When to check next for encoded member lists that were not sent for a second.
    pub member_lists_ms: Option<u64>,
    /// Channels with a deferred subscription count, the earliest deadline first.
    pub counts_due: VecDeque<CountDue>,
    /// The connection to the other nodes; `None` for a single node.
    pub bus: Option<Box<Bus>>,
    /// Throttles the log lines about keys that belong to no app.
    pub unknown_key_log: LogThrottle,
}

/// A channel with a deferred subscription count, and when to send it.
#[derive(Debug)]
pub(crate) struct CountDue {
    pub ms: u64,
    pub app: u32,
    pub channel: Rc<str>,
}

impl PubSub {
    pub(super) fn new(config: &Config, random: &mut Random, now: Now) -> Self {
        let limits = config.limits.clone();
        let mut by_id = HashMap::with_hasher(random.hashing());
        let hashing = random.hashing();
        let mut by_key = HashMap::with_hasher(hashing);
        let mut apps = Vec::new();
        for (index, settings) in (0..).zip(&config.apps) {
            by_id.insert(settings.id.clone(), index);
            by_key.insert(settings.key.clone(), index);
            apps.push(App::new(settings.clone(), &limits, random));
        }
        PubSub {
            apps: Apps(apps),
            by_id,
            by_key,
            removed: HashMap::with_hasher(hashing),
            bus: Bus::new(config, random, now),
            limits,
            pending_leaves: PendingLeaves::default(),
            member_lists: Vec::new(),
            member_lists_ms: None,
            counts_due: VecDeque::new(),
            unknown_key_log: LogThrottle::new(Policy::ONE_A_MINUTE),
        }
    }

    /// Whether the configuration contains the app at this index.
    pub(super) fn is_served(&self, at: u32) -> bool {
        self.by_id.get(&self.apps[at].settings.id) == Some(&at)
    }
}

/// The apps, by index. An index stays valid, as no app is removed while the hub exists.
pub(crate) struct Apps(Vec<App>);

impl Apps {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(&self, index: u32) -> Option<&App> {
        self.0.get(index as usize)
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut App> {
        self.0.get_mut(index as usize)
    }

    pub(crate) fn push(&mut self, app: App) -> u32 {
        self.0.push(app);
        self.0.len() as u32 - 1
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &App> {
        self.0.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut App> {
        self.0.iter_mut()
    }

    /// The indexes of all apps.
    pub(crate) fn indexes(&self) -> std::ops::Range<u32> {
        0..self.0.len() as u32
    }
}

impl Index<u32> for Apps {
    type Output = App;

    fn index(&self, index: u32) -> &App {
        &self.0[index as usize]
    }
}

impl IndexMut<u32> for Apps {
    fn index_mut(&mut self, index: u32) -> &mut App {
        &mut self.0[index as usize]
    }
}
