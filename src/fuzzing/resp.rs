//! Bytes from Redis: the reader yields the same messages regardless of how the bytes are split, and
//! keeps no more of a message than is allowed. It reads the messages after one that is too long as
//! a reader without that limit does.

use super::pieces::{cuts, pieces};
use crate::config::redis::inbox_prefix;
use crate::proto::resp::cluster::{moved, slot};
use crate::proto::resp::{Incoming, ProtocolError, Reader, SlotRange, command};

/// Bytes from Redis.
pub fn resp(data: &[u8]) {
    let (lengths, bytes) = cuts(data);
    // No message is over this limit.
    let whole = read(&[], bytes, usize::MAX);
    let single = read(&[0], bytes, usize::MAX);
    compare(&read(lengths, bytes, usize::MAX), &whole);
    compare(&single, &whole);

    let limited = read(lengths, bytes, BYTES_MAX);
    let limited_single = read(&[0], bytes, BYTES_MAX);
    // The reader skips garbage in a message that is too long, if one piece has both.
    same(&limited, &limited_single, |a, b| a == b);
    same(&limited, &whole, |limited, whole| match limited {
        Incoming::TooLong { bytes, head } => *bytes > BYTES_MAX as u64 && head.len() < 1_000,
        message => message == whole,
    });
    let is_too_long = |message: &Incoming| matches!(message, Incoming::TooLong { .. });
    if limited.error.is_none() && !limited.messages.iter().any(is_too_long) {
        assert!(whole.messages.starts_with(&limited.messages));
    }
    one_command(lengths, bytes);
    whole.messages.iter().for_each(addresses);
    sentinel(lengths, bytes);
}

const BYTES_MAX: usize = 100;

/// The result of reading.
#[derive(Debug, Default)]
struct Outcome {
    messages: Vec<Incoming>,
    error: Option<ProtocolError>,
}

/// Valid bytes yield the same messages in any pieces. In invalid bytes the parser may detect the
/// error later and skip some; the connection ends in either case.
fn compare(cut: &Outcome, whole: &Outcome) {
    assert!(cut.messages.starts_with(&whole.messages), "{cut:?} {whole:?}");
    if whole.error.is_none() {
        assert_eq!((cut.messages.len(), &cut.error), (whole.messages.len(), &None));
    }
}

/// Asserts that two results agree up to the end of the shorter one.
fn same(one: &Outcome, other: &Outcome, is_same: fn(&Incoming, &Incoming) -> bool) {
    let mut both = one.messages.iter().zip(&other.messages);
    assert!(both.all(|(one, other)| is_same(one, other)), "{one:?} {other:?}");
}

fn read(lengths: &[u8], bytes: &[u8], bytes_max: usize) -> Outcome {
    let (mut reader, mut outcome) = (Reader::new(bytes_max), Outcome::default());
    for mut piece in pieces(lengths, bytes) {
        loop {
            match reader.next(&mut piece) {
                Ok(Some(next)) => outcome.messages.push(next),
                Ok(None) => break,
                Err(error) => return Outcome { error: Some(error), ..outcome },
            }
        }
        assert!(piece.is_empty(), "bytes were left although the reader needs more");
    }
    outcome
}

/// An address that a message contains can be written and read again, and names one server.
fn addresses(message: &Incoming) {
    let nodes = match message {
        Incoming::Error(error) => moved(error).into_iter().collect(),
        Incoming::Slots(ranges) => {
            let nodes = |range: &SlotRange| [&range.replicas[..], range.master.as_slice()].concat();
            ranges.iter().flat_map(nodes).collect()
        }
        _ => Vec::new(),
    };
    for node in nodes {
        let host = node.host.as_deref().unwrap_or_default();
        assert_eq!(moved(&format!("MOVED 1 {host}:{}", node.port)), Some(node));
    }
}

/// Pieces yield the same address of a master as the whole, and a channel of a node has the slot of
/// the shared channel.
fn sentinel(lengths: &[u8], bytes: &[u8]) {
    let [whole, cut] = [&[][..], lengths].map(|lengths| {
        let mut reader = Reader::new(usize::MAX);
        pieces(lengths, bytes).find_map(|mut piece| reader.master(&mut piece).transpose())
    });
    // In invalid bytes the parser may detect the error later.
    if let Some(Ok(whole)) = whole {
        assert_eq!(cut, Some(Ok(whole)));
    }
    let channel = String::from_utf8_lossy(bytes);
    if let Some(prefix) = inbox_prefix(&channel) {
        assert_eq!(slot(&format!("{prefix}:00c0ffee00c0ffee")), slot(&channel));
    }
}

/// A command is one array, whatever its words contain.
fn one_command(lengths: &[u8], bytes: &[u8]) {
    let words: Vec<&[u8]> = pieces(lengths, bytes).collect();
    if !words.is_empty() {
        let reply = read(lengths, &command(&words), usize::MAX);
        assert_eq!((reply.messages, reply.error), (vec![Incoming::Reply], None));
    }
}
