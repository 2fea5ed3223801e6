//! The Redis protocol (RESP3): encodes commands, and decodes what Redis sends. The `redis` crate does
//! both; this module limits the memory. The hub decides which commands to send.

mod extent;
mod incoming;
pub mod login;

use std::io::{self, Read};

use extent::{Extent, Malformed};
pub use incoming::{Greeting, Incoming, ProtocolError};
use redis::{Parser, PushKind, ServerError, Value};

/// Encodes a command.
pub fn command(words: &[&[u8]]) -> Vec<u8> {
    let Some((name, arguments)) = words.split_first() else { return Vec::new() };
    let mut command = redis::Cmd::with_capacity(words.len(), 64);
    command.arg(*name);
    arguments.iter().for_each(|word| _ = command.arg(*word));
    command.get_packed_command()
}

/// Encodes a PUBLISH command up to the text, which has `len` bytes. The text and a line break must
/// follow: many commands can then share one text.
pub fn publish_head(channel: &str, len: usize) -> Vec<u8> {
    format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{channel}\r\n${len}\r\n", channel.len()).into_bytes()
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
        match self.receive(bytes)? {
            None => Ok(None),
            Some(Received::Value(value)) => Ok(Some(answer(value))),
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
        Value::Push { kind: PushKind::Subscribe, .. } => Incoming::Subscribed,
        Value::Push { .. } => Incoming::Other,
        Value::ServerError(error) => Incoming::Error(error_text(&error)),
        Value::Attribute { data, .. } => incoming(*data),
        Value::Int(number) => Incoming::Number(number),
        Value::Map(entries) => greeting(&entries).map_or(Incoming::Reply, Incoming::Greeting),
        _ => Incoming::Reply,
    }
}

fn greeting(entries: &[(Value, Value)]) -> Option<Greeting> {
    let entry = |name: &[u8]| {
        let entry = entries.iter().find(|(key, _)| text(key) == Some(name));
        entry.and_then(|(_, value)| text(value))
    };
    // "slave" is the old name of the role.
    let is_replica = matches!(entry(b"role")?, b"replica" | b"slave");
    Some(Greeting { is_replica, is_cluster: entry(b"mode") == Some(b"cluster") })
}

