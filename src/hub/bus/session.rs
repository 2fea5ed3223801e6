//! The session with Redis: when to connect, the login, timeouts and retries. It has two connections,
//! which begin and end together: the *subscriber* receives what nodes publish, and the *publisher*
//! sends. With one connection, the replies to commands would wait behind all messages that Redis has
//! yet to send, and a node behind a slow network could publish nothing. The other files of `bus` and
//! `cluster` decide which messages are published and handle received ones.

mod cluster;
mod delivery;
mod failover;
mod inbox;
mod inboxes;
mod link;
mod login;
mod publish;
mod reach;
mod shards;

use super::super::log_throttle::{LogThrottle, Policy};
use super::super::outbox::Outbox;
use super::super::random::Random;
use crate::config::{Limits, RedisTarget, Transport};
use crate::proto::envelope::NodeId;
use crate::proto::resp::{self, Incoming, ProtocolError};
use crate::proto::shown::shown;
use crate::proto::websocket::Frame;
use inbox::Inbox;
use link::{Link, Purpose};
use login::{SUBSCRIPTION, login};
use reach::Reach;
use shards::Shards;

/// What the owner of the sockets to Redis must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusWant {
    /// Nothing.
    Nothing,
    /// Connect both sockets to the same server, and call
    /// [`Hub::bus_connected`](super::super::Hub::bus_connected) or
    /// [`Hub::bus_lost`](super::super::Hub::bus_lost).
    Connect,
    /// Close both sockets.
    Drop,
}

/// One of the two connections to Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusLink {
    /// Receives the messages of the nodes.
    Subscriber,
    /// Publishes the messages of this node.
    Publisher,
}

impl BusLink {
    /// Both connections.
    pub const ALL: [BusLink; 2] = [BusLink::Subscriber, BusLink::Publisher];
}

/// The session with Redis.
pub(in crate::hub) struct RedisSession {
    state: State,
    subscriber: Link,
    publisher: Link,
    /// Received bytes of the subscriber that are not parsed yet.
    held: Vec<u8>,
    /// The login commands of each connection, each with the setting it depends on.
    login: Vec<(&'static str, Frame)>,
    channel: String,
    /// The id of this node, from the first connection on.
    node: NodeId,
    inbox: Inbox,
    /// The servers of a Redis Cluster, if Redis is one.
    shards: Option<Shards>,
    /// Whether sentinels name the server.
    is_by_sentinel: bool,
    /// Whether the owner must still close the sockets of a session that was aborted.
    must_close: bool,
    /// Attempts to connect since the last completed login.
    attempts: u32,
    /// The last logged reason of a disconnect, so that a repeated reason is not logged again.
    logged: Option<String>,
    /// Whether messages of this node are delivered.
    reach: Reach,
    /// Throttles the log lines about commands that Redis rejects.
    rejections: LogThrottle,
    /// Whether a rejection was logged and no success since.
    is_rejected: bool,
    /// Whether it was logged that Redis does not permit inboxes.
    is_refusal_logged: bool,
    limits: SessionLimits,
}

struct SessionLimits {
    connect_ms: u64,
    reply_ms: u64,
    retry_max_ms: u64,
    reply_bytes: usize,
    /// Milliseconds within which this node must receive its own messages.
    echo_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not connected; `retry_ms` is the time of the next attempt.
    Down { retry_ms: u64 },
    /// Waiting for the sockets to be connected.
    Connecting { since_ms: u64 },
    /// Connected, waiting for the replies to the login.
    LoggingIn { since_ms: u64 },
    /// Logged in and subscribed.
    Up,
}

/// The meaning of an input from Redis.
pub(in crate::hub) enum SessionEvent {
    /// A message on the channel or in the inbox.
    Message(Vec<u8>),
    /// A message that is too long: its length and the beginning of its text.
    TooLong(u64, Vec<u8>),
    /// The login is complete: this node receives everything published from now on.
    Up,
    /// Redis delivered a message to this many subscribers; `None` in a Redis Cluster, where the
    /// number counts those of one server only.
    Receivers(Option<usize>),
    /// Redis does not permit messages to the inboxes of other nodes.
    NoInboxes,
    /// Nothing to do.
    Nothing,
}

impl RedisSession {
    pub(in crate::hub) fn new(target: &RedisTarget, channel: &str, limits: &Limits) -> Self {
        let limits = SessionLimits {
            connect_ms: limits.redis_connect_timeout_ms.into(),
            reply_ms: limits.redis_reply_timeout_ms.into(),
            retry_max_ms: limits.redis_retry_max_ms.into(),
            reply_bytes: limits.redis_reply_bytes as usize,
            echo_ms: limits.node_lease_ms.max(limits.redis_reply_timeout_ms).into(),
        };
        RedisSession {
            state: State::Down { retry_ms: 0 },
            subscriber: Link::new(limits.reply_bytes),
            publisher: Link::new(limits.reply_bytes),
            held: Vec::new(),
            login: login(target),
            channel: channel.to_owned(),
            node: NodeId(0),
            inbox: Inbox::default(),
            shards: Shards::new(target, channel),
            is_by_sentinel: matches!(target.transport, Transport::Sentinel(_)),
            must_close: false,
            attempts: 0,
            logged: None,
            reach: Reach::default(),
            rejections: LogThrottle::new(Policy::ONE_AN_EPISODE),
            is_rejected: false,
            is_refusal_logged: false,
            limits,
        }
    }

