//! The Redis protocol (RESP3): encodes commands, and decodes what Redis sends. The `redis` crate does
//! both; this module limits the memory. The hub decides which commands to send.

pub mod cluster;
mod extent;
mod incoming;
pub mod login;
mod reply;

use std::io::{self, Read};

use crate::config::HostPort;
pub use cluster::{ClusterNode, SlotRange};
use extent::{Extent, Malformed};
pub use incoming::{Greeting, Incoming, ProtocolError};
use redis::{Parser, PushKind, Value};
pub use reply::Answer;
use reply::{answer, error_text, text};

/// Encodes a command.
pub fn command(words: &[&[u8]]) -> Vec<u8> {
    let Some((name, arguments)) = words.split_first() else { return Vec::new() };
    let mut command = redis::Cmd::with_capacity(words.len(), 64);
    command.arg(*name);
    arguments.iter().for_each(|word| _ = command.arg(*word));
    command.get_packed_command()
}

/// Encodes the command `name`, PUBLISH or SPUBLISH, up to the text, which has `len` bytes. The text
/// and a line break must follow: many commands can then share one text.
pub fn publish_head(name: &str, channel: &str, len: usize) -> Vec<u8> {
    let (name_len, channel_len) = (name.len(), channel.len());
    format!("*3\r\n${name_len}\r\n{name}\r\n${channel_len}\r\n{channel}\r\n${len}\r\n").into_bytes()
}

/// Decodes the bytes of a connection, split at any point.
pub struct Reader {
    parser: Parser,
    /// The progress of the value that is being received.
    extent: Extent,
    /// Whether that value is over the limit and therefore skipped.
    skips: bool,
    bytes_max: usize,
}

/// A complete value, or the rest of one that was skipped.
enum Received {
    Value(Value),
    TooLong { bytes: u64, head: Vec<u8> },
}

impl Reader {
    /// A reader for a new connection that accepts values of up to about `bytes_max` bytes. A longer
    /// message is skipped while it arrives; a longer reply is an error.
    pub fn new(bytes_max: usize) -> Self {
        Reader { parser: Parser::new(), extent: Extent::new(), skips: false, bytes_max }
    }

    /// Changes the limit for the following values.
    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// The next message in `bytes`, which is advanced past the bytes that were read; `None` if the
    /// message is incomplete.
    ///
    /// # Errors
    ///
    /// The connection cannot be used any more.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Incoming>, ProtocolError> {
        let received = self.receive(bytes)?;
        Ok(received.map(|received| match received {
            Received::Value(value) => incoming(value),
            Received::TooLong { bytes, head } => Incoming::TooLong { bytes, head },
        }))
    }

    /// Like [`Reader::next`], for connections without subscriptions: the next reply.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::next`].
    pub fn answer(&mut self, bytes: &mut &[u8]) -> Result<Option<Answer>, ProtocolError> {
        Ok(self.value(bytes)?.map(answer))
    }

    /// Like [`Reader::answer`], for the question of where the master is: the address, or `None` if
    /// the sentinel does not know a master of that name.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::next`].
    pub fn master(
        &mut self,
        bytes: &mut &[u8],
    ) -> Result<Option<Result<Option<HostPort>, String>>, ProtocolError> {
        Ok(self.value(bytes)?.map(|value| reply::master(&value)))
    }

    /// Like [`Reader::answer`], for a reply of names and values: the value with this name.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::next`].
    pub fn field(
        &mut self,
        bytes: &mut &[u8],
        name: &str,
    ) -> Result<Option<Result<Option<String>, String>>, ProtocolError> {
        Ok(self.value(bytes)?.map(|value| reply::field(&value, name)))
    }

    fn value(&mut self, bytes: &mut &[u8]) -> Result<Option<Value>, ProtocolError> {
        match self.receive(bytes)? {
            None => Ok(None),
            Some(Received::Value(value)) => Ok(Some(value)),
            Some(Received::TooLong { .. }) => Err(ProtocolError::TooLong(self.bytes_max)),
        }
    }

    fn receive(&mut self, bytes: &mut &[u8]) -> Result<Option<Received>, ProtocolError> {
        let bytes_max = self.bytes_max as u64;
        let followed = self.extent.follow(bytes, bytes_max);
        let (len, is_whole) = followed.map_err(|Malformed| ProtocolError::Malformed)?;
        let mut piece;
        (piece, *bytes) = bytes.split_at(len);
        if self.extent.bytes() > bytes_max && !self.skips {
            // Each reply belongs to a command, so none can be skipped.
            if !self.extent.is_push() {
                return Err(ProtocolError::TooLong(self.bytes_max));
            }
            (self.skips, self.parser) = (true, Parser::new());
        }
        let parsed = match self.skips {
            true => None,
            false => match self.parser.parse_value(Piece { bytes: &mut piece }) {
                Ok(value) => Some(value),
                Err(error) if error.is_timeout() => None,
                Err(_) => return Err(ProtocolError::Malformed),
            },
        };
        if !is_whole && parsed.is_none() {
            return Ok(None);
        }
        let extent = std::mem::replace(&mut self.extent, Extent::new());
        match (parsed, std::mem::take(&mut self.skips)) {
            (Some(value), _) if is_whole => Ok(Some(Received::Value(value))),
            (None, true) => {
                Ok(Some(Received::TooLong { bytes: extent.bytes(), head: extent.into_head() }))
            }
            // The parser and `Extent` do not agree on where the value ends.
            _ => Err(ProtocolError::Malformed),
        }
    }
}

fn incoming(value: Value) -> Incoming {
    match value {
        Value::Push { kind: PushKind::Message, mut data } => match data.pop() {
            Some(Value::BulkString(message)) => Incoming::Message(message),
            _ => Incoming::Other,
        },
        Value::Push { kind: PushKind::SMessage, mut data } => match data.pop() {
            Some(Value::BulkString(message)) => Incoming::ShardMessage(message),
            _ => Incoming::Other,
        },
        Value::Push { kind: PushKind::Subscribe | PushKind::SSubscribe, .. } => {
            Incoming::Subscribed
        }
        Value::Push { kind: PushKind::SUnsubscribe, .. } => Incoming::ShardMoved,
        Value::Push { .. } => Incoming::Other,
        Value::ServerError(error) => Incoming::Error(error_text(&error)),
        Value::Attribute { data, .. } => incoming(*data),
        Value::Int(number) => Incoming::Number(number),
        Value::Array(values) => reply::slots(&values).map_or(Incoming::Reply, Incoming::Slots),
        Value::Map(entries) => greeting(&entries).map_or(Incoming::Reply, Incoming::Greeting),
        _ => Incoming::Reply,
    }
}

fn greeting(entries: &[(Value, Value)]) -> Option<Greeting> {
    let entry = |name: &[u8]| {
        let entry = entries.iter().find(|(key, _)| text(key) == Some(name));
        entry.and_then(|(_, value)| text(value))
    };
    let mode = entry(b"mode")?;
    // "slave" is the old name of the role. A sentinel has none.
    let is_replica = matches!(entry(b"role"), Some(b"replica" | b"slave"));
    let [is_cluster, is_sentinel] = [&b"cluster"[..], b"sentinel"].map(|name| mode == name);
    Some(Greeting { is_replica, is_cluster, is_sentinel })
}

/// A part of the bytes of a connection. Its end is reported as `WouldBlock`, not as end of file.
struct Piece<'a, 'b> {
    bytes: &'a mut &'b [u8],
}

impl Read for Piece<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.bytes.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            len => Ok(len),
        }
    }
}

#[cfg(test)]
mod tests;
