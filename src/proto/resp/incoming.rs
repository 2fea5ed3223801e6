//! What Redis sends, and why a connection to it fails: the values that a reader returns. A build
//! without Redis has them, too.

use super::cluster::SlotRange;

/// A message that Redis has sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A published message on a channel that this connection is subscribed to.
    Message(Vec<u8>),
    /// A published message on a sharded channel of a Redis Cluster.
    ShardMessage(Vec<u8>),
    /// A subscription of this connection is confirmed.
    Subscribed,
    /// The server has ended the subscription of a sharded channel, because another server owns its
    /// slot now.
    ShardMoved,
    /// The reply to a command. Replies arrive in the order of the commands.
    Reply,
    /// A reply that is a number: for PUBLISH, the number of subscribers that received the message.
    Number(i64),
    /// The reply to HELLO, if it contains the mode of the server.
    Greeting(Greeting),
    /// The reply to CLUSTER SLOTS.
    Slots(Vec<SlotRange>),
    /// The error of a command that failed, in the words of Redis.
    Error(String),
    /// A message over the limit. Everything except the beginning of its text was skipped.
    TooLong {
        /// The length of the whole message.
        bytes: u64,
        /// The beginning of its text.
        head: Vec<u8>,
    },
    /// An unsolicited message that does not matter here.
    Other,
}

/// The role of a server, as the server reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Greeting {
    /// Whether the server is a replica of a master.
    pub is_replica: bool,
    /// Whether the server is part of a Redis Cluster, which delivers a message published at any
    /// server to the subscribers at all of them.
    pub is_cluster: bool,
    /// Whether the server is a sentinel, which only knows where the master is.
    pub is_sentinel: bool,
}

/// What happened, as the end of a sentence about the server.
impl std::fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ProtocolError::Malformed => f.write_str("the server does not speak the Redis protocol"),
            ProtocolError::TooLong(max) => write!(f, "a reply of more than {max} bytes"),
        }
    }
}

/// Why the connection cannot be used any more.
#[derive(Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// The bytes do not follow the Redis protocol.
    Malformed,
    /// A reply is longer than this many bytes.
    TooLong(usize),
}
