//! Bytes from Redis: the reader yields the same messages regardless of how the bytes are split, and
//! keeps no more of a message than is allowed. It reads the messages after one that is too long as
//! a reader without that limit does.

use super::pieces::{cuts, pieces};
use crate::proto::resp::{Incoming, ProtocolError, Reader, command};

/// Bytes from Redis.
pub fn resp(data: &[u8]) {
    let (lengths, bytes) = cuts(data);
    // More than all there is: no message is too long.
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
        said => said == whole,
    });
    let is_too_long = |said: &Incoming| matches!(said, Incoming::TooLong { .. });
    if limited.broken.is_none() && !limited.said.iter().any(is_too_long) {
        assert!(whole.said.starts_with(&limited.said));
    }
    one_command(lengths, bytes);
}

const BYTES_MAX: usize = 100;

/// What was read.
#[derive(Debug, Default)]
struct Outcome {
    said: Vec<Incoming>,
    broken: Option<ProtocolError>,
}

/// What is Redis' protocol is read the same in any pieces. Where it is not, the parser may see
/// that later than at the first byte, and pass over some; it is the end of the connection anyway.
fn compare(cut: &Outcome, whole: &Outcome) {
    assert!(cut.said.starts_with(&whole.said), "{cut:?} {whole:?}");
    if whole.broken.is_none() {
        assert_eq!((cut.said.len(), &cut.broken), (whole.said.len(), &None));
    }
}

/// Asserts that two readings agree up to the end of the shorter one.
fn same(one: &Outcome, other: &Outcome, is_same: fn(&Incoming, &Incoming) -> bool) {
    let mut both = one.said.iter().zip(&other.said);
    assert!(both.all(|(one, other)| is_same(one, other)), "{one:?} {other:?}");
}

fn read(lengths: &[u8], bytes: &[u8], bytes_max: usize) -> Outcome {
    let (mut reader, mut outcome) = (Reader::new(bytes_max), Outcome::default());
    for mut piece in pieces(lengths, bytes) {
        loop {
            match reader.next(&mut piece) {
                Ok(Some(next)) => outcome.said.push(next),
                Ok(None) => break,
                Err(broken) => return Outcome { broken: Some(broken), ..outcome },
            }
        }
        assert!(piece.is_empty(), "bytes were left over without a reason");
    }
    outcome
}

/// A command is one array, whatever its words hold.
fn one_command(lengths: &[u8], bytes: &[u8]) {
    let words: Vec<&[u8]> = pieces(lengths, bytes).collect();
    if !words.is_empty() {
        let answer = read(lengths, &command(&words), usize::MAX);
        assert_eq!((answer.said, answer.broken), (vec![Incoming::Reply], None));
    }
}
