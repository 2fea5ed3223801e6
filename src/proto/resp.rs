//! Redis' protocol (RESP3): commands to bytes, and bytes to what Redis says. Both are the `redis`
//! crate's; which command is sent when is the business of the hub.

mod extent;
pub mod login;

use std::io::{self, Read};

use extent::{Extent, Garbage};
use redis::{Parser, PushKind, ServerError, Value};

/// Something Redis says.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// A message on a channel this connection is subscribed to.
    Message(Vec<u8>),
    /// This connection is subscribed.
    Subscribed,
    /// The answer to a command, in the order of the commands.
    Reply,
    /// The answer to a command that is a number: for PUBLISH, the subscribers it reached.
    Number(i64),
    /// The answer to HELLO, if it contains the role of the server.
    Greeting(Greeting),
    /// The answer to a command that failed, as Redis words it.
    Failed(String),
    /// A message that was longer than allowed. All but the beginning of its text was skipped.
    TooLong {
        /// The length of the whole message.
        bytes: u64,
        /// The beginning of its text.
        head: Vec<u8>,
    },
    /// Something that was not asked for and does not matter.
    Other,
}

/// The role of a server, as it reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Greeting {
    /// Whether the server is a replica of a master.
    pub is_replica: bool,
    /// Whether it is part of a Redis Cluster, which delivers a message published at any server to
    /// the subscribers at all of them.
    pub is_cluster: bool,
}

/// A command as bytes.
pub fn command(words: &[&[u8]]) -> Vec<u8> {
    let Some((name, arguments)) = words.split_first() else { return Vec::new() };
    let mut command = redis::Cmd::with_capacity(words.len(), 64);
    command.arg(*name);
    arguments.iter().for_each(|word| _ = command.arg(*word));
    command.get_packed_command()
}

/// Takes bytes apart that come in any pieces.
pub struct Reader {
    parser: Parser,
    /// The progress of the value that is being received.
    extent: Extent,
    /// Whether that value is too long and is skipped.
    passes: bool,
    bytes_max: usize,
}

/// A value that was received completely.
enum Come {
    Value(Value),
    TooLong { bytes: u64, head: Vec<u8> },
}

/// Why what came cannot be Redis, or is more of it than allowed.
#[derive(Debug, PartialEq, Eq)]
pub enum Broken {
    /// Not its protocol.
    Garbage,
    /// An answer longer than this many bytes.
    TooLong(usize),
}

impl Reader {
    /// A reader for the beginning of a connection, which accepts values of up to about `bytes_max`
    /// bytes. A longer message is skipped while it is received; a longer answer is an error.
    pub fn new(bytes_max: usize) -> Self {
        Reader { parser: Parser::new(), extent: Extent::new(), passes: false, bytes_max }
    }

    /// Accepts values of up to about so many bytes from now on.
    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// The next thing said in these bytes, which are advanced past what was looked at; `None` when
    /// the rest of it has yet to come.
    ///
    /// # Errors
    ///
    /// The connection is of no use any more.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Said>, Broken> {
        let come = self.come(bytes)?;
        Ok(come.map(|come| match come {
            Come::Value(value) => said(value),
            Come::TooLong { bytes, head } => Said::TooLong { bytes, head },
        }))
    }

    /// The same where it can only be the answer to a command.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::next`].
    pub fn answer(&mut self, bytes: &mut &[u8]) -> Result<Option<Answer>, Broken> {
        match self.come(bytes)? {
            None => Ok(None),
            Some(Come::Value(value)) => Ok(Some(answer(value))),
            Some(Come::TooLong { .. }) => Err(Broken::TooLong(self.bytes_max)),
        }
    }

    fn come(&mut self, bytes: &mut &[u8]) -> Result<Option<Come>, Broken> {
        let bytes_max = self.bytes_max as u64;
        let followed = self.extent.follow(bytes, bytes_max);
        let (len, is_whole) = followed.map_err(|Garbage| Broken::Garbage)?;
        let mut piece;
        (piece, *bytes) = bytes.split_at(len);
        if self.extent.bytes() > bytes_max && !self.passes {
            // Each answer belongs to a command, so none can be skipped.
            if !self.extent.is_push() {
                return Err(Broken::TooLong(self.bytes_max));
            }
            (self.passes, self.parser) = (true, Parser::new());
        }
        let parsed = match self.passes {
            true => None,
            false => match self.parser.parse_value(Piece { bytes: &mut piece }) {
                Ok(value) => Some(value),
                Err(error) if error.is_timeout() => None,
                Err(_) => return Err(Broken::Garbage),
            },
        };
        if !is_whole && parsed.is_none() {
            return Ok(None);
        }
        let extent = std::mem::replace(&mut self.extent, Extent::new());
        match (parsed, std::mem::take(&mut self.passes)) {
            (Some(value), _) if is_whole => Ok(Some(Come::Value(value))),
            (None, true) => {
                Ok(Some(Come::TooLong { bytes: extent.bytes(), head: extent.into_head() }))
            }
            // The parser and `Extent` do not agree on where the value ends.
            _ => Err(Broken::Garbage),
        }
    }
}

