//! One of the two connections of a session: its output, its input, and the commands whose replies
//! are outstanding. What the commands are for is decided in `session`.

use std::collections::VecDeque;

use super::super::super::outbox::Outbox;
use crate::proto::resp::{Incoming, ProtocolError, Reader};
use crate::proto::websocket::Frame;

/// A connection to Redis.
pub(in crate::hub) struct Link {
    pub outbox: Outbox,
    reader: Reader,
    /// Commands without a reply, the oldest first.
    unanswered: VecDeque<Unanswered>,
    /// The unanswered commands that publish for the first time, and those that resend.
    pub published: InFlight,
    pub resent: InFlight,
}

struct Unanswered {
    at_ms: u64,
    len: usize,
    purpose: Purpose,
}

/// What a command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum Purpose {
    /// Part of the login, with the setting it depends on.
    Login(&'static str),
    /// Subscribes to the sharded channel of a Redis Cluster.
    Shard,
    /// Asks for the servers of a Redis Cluster.
    Slots,
    /// Subscribes to the inbox of this node.
    Inbox,
    /// Publishes a message for the first time.
    Publish,
    /// Retransmits an envelope to all nodes.
    Retransmit,
    /// Publishes to the inbox of another node.
    ToInbox,
    /// Asks for the role of the server.
    Role,
}

/// Commands whose replies are outstanding.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::hub) struct InFlight {
    pub commands: usize,
    pub bytes: usize,
}

impl Link {
    pub(in crate::hub) fn new(reply_bytes: usize) -> Self {
        Link {
            outbox: Outbox::default(),
            reader: Reader::new(reply_bytes),
            unanswered: VecDeque::new(),
            published: InFlight::default(),
            resent: InFlight::default(),
        }
    }

    pub(in crate::hub) fn set_reply_bytes(&mut self, reply_bytes: usize) {
        self.reader.set_bytes_max(reply_bytes);
    }

    /// Sends a command in one or more parts.
    pub(in crate::hub) fn send<const N: usize>(
        &mut self,
        parts: [Frame; N],
        purpose: Purpose,
        now_ms: u64,
    ) {
        let len = parts.iter().map(|part| part.len()).sum();
        self.unanswered.push_back(Unanswered { at_ms: now_ms, len, purpose });
        if let Some(flight) = self.flight(purpose) {
            (flight.commands, flight.bytes) = (flight.commands + 1, flight.bytes + len);
        }
        parts.into_iter().for_each(|part| self.outbox.push(part));
    }

    /// Parses the next input; `None` once all bytes are parsed.
    pub(in crate::hub) fn next(
        &mut self,
        bytes: &mut &[u8],
    ) -> Result<Option<Incoming>, ProtocolError> {
        self.reader.next(bytes)
    }

    /// Removes the oldest command without a reply, and returns its purpose.
    pub(in crate::hub) fn pop_unanswered(&mut self) -> Option<Purpose> {
        let Unanswered { len, purpose, .. } = self.unanswered.pop_front()?;
        if let Some(flight) = self.flight(purpose) {
            (flight.commands, flight.bytes) = (flight.commands - 1, flight.bytes - len);
        }
        Some(purpose)
    }

    /// Whether all commands are answered.
    pub(in crate::hub) fn is_answered(&self) -> bool {
        self.unanswered.is_empty()
    }

    /// When the oldest command without a reply was sent.
    pub(in crate::hub) fn unanswered_ms(&self) -> Option<u64> {
        self.unanswered.front().map(|command| command.at_ms)
    }

    fn flight(&mut self, purpose: Purpose) -> Option<&mut InFlight> {
        match purpose {
            Purpose::Login(_) | Purpose::Inbox | Purpose::Role => None,
            Purpose::Shard | Purpose::Slots => None,
            Purpose::Publish => Some(&mut self.published),
            Purpose::Retransmit | Purpose::ToInbox => Some(&mut self.resent),
        }
    }
}

impl InFlight {
    /// Whether one more command fits into the window divided by `share`.
    pub(in crate::hub) fn fits(self, share: usize) -> bool {
        self.commands < WINDOW / share && self.bytes < WINDOW_BYTES / share
    }
}

/// The most bytes and commands without a reply. The window keeps Redis busy over any network; more
/// output waits in the queue, which is limited.
const WINDOW_BYTES: usize = 1 << 20;
const WINDOW: usize = 1_024;
