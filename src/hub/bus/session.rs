//! The state machine of the connection to Redis: when to connect, the login, outstanding replies,
//! timeouts and retries. The other files of `bus` and `cluster` decide which messages are published
//! and handle received ones.

mod delivery;
mod login;
mod reach;

use std::collections::VecDeque;

use super::super::log_throttle::{LogThrottle, Policy};
use super::super::outbox::Outbox;
use super::super::random::Random;
use crate::config::{Limits, RedisTarget};
use crate::proto::resp::login::CREDENTIALS;
use crate::proto::resp::{self, Incoming, ProtocolError, Reader};
use crate::proto::shown::shown;
use crate::proto::websocket::Frame;
use login::login;
use reach::Reach;

/// What the owner of the socket to Redis must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusWant {
    /// Nothing.
    Nothing,
    /// Connect, and call [`Hub::bus_connected`](super::super::Hub::bus_connected) or
    /// [`Hub::bus_lost`](super::super::Hub::bus_lost).
    Connect,
    /// Close the socket.
    Drop,
}

/// The session with Redis.
pub(in crate::hub) struct RedisSession {
    state: State,
    outbox: Outbox,
    reader: Reader,
    /// Received bytes that are not parsed yet.
    held: Vec<u8>,
    /// Commands without a reply, the oldest first.
    unanswered: VecDeque<Unanswered>,
    /// The unanswered commands that publish for the first time, and those that retransmit.
    published: InFlight,
    retransmitted: InFlight,
    /// The login commands, each with the setting it depends on.
    login: Vec<(&'static str, Frame)>,
    channel: String,
    /// Whether the owner must still close the socket of a session that was aborted.
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
    /// Waiting for the socket to be connected.
    Connecting { since_ms: u64 },
    /// Connected, waiting for the replies to the login.
    LoggingIn { since_ms: u64 },
    /// Logged in and subscribed.
    Up,
}

struct Unanswered {
    at_ms: u64,
    len: usize,
    purpose: Purpose,
}

/// What a command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Part of the login, with the setting it depends on.
    Login(&'static str),
    /// Publishes a message for the first time.
    Publish,
    /// Retransmits an envelope.
    Retransmit,
    /// Asks for the role of the server.
    Role,
}

/// Commands whose replies are outstanding.
#[derive(Debug, Default, Clone, Copy)]
struct InFlight {
    commands: usize,
    bytes: usize,
}

/// The meaning of an input from Redis.
pub(in crate::hub) enum SessionEvent {
    /// A message on the channel.
    Message(Vec<u8>),
    /// A message that is too long: its length and the beginning of its text.
    TooLong(u64, Vec<u8>),
    /// The login is complete: this node receives everything published from now on.
    Up,
    /// Redis delivered a message to this many subscribers; `None` in a Redis Cluster, where the
    /// number counts those of one server only.
    Receivers(Option<usize>),
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
            outbox: Outbox::default(),
            reader: Reader::new(limits.reply_bytes),
            held: Vec::new(),
            unanswered: VecDeque::new(),
            published: InFlight::default(),
            retransmitted: InFlight::default(),
            login: login(target, channel),
            channel: channel.to_owned(),
            must_close: false,
            attempts: 0,
            logged: None,
            reach: Reach::default(),
            rejections: LogThrottle::new(Policy::ONE_AN_EPISODE),
            is_rejected: false,
            limits,
        }
    }

    /// Takes over the limits of a session that is dropped afterwards.
    pub(in crate::hub) fn take_limits(&mut self, other: &mut RedisSession) {
        std::mem::swap(&mut self.limits, &mut other.limits);
        self.reader.set_bytes_max(self.limits.reply_bytes);
    }

    pub(in crate::hub) fn is_up(&self) -> bool {
        self.state == State::Up
    }

    pub(in crate::hub) fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
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
            State::Connecting { .. } | State::LoggingIn { .. } => {
                (self.limits.connect_ms, "redis_connect_timeout_ms")
            }
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
        self.disconnected(&format!("no answer within {ms} ms (limits.{limit})"), random, now_ms);
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
            State::Connecting { since_ms } | State::LoggingIn { since_ms } => {
                Some(since_ms + self.limits.connect_ms)
            }
            State::Up => {
                let reply_ms =
                    self.unanswered.front().map(|command| command.at_ms + self.limits.reply_ms);
                [reply_ms, self.echo_due_ms()].into_iter().flatten().min()
            }
        }
    }

    /// The socket is connected: logs in.
    pub(in crate::hub) fn connected(&mut self, now_ms: u64) {
        self.state = State::LoggingIn { since_ms: now_ms };
        for at in 0..self.login.len() {
            let (about, frame) = &self.login[at];
            let (about, frame) = (*about, Frame::clone(frame));
            self.send(frame, Purpose::Login(about), now_ms);
        }
    }

    /// The socket could not be connected, or was closed: schedules the next attempt.
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
        let wait_ms =
            250_u64.saturating_mul(1 << self.attempts.min(16)).min(self.limits.retry_max_ms);
        let retry_ms = now_ms + wait_ms / 2 + random.below(wait_ms / 2 + 1);
        self.attempts += 1;
        self.state = State::Down { retry_ms };
        self.outbox.clear();
        self.unanswered.clear();
        (self.published, self.retransmitted) = Default::default();
        self.reach.reset();
        self.held = Vec::new();
        self.reader = Reader::new(self.limits.reply_bytes);
    }

    /// Whether the window has room to publish another envelope for the first time. With
    /// `retransmits`, half of the window is reserved for retransmissions.
    pub(in crate::hub) fn has_room(&self, retransmits: bool) -> bool {
        let share = if retransmits { 2 } else { 1 };
        self.is_up() && self.published.fits(share) && (retransmits || self.all_in_flight().fits(1))
    }

    /// Whether one more retransmission fits into half of the window.
    pub(in crate::hub) fn has_room_to_retransmit(&self) -> bool {
        self.is_up() && self.retransmitted.fits(2)
    }

    /// Whether replies to retransmissions are outstanding.
    pub(in crate::hub) fn is_retransmitting(&self) -> bool {
        self.retransmitted.commands > 0
    }

    fn all_in_flight(&self) -> InFlight {
        InFlight {
            commands: self.published.commands + self.retransmitted.commands,
            bytes: self.published.bytes + self.retransmitted.bytes,
        }
    }

    /// Sends a command that publishes for the first time.
    pub(in crate::hub) fn publish(&mut self, command: Frame, now_ms: u64) {
        self.send(command, Purpose::Publish, now_ms);
    }

    /// Sends a command that retransmits.
    pub(in crate::hub) fn retransmit(&mut self, command: Frame, now_ms: u64) {
        self.send(command, Purpose::Retransmit, now_ms);
    }

    /// The command that publishes a text.
    pub(in crate::hub) fn command(&self, text: &str) -> Frame {
        resp::command(&[b"PUBLISH", self.channel.as_bytes(), text.as_bytes()]).into()
    }

    fn send(&mut self, frame: Frame, purpose: Purpose, now_ms: u64) {
        let len = frame.len();
        self.unanswered.push_back(Unanswered { at_ms: now_ms, len, purpose });
        if let Some(flight) = self.flight(purpose) {
            (flight.commands, flight.bytes) = (flight.commands + 1, flight.bytes + len);
        }
        self.outbox.push(frame);
    }

    fn flight(&mut self, purpose: Purpose) -> Option<&mut InFlight> {
        match purpose {
            Purpose::Login(_) | Purpose::Role => None,
            Purpose::Publish => Some(&mut self.published),
            Purpose::Retransmit => Some(&mut self.retransmitted),
        }
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

    /// Parses the next input from Redis; `None` once all bytes are parsed.
    ///
    /// # Errors
    ///
    /// Why the connection is unusable.
    pub(in crate::hub) fn next_event(
        &mut self,
        bytes: &mut &[u8],
        now_ms: u64,
    ) -> Result<Option<SessionEvent>, String> {
        let event = self.reader.next(bytes).map_err(|error| match error {
            ProtocolError::Malformed => {
                "the server does not speak Redis' protocol; check REDIS_HOST, \
                 REDIS_PORT and REDIS_URL"
                    .to_owned()
            }
            ProtocolError::TooLong(max) => {
                format!("a reply is longer than {max} bytes; raise limits.redis_reply_bytes")
            }
        })?;
        Ok(match event {
            None => None,
            Some(Incoming::Message(text)) => Some(SessionEvent::Message(text)),
            Some(Incoming::TooLong { bytes, head }) => Some(SessionEvent::TooLong(bytes, head)),
            Some(Incoming::Subscribed) => {
                self.pop_unanswered();
                self.state = State::Up;
                self.attempts = 0;
                Some(SessionEvent::Up)
            }
            Some(Incoming::Greeting(greeting)) => {
                self.pop_unanswered();
                self.check_role(greeting)?;
                Some(SessionEvent::Nothing)
            }
            Some(Incoming::Reply) => Some(self.handle_success(None)),
            Some(Incoming::Number(number)) => Some(self.handle_success(Some(number))),
            Some(Incoming::Error(why)) => self.handle_error(&why, now_ms)?,
            Some(Incoming::Slots(_)) => Some(self.handle_success(None)),
            Some(Incoming::ShardMessage(_) | Incoming::ShardMoved | Incoming::Other) => {
                Some(SessionEvent::Nothing)
            }
        })
    }

    /// Handles the success of a command; `number` is its reply if that is a number.
    fn handle_success(&mut self, number: Option<i64>) -> SessionEvent {
        let Some(Purpose::Publish | Purpose::Retransmit) = self.pop_unanswered() else {
            return SessionEvent::Nothing;
        };
        if std::mem::take(&mut self.is_rejected) {
            log::info!("Redis accepts messages to other nodes again");
        }
        SessionEvent::Receivers(self.reach.receivers(number))
    }

    /// Handles the error reply to a command.
    fn handle_error(&mut self, why: &str, now_ms: u64) -> Result<Option<SessionEvent>, String> {
        let purpose = self.pop_unanswered();
        let shown = shown(why, 200);
        // If the query fails, the last known role stays valid.
        if purpose == Some(Purpose::Role) {
            return Ok(Some(SessionEvent::Nothing));
        }
        if let Some(Purpose::Login(setting)) = purpose {
            let code = why.split(' ').next().unwrap_or_default();
            return Err(match code {
                // HELLO exists since Redis 6.
                "ERR" if setting == CREDENTIALS && why.contains("unknown command") => {
                    format!("the server is older than version 6 ({shown}); upgrade it")
                }
                _ => format!("the login was rejected: {shown}; check {setting}"),
            });
        }
        let text = format_args!(
            "Redis rejects messages to other nodes: {shown}; check the permissions of \
             REDIS_USERNAME and the log of Redis"
        );
        self.is_rejected |= self.rejections.warn(now_ms, text);
        Ok(Some(SessionEvent::Nothing))
    }

    /// Removes the oldest command without a reply, and returns its purpose.
    fn pop_unanswered(&mut self) -> Option<Purpose> {
        let Unanswered { len, purpose, .. } = self.unanswered.pop_front()?;
        if let Some(flight) = self.flight(purpose) {
            (flight.commands, flight.bytes) = (flight.commands - 1, flight.bytes - len);
        }
        Some(purpose)
    }
}

impl InFlight {
    /// Whether one more command fits into the window divided by `share`.
    fn fits(self, share: usize) -> bool {
        self.commands < WINDOW / share && self.bytes < WINDOW_BYTES / share
    }
}

/// The most bytes and commands without a reply. The window keeps Redis busy over any network; more
/// output waits in the queue, which is limited.
const WINDOW_BYTES: usize = 1 << 20;
const WINDOW: usize = 1_024;

#[cfg(test)]
#[cfg(feature = "redis")]
mod tests;