fn text(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(text) => Some(text),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

/// A reply: its text, empty if the reply has another type; `None` for null; or the error.
pub type Answer = Result<Option<Vec<u8>>, String>;

fn answer(value: Value) -> Answer {
    match value {
        Value::BulkString(text) => Ok(Some(text)),
        Value::SimpleString(text) => Ok(Some(text.into_bytes())),
        Value::Nil => Ok(None),
        Value::ServerError(error) => Err(error_text(&error)),
        _ => Ok(Some(Vec::new())),
    }
}

fn error_text(error: &ServerError) -> String {
    match error.details() {
        Some(details) => format!("{} {details}", error.code()),
        None => error.code().to_owned(),
    }
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
mod tests {
    use super::*;

    const STREAM: &[u8] = b"%2\r\n+server\r\n+redis\r\n+proto\r\n:3\r\n+OK\r\n\
        >3\r\n$9\r\nsubscribe\r\n$6\r\nreverb\r\n:1\r\n\
        >3\r\n$7\r\nmessage\r\n$6\r\nreverb\r\n$5\r\nhe\r\nl\r\n:2\r\n\
        -NOPERM no permission\r\n>2\r\n+invalidate\r\n_\r\n";

    fn all(pieces: &[&[u8]]) -> Vec<Incoming> {
        let (mut reader, mut messages) = (Reader::new(1_000), Vec::new());
        for piece in pieces {
            let mut bytes = *piece;
            while let Some(message) = reader.next(&mut bytes).unwrap() {
                messages.push(message);
            }
            assert!(bytes.is_empty());
        }
        messages
    }

    #[test]
    fn messages_are_the_same_in_any_pieces() {
        let whole = all(&[STREAM]);
        assert_eq!(
            whole,
            [
                Incoming::Reply,
                Incoming::Reply,
                Incoming::Subscribed,
                Incoming::Message(b"he\r\nl".to_vec()),
                Incoming::Number(2),
                Incoming::Error("NOPERM no permission".into()),
                Incoming::Other,
            ]
        );
        for at in 1..STREAM.len() {
            assert_eq!(all(&[&STREAM[..at], &STREAM[at..]]), whole, "{at}");
        }
        assert_eq!(all(&STREAM.chunks(1).collect::<Vec<_>>()), whole);
    }

    #[test]
    fn a_server_names_its_role() {
        for (role, mode, is_replica, is_cluster) in [
            ("master", "standalone", false, false),
            ("replica", "standalone", true, false),
            ("slave", "standalone", true, false),
            ("replica", "cluster", true, true),
        ] {
            let hello = format!(
                "%4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n$4\r\nmode\r\n+{mode}\r\n\
                 $4\r\nrole\r\n${}\r\n{role}\r\n",
                role.len()
            );
            let greeting = Greeting { is_replica, is_cluster };
            assert_eq!(all(&[hello.as_bytes()]), [Incoming::Greeting(greeting)]);
        }
    }

    #[test]
    fn other_protocols_are_an_error() {
        for garbage in [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"\x16\x03\x01", b"*x\r\n"] {
            assert_eq!(Reader::new(1_000).next(&mut &garbage[..]), Err(ProtocolError::Malformed));
        }
        let mut reader = Reader::new(1_000);
        for bytes in [&b"*x\r\n"[..], b"+OK\r\n"] {
            assert_eq!(reader.next(&mut &bytes[..]), Err(ProtocolError::Malformed));
        }
    }

    #[test]
    fn a_reply_over_the_limit_is_an_error_before_it_is_stored() {
        let mut reader = Reader::new(1_000);
        assert_eq!(reader.next(&mut &b"$99999999\r\n"[..]), Err(ProtocolError::TooLong(1_000)));
        let mut reader = Reader::new(1_000);
        assert_eq!(reader.next(&mut &[b"+", &[b'x'; 900][..]].concat()[..]), Ok(None));
        assert_eq!(reader.next(&mut &[b'x'; 900][..]), Err(ProtocolError::TooLong(1_000)));
    }

    #[test]
    fn a_message_over_the_limit_is_skipped_and_the_next_is_read() {
        let text = [&b"head\r\n"[..], &[b'x'; 2_000]].concat();
        let push = |text: &[u8]| {
            let len = text.len();
            let begin = format!(">3\r\n$7\r\nmessage\r\n$6\r\nreverb\r\n${len}\r\n");
            [begin.as_bytes(), text, b"\r\n"].concat()
        };
        let stream =
            [&push(b"one")[..], b":1\r\n", &push(&text), b":2\r\n", &push(b"two")].concat();
        let bytes = push(&text).len() as u64;
        let expected = [
            Incoming::Message(b"one".to_vec()),
            Incoming::Number(1),
            Incoming::TooLong { bytes, head: text[..128].to_vec() },
            Incoming::Number(2),
            Incoming::Message(b"two".to_vec()),
        ];
        for len in [1, 2, 7, 100, 1_999, stream.len()] {
            assert_eq!(all(&stream.chunks(len).collect::<Vec<_>>()), expected, "{len}");
        }
        // A message of many small values is skipped as well.
        let many = format!(">1000\r\n{}:7\r\n", "_\r\n".repeat(1_000));
        let messages = all(&[many.as_bytes()]);
        assert_eq!(
            messages,
            [Incoming::TooLong { bytes: 3_007, head: Vec::new() }, Incoming::Number(7)]
        );
    }

    #[test]
    fn a_reply_is_a_text_null_or_an_error() {
        let mut bytes = &b"$3\r\nabc\r\n$-1\r\n_\r\n+stream\r\n-NOAUTH Log in.\r\n"[..];
        let mut reader = Reader::new(1_000);
        let mut next = || reader.answer(&mut bytes).unwrap().unwrap();
        assert_eq!(next(), Ok(Some(b"abc".to_vec())));
        assert_eq!([next(), next()], [Ok(None), Ok(None)]);
        assert_eq!(next(), Ok(Some(b"stream".to_vec())));
        assert_eq!(next(), Err("NOAUTH Log in.".into()));
    }

    #[test]
    fn a_command_is_an_array_of_words() {
        assert_eq!(command(&[b"SELECT", b"2"]), b"*2\r\n$6\r\nSELECT\r\n$1\r\n2\r\n");
    }
}