    /// Takes over the limits of a session that is dropped afterwards.
    pub(in crate::hub) fn take_limits(&mut self, other: &mut RedisSession) {
        std::mem::swap(&mut self.limits, &mut other.limits);
        self.subscriber.set_reply_bytes(self.limits.reply_bytes);
        self.publisher.set_reply_bytes(self.limits.reply_bytes);
    }

    pub(in crate::hub) fn is_up(&self) -> bool {
        self.state == State::Up
    }

    pub(in crate::hub) fn outbox(&mut self, link: BusLink) -> &mut Outbox {
        &mut self.link(link).outbox
    }

    fn link(&mut self, link: BusLink) -> &mut Link {
        match link {
            BusLink::Subscriber => &mut self.subscriber,
            BusLink::Publisher => &mut self.publisher,
        }
    }

    pub(in crate::hub) fn channel(&self) -> &str {
        &self.channel
    }

    /// What the owner of the socket must do now.
    pub(in crate::hub) fn wants(&mut self, random: &mut Random, now_ms: u64) -> BusWant {
        let is_due = self.next_ms().is_some_and(|due_ms| now_ms >= due_ms);
        let (ms, limit) = match self.state {
            _ if std::mem::take(&mut self.must_close) => return BusWant::Drop,
            _ if !is_due => return BusWant::Nothing,
            State::Down { .. } => {
                self.state = State::Connecting { since_ms: now_ms };
                return BusWant::Connect;
            }
            State::Connecting { .. } => (self.limits.connect_ms, "redis_connect_timeout_ms"),
            State::LoggingIn { .. } => (self.login_ms(), "redis_connect_timeout_ms"),
            State::Up if self.is_echo_late(now_ms) => {
                let echo_ms = self.limits.echo_ms;
                let why = format!(
                    "this node has not received its own messages within {echo_ms} ms \
                     (limits.node_lease_ms), so other nodes do not receive them either; check the \
                     permissions of REDIS_USERNAME and any proxy between this node and Redis"
                );
                self.disconnected(&why, random, now_ms);
                return BusWant::Drop;
            }
            State::Up => (self.limits.reply_ms, "redis_reply_timeout_ms"),
        };
        // Where another server may take over, the first logins have less time than the limit.
        let is_limit = limit != "redis_connect_timeout_ms" || ms == self.limits.connect_ms;
        let why = match is_limit {
            true => format!("no answer within {ms} ms (limits.{limit})"),
            false => "no answer to the login".to_owned(),
        };
        self.disconnected(&why, random, now_ms);
        BusWant::Drop
    }

    /// Ends the session: its connection is unusable.
    pub(in crate::hub) fn abort(&mut self, why: &str, random: &mut Random, now_ms: u64) {
        self.disconnected(why, random, now_ms);
        self.must_close = true;
    }

