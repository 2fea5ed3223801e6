//! Redis' protocol (RESP3): commands to bytes, and bytes to what Redis says. Both are the `redis`
//! crate's; which command is sent when is the business of the hub.

use std::io::{self, Read};

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
    /// The answer to a command that failed, as Redis words it.
    Failed(String),
    /// Something that was not asked for and does not matter.
    Other,
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
    /// Bytes since something was last whole.
    partial_bytes: usize,
    bytes_max: usize,
}

/// Why what came cannot be Redis, or is more of it than allowed.
#[derive(Debug, PartialEq, Eq)]
pub enum Broken {
    /// Not its protocol.
    Garbage,
    /// A message longer than this many bytes.
    TooLong(usize),
}

impl Reader {
    /// A reader for the beginning of a connection, which takes up to about `bytes_max` bytes for
    /// one thing said.
    pub fn new(bytes_max: usize) -> Self {
        Reader { parser: Parser::new(), partial_bytes: 0, bytes_max }
    }

    /// Takes up to about so many bytes from now on.
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
        self.value(bytes).map(|value| value.map(said))
    }

    /// The same where it can only be the answer to a command.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::next`].
    pub fn answer(&mut self, bytes: &mut &[u8]) -> Result<Option<Answer>, Broken> {
        self.value(bytes).map(|value| value.map(answer))
    }

    fn value(&mut self, bytes: &mut &[u8]) -> Result<Option<Value>, Broken> {
        let before = bytes.len();
        let parsed = self.parser.parse_value(Piece { bytes: &mut *bytes });
        self.partial_bytes += before - bytes.len();
        match parsed {
            Ok(value) => {
                // What the parser has read ahead is part of what comes next.
                self.partial_bytes = 0;
                Ok(Some(value))
            }
            Err(error) if error.is_timeout() && self.partial_bytes <= self.bytes_max => Ok(None),
            Err(error) if error.is_timeout() => Err(Broken::TooLong(self.bytes_max)),
            Err(_) => Err(Broken::Garbage),
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
        _ => Said::Reply,
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
                Said::Reply,
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
    fn what_is_not_redis_is_told() {
        for garbage in [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"\x16\x03\x01", b"*x\r\n"] {
            assert_eq!(Reader::new(1_000).next(&mut &garbage[..]), Err(Broken::Garbage));
        }
    }

    #[test]
    fn a_message_without_end_is_not_kept() {
        let mut reader = Reader::new(1_000);
        assert_eq!(reader.next(&mut &b"$99999999\r\n"[..]), Ok(None));
        assert_eq!(reader.next(&mut &[b'x'; 900][..]), Ok(None));
        assert_eq!(reader.next(&mut &[b'x'; 900][..]), Err(Broken::TooLong(1_000)));
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