fn said(value: Value) -> Said {
    match value {
        Value::Push { kind: PushKind::Message, mut data } => match data.pop() {
            Some(Value::BulkString(message)) => Said::Message(message),
            _ => Said::Other,
        },
        Value::Push { kind: PushKind::Subscribe, .. } => Said::Subscribed,
        Value::Push { .. } => Said::Other,
        Value::ServerError(error) => Said::Failed(in_words(&error)),
        Value::Attribute { data, .. } => said(*data),
        Value::Int(number) => Said::Number(number),
        Value::Map(entries) => greeting(&entries).map_or(Said::Reply, Said::Greeting),
        _ => Said::Reply,
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

/// The text that answers a command, empty if it is none, or nothing; or why the command failed.
pub type Answer = Result<Option<Vec<u8>>, String>;

fn answer(value: Value) -> Answer {
    match value {
        Value::BulkString(text) => Ok(Some(text)),
        Value::SimpleString(text) => Ok(Some(text.into_bytes())),
        Value::Nil => Ok(None),
        Value::ServerError(error) => Err(in_words(&error)),
        _ => Ok(Some(Vec::new())),
    }
}

fn in_words(error: &ServerError) -> String {
    match error.details() {
        Some(details) => format!("{} {details}", error.code()),
        None => error.code().to_owned(),
    }
}

/// Some of the bytes of a connection: at their end more will come, which is not the end.
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

    fn all(pieces: &[&[u8]]) -> Vec<Said> {
        let (mut reader, mut said) = (Reader::new(1_000), Vec::new());
        for piece in pieces {
            let mut bytes = *piece;
            while let Some(next) = reader.next(&mut bytes).unwrap() {
                said.push(next);
            }
            assert!(bytes.is_empty());
        }
        said
    }

    #[test]
    fn what_redis_says_is_the_same_in_any_pieces() {
        let whole = all(&[STREAM]);
        assert_eq!(
            whole,
            [
                Said::Reply,
                Said::Reply,
                Said::Subscribed,
                Said::Message(b"he\r\nl".to_vec()),
                Said::Number(2),
                Said::Failed("NOPERM no permission".into()),
                Said::Other,
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
            assert_eq!(all(&[hello.as_bytes()]), [Said::Greeting(greeting)]);
        }
    }

    #[test]
    fn what_is_not_redis_is_told() {
        for garbage in [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"\x16\x03\x01", b"*x\r\n"] {
            assert_eq!(Reader::new(1_000).next(&mut &garbage[..]), Err(Broken::Garbage));
        }
    }

    #[test]
    fn an_answer_that_is_too_long_ends_the_connection_before_it_is_kept() {
        let mut reader = Reader::new(1_000);
        assert_eq!(reader.next(&mut &b"$99999999\r\n"[..]), Err(Broken::TooLong(1_000)));
        let mut reader = Reader::new(1_000);
        assert_eq!(reader.next(&mut &[b"+", &[b'x'; 900][..]].concat()[..]), Ok(None));
        assert_eq!(reader.next(&mut &[b'x'; 900][..]), Err(Broken::TooLong(1_000)));
    }

    #[test]
    fn a_message_that_is_too_long_is_passed_over_and_what_follows_is_read() {
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
            Said::Message(b"one".to_vec()),
            Said::Number(1),
            Said::TooLong { bytes, head: text[..128].to_vec() },
            Said::Number(2),
            Said::Message(b"two".to_vec()),
        ];
        for len in [1, 2, 7, 100, 1_999, stream.len()] {
            assert_eq!(all(&stream.chunks(len).collect::<Vec<_>>()), expected, "{len}");
        }
        // A message of many small values is skipped as well.
        let many = format!(">1000\r\n{}:7\r\n", "_\r\n".repeat(1_000));
        let said = all(&[many.as_bytes()]);
        assert_eq!(said, [Said::TooLong { bytes: 3_007, head: Vec::new() }, Said::Number(7)]);
    }

    #[test]
    fn an_answer_is_a_text_nothing_or_an_error() {
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
