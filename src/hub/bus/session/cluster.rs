//! The session with a Redis Cluster. The shared channel and the inboxes have one slot, so one server
//! owns them all: sharded messages go through this server alone, while plain ones go through every
//! server of the cluster, which takes longer. The session finds the owner from any server, and
//! follows the slot. The servers are in `shards`.
//!
//! Servers before Redis 7, and nodes that are not configured for a cluster, know plain messages only.
//! Each node subscribes to both kinds. It announces itself in both, and publishes everything in both
//! while it knows a node of the other kind; sequence numbers tell the copies apart.

use super::shards::Shards;
use super::{BusLink, Purpose, RedisSession, SUBSCRIPTION, State};
use crate::config::HostPort;
use crate::proto::envelope::NodeId;
use crate::proto::resp::{self, ClusterNode, SlotRange};

impl RedisSession {
    /// The server of a Redis Cluster to connect to; `None` without a cluster.
    pub(in crate::hub) fn next_server(&mut self) -> Option<HostPort> {
        self.shards.as_mut().map(Shards::next_server)
    }

    /// Whether messages are sharded: Redis is a cluster that supports it.
    pub(in crate::hub) fn is_sharded(&self) -> bool {
        self.shards.as_ref().is_some_and(|shards| !shards.is_plain)
    }

    /// Whether this node publishes everything in both kinds.
    pub(in crate::hub) fn publishes_both(&self) -> bool {
        self.shards.as_ref().is_some_and(|shards| !shards.is_plain && shards.has_plain_nodes)
    }

    pub(in crate::hub) fn set_has_plain_nodes(&mut self, has_plain_nodes: bool) {
        if let Some(shards) = &mut self.shards {
            shards.has_plain_nodes = has_plain_nodes;
        }
    }

    /// The name of a node's inbox.
    pub(in crate::hub) fn inbox_of(&self, node: NodeId) -> String {
        match &self.shards {
            Some(shards) if !shards.is_plain => format!("{}:{node}", shards.inbox_prefix),
            _ => format!("{}:{node}", self.channel),
        }
    }

    /// Subscribes to the shared channel and to the inbox of this node.
    pub(in crate::hub) fn subscribe(&mut self, now_ms: u64) {
        if let Some(shards) = &mut self.shards {
            // The servers may have been upgraded.
            (shards.is_plain, shards.is_replica) = (false, false);
            let slots = resp::command(&[b"CLUSTER", b"SLOTS"]);
            self.subscriber.send([slots.into()], Purpose::Slots, now_ms);
            let channel = self.channel.clone();
            self.send_subscription(b"SSUBSCRIBE", &channel, Purpose::Shard, now_ms);
            let inbox = self.inbox_of(self.node);
            self.send_subscription(b"SSUBSCRIBE", &inbox, Purpose::Inbox, now_ms);
        }
        let channel = self.channel.clone();
        self.send_subscription(b"SUBSCRIBE", &channel, SUBSCRIPTION, now_ms);
        if self.shards.is_none() {
            self.subscribe_to_plain_inbox(now_ms);
        }
    }

    fn subscribe_to_plain_inbox(&mut self, now_ms: u64) {
        let inbox = self.inbox_of(self.node);
        self.send_subscription(b"SUBSCRIBE", &inbox, Purpose::Inbox, now_ms);
    }

    fn send_subscription(&mut self, name: &[u8], channel: &str, purpose: Purpose, now_ms: u64) {
        let command = resp::command(&[name, channel.as_bytes()]);
        self.subscriber.send([command.into()], purpose, now_ms);
    }

    /// The server does not know the command for sharded channels: everything is plain.
    pub(in crate::hub) fn go_on_without_shards(&mut self, now_ms: u64) {
        if let Some(shards) = self.shards.as_mut().filter(|shards| !shards.is_plain) {
            shards.is_plain = true;
            self.subscribe_to_plain_inbox(now_ms);
        }
    }

    /// Handles the role of a server of a Redis Cluster. A replica delivers, but only through its
    /// master: the session moves to the master once it knows its address.
    pub(in crate::hub) fn check_shard(&mut self, link: BusLink, is_replica: bool, now_ms: u64) {
        let Some(shards) = self.shards.as_mut().filter(|shards| !shards.is_plain) else { return };
        shards.is_replica = is_replica;
        // During the login the subscriber asks without knowing the role.
        if is_replica && self.state == State::Up {
            let slots = resp::command(&[b"CLUSTER", b"SLOTS"]);
            self.link(link).send([slots.into()], Purpose::Slots, now_ms);
        }
    }

    /// Handles the list of servers.
    ///
    /// # Errors
    ///
    /// Those of [`RedisSession::redirect`].
    pub(in crate::hub) fn take_slots(
        &mut self,
        ranges: &[SlotRange],
        now_ms: u64,
    ) -> Result<(), String> {
        let Some(shards) = &mut self.shards else { return Ok(()) };
        match shards.learn(ranges) {
            Some(owner) if shards.is_replica && owner != shards.current => {
                self.redirect(owner, now_ms)
            }
            _ => Ok(()),
        }
    }

    /// A server has named the one that owns the slot.
    ///
    /// # Errors
    ///
    /// Those of [`RedisSession::redirect`].
    pub(in crate::hub) fn moved(&mut self, node: &ClusterNode, now_ms: u64) -> Result<(), String> {
        let Some(shards) = &self.shards else { return Ok(()) };
        self.redirect(shards.resolve(node), now_ms)
    }

    /// The server has ended the subscription, because it no longer owns the slot. It knows the new
    /// owner when it is asked again.
    ///
    /// # Errors
    ///
    /// Those of [`RedisSession::redirect`].
    pub(in crate::hub) fn subscription_ended(&mut self, now_ms: u64) -> Result<(), String> {
        let Some(shards) = &self.shards else { return Ok(()) };
        self.redirect(shards.current.clone(), now_ms)
    }

    /// Connects to another server at once.
    ///
    /// # Errors
    ///
    /// Too many servers in a row have named another.
    fn redirect(&mut self, owner: HostPort, now_ms: u64) -> Result<(), String> {
        let Some(shards) = &mut self.shards else { return Ok(()) };
        // Two commands of one connection may fail for the same reason.
        if let State::Down { .. } = self.state {
            return Ok(());
        }
        shards.redirects += 1;
        if shards.redirects > REDIRECTS_MAX {
            shards.redirects = 0;
            return Err(format!(
                "{REDIRECTS_MAX} servers of the Redis Cluster in a row have named another as the \
                 owner of the channel, the last of them {owner}; check the state of the cluster \
                 with `redis-cli --cluster check`"
            ));
        }
        log::debug!("Redis Cluster: connecting to {owner}, which owns the channel");
        shards.owner = Some(owner);
        self.reset();
        // The hub has no deadline in the past, so this is the earliest time.
        self.state = State::Down { retry_ms: now_ms + 1 };
        self.must_close = true;
        Ok(())
    }
}

/// The most redirections in a row. A server that has lost the slot names its owner, so one
/// redirection is usual, and two while a slot moves.
const REDIRECTS_MAX: u32 = 5;