    /// When [`RedisSession::wants`] has something to do, if nothing happens before.
    pub(in crate::hub) fn next_ms(&self) -> Option<u64> {
        match self.state {
            State::Down { retry_ms } => Some(retry_ms),
            State::Connecting { since_ms } => Some(since_ms + self.limits.connect_ms),
            State::LoggingIn { since_ms } => Some(since_ms + self.login_ms()),
            State::Up => {
                let links = [&self.subscriber, &self.publisher];
                let sent_ms = links.into_iter().filter_map(Link::unanswered_ms).min();
                let reply_ms = sent_ms.map(|sent_ms| sent_ms + self.limits.reply_ms);
                [reply_ms, self.echo_due_ms()].into_iter().flatten().min()
            }
        }
    }

    /// The sockets are connected: logs in. `node` is the id of this node.
    pub(in crate::hub) fn connected(&mut self, node: NodeId, now_ms: u64) {
        (self.state, self.node) = (State::LoggingIn { since_ms: now_ms }, node);
        for at in 0..self.login.len() {
            let (setting, frame) = (self.login[at].0, Frame::clone(&self.login[at].1));
            self.subscriber.send([Frame::clone(&frame)], Purpose::Login(setting), now_ms);
            self.publisher.send([frame], Purpose::Login(setting), now_ms);
        }
        self.subscribe(now_ms);
    }

    /// A socket could not be connected, or was closed: schedules the next attempt.
    pub(in crate::hub) fn disconnected(&mut self, why: &str, random: &mut Random, now_ms: u64) {
        if let State::Down { .. } = self.state {
            return;
        }
        if self.logged.as_deref() != Some(why) {
            log::warn!(
                "Redis: {why}; serving local clients only until it is reachable, and buffering \
                 messages for other nodes within REDIS_TIMEOUT and limits.bus_queue_bytes"
            );
            self.logged = Some(why.to_owned());
        }
        // The pause starts at a quarter of a second and doubles with each attempt. Each node waits
        // for a random part of it, at least half, so that not all nodes connect at once.
        let wait_ms = 250_u64.saturating_mul(1 << self.attempts.min(16)).min(self.retry_max_ms());
        let retry_ms = now_ms + wait_ms / 2 + random.below(wait_ms / 2 + 1);
        self.attempts += 1;
        self.state = State::Down { retry_ms };
        self.reset();
    }

    /// Drops everything that belongs to the connections.
    fn reset(&mut self) {
        self.subscriber = Link::new(self.limits.reply_bytes);
        self.publisher = Link::new(self.limits.reply_bytes);
        self.reach.reset();
        self.inbox = Inbox::default();
        self.held = Vec::new();
    }

    /// Holds received bytes until they are parsed.
    pub(in crate::hub) fn hold(&mut self, bytes: &[u8]) {
        self.held = bytes.to_vec();
    }

    pub(in crate::hub) fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    pub(in crate::hub) fn take_held(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// Parses the next input from a connection to Redis; `None` once all bytes are parsed.
    ///
    /// # Errors
    ///
    /// Why the session is unusable.
    pub(in crate::hub) fn next_event(
        &mut self,
        link: BusLink,
        bytes: &mut &[u8],
        now_ms: u64,
    ) -> Result<Option<SessionEvent>, String> {
        if let State::Down { .. } | State::Connecting { .. } = self.state {
            // The session was ended or redirected, and these bytes belong to its last connections.
            *bytes = &[];
        }
        let incoming = self.link(link).next(bytes).map_err(|error| match error {
            ProtocolError::Malformed => {
                "the server does not speak Redis' protocol; check REDIS_HOST, \
                 REDIS_PORT and REDIS_URL"
                    .to_owned()
            }
            ProtocolError::TooLong(max) => {
                format!("a reply is longer than {max} bytes; raise limits.redis_reply_bytes")
            }
        })?;
        let Some(incoming) = incoming else { return Ok(None) };
        let event = match incoming {
            Incoming::Message(text) => {
                self.reach.is_plain_copy = self.is_sharded();
                SessionEvent::Message(text)
            }
            Incoming::ShardMessage(text) => {
                self.reach.is_plain_copy = false;
                SessionEvent::Message(text)
            }
            Incoming::ShardMoved => {
                self.subscription_ended(now_ms)?;
                SessionEvent::Nothing
            }
            Incoming::Slots(ranges) => {
                self.link(link).pop_unanswered();
                self.take_slots(&ranges, now_ms)?;
                SessionEvent::Nothing
            }
            Incoming::TooLong { bytes, head } => SessionEvent::TooLong(bytes, head),
            Incoming::Subscribed => {
                self.inbox.is_open |= self.link(link).pop_unanswered() == Some(Purpose::Inbox);
                SessionEvent::Nothing
            }
            Incoming::Greeting(greeting) => {
                self.link(link).pop_unanswered();
                self.check_role(greeting)?;
                self.check_shard(link, greeting.is_replica, now_ms);
                SessionEvent::Nothing
            }
            Incoming::Reply => self.handle_success(link, None),
            Incoming::Number(number) => self.handle_success(link, Some(number)),
            Incoming::Error(why) => self.handle_error(link, &why, now_ms)?,
            Incoming::Other => SessionEvent::Nothing,
        };
        Ok(Some(if self.complete_login() { SessionEvent::Up } else { event }))
    }

    /// Whether the login has just become complete: all of its commands are answered.
    fn complete_login(&mut self) -> bool {
        let is_logging_in = matches!(self.state, State::LoggingIn { .. });
        let is_complete =
            is_logging_in && self.subscriber.is_answered() && self.publisher.is_answered();
        if is_complete {
            (self.state, self.attempts) = (State::Up, 0);
            self.shards.iter_mut().for_each(Shards::logged_in);
        }
        is_complete
    }

    /// Handles the success of a command; `number` is its reply if that is a number.
    fn handle_success(&mut self, link: BusLink, number: Option<i64>) -> SessionEvent {
        match self.link(link).pop_unanswered() {
            Some(Purpose::Publish | Purpose::Retransmit) => {}
            _ => return SessionEvent::Nothing,
        }
        if std::mem::take(&mut self.is_rejected) {
            log::info!("Redis accepts messages to other nodes again");
        }
        SessionEvent::Receivers(self.reach.receivers(number))
    }

    /// Handles the error reply to a command.
    fn handle_error(
        &mut self,
        link: BusLink,
        why: &str,
        now_ms: u64,
    ) -> Result<SessionEvent, String> {
        let shown = shown(why, 200);
        let purpose = self.link(link).pop_unanswered();
        if let Some(node) = resp::cluster::moved(why).filter(|_| self.shards.is_some()) {
            return self.moved(&node, now_ms).map(|()| SessionEvent::Nothing);
        }
        if why.starts_with("CLUSTERDOWN") {
            return Err(format!("the Redis Cluster is down: {shown}"));
        }
        match purpose {
            // If the query fails, the last known role and the known servers stay valid.
            Some(Purpose::Role | Purpose::Slots) => Ok(SessionEvent::Nothing),
            Some(Purpose::Shard) if why.contains("unknown command") => {
                self.go_on_without_shards(now_ms);
                Ok(SessionEvent::Nothing)
            }
            Some(Purpose::Inbox) if why.contains("unknown command") => Ok(SessionEvent::Nothing),
            Some(Purpose::Shard) => Err(login::rejected("REVERB_SCALING_CHANNEL", why)),
            Some(Purpose::Login(setting)) => Err(login::rejected(setting, why)),
            Some(Purpose::Inbox) => {
                self.warn_of_inboxes(&shown);
                Ok(SessionEvent::Nothing)
            }
            Some(Purpose::ToInbox) if why.starts_with("NOPERM") => {
                self.warn_of_inboxes(&shown);
                self.inbox.are_refused = true;
                Ok(SessionEvent::NoInboxes)
            }
            _ => {
                let text = format_args!(
                    "Redis rejects messages to other nodes: {shown}; check the permissions of \
                     REDIS_USERNAME and the log of Redis"
                );
                self.is_rejected |= self.rejections.warn(now_ms, text);
                Ok(SessionEvent::Nothing)
            }
        }
    }
}

/// Ends a command, so that a queued text and its line break are one part of it.
pub(in crate::hub) const LINE_END: &str = "\r\n";

#[cfg(test)]
#[cfg(feature = "redis")]
mod tests;
