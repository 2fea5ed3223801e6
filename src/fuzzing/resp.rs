//! What Redis says: the same things in any pieces, and never more of one kept than is allowed.

use super::pieces::{cuts, pieces};
use crate::proto::resp::{Broken, Reader, Said, command};

/// Bytes from Redis.
pub fn resp(data: &[u8]) {
    let (lengths, bytes) = cuts(data);
    // More than all there is: no message is too long.
    let whole = read(&[], bytes, usize::MAX);
    let single = read(&[0], bytes, usize::MAX);
    compare(&read(lengths, bytes, usize::MAX), &whole);
    compare(&single, &whole);

    let limited = read(lengths, bytes, BYTES_MAX);
    if let Some(Broken::TooLong(_)) = limited.broken {
        assert!(single.longest > BYTES_MAX, "{} bytes are too long", single.longest);
        let both = limited.said.len().min(whole.said.len());
        assert_eq!(limited.said[..both], whole.said[..both]);
    } else {
        compare(&limited, &whole);
    }
    one_command(lengths, bytes);
}

const BYTES_MAX: usize = 100;

/// What was read.
#[derive(Debug, Default)]
struct Outcome {
    said: Vec<Said>,
    broken: Option<Broken>,
    /// Bytes of the longest thing said, or begun; as exact as the pieces are short.
    longest: usize,
}

/// What is Redis' protocol is read the same in any pieces. Where it is not, the parser may see
/// that later than at the first byte, and pass over some; it is the end of the connection anyway.
fn compare(cut: &Outcome, whole: &Outcome) {
    assert!(cut.said.starts_with(&whole.said), "{cut:?} {whole:?}");
    if whole.broken.is_none() {
        assert_eq!((cut.said.len(), &cut.broken), (whole.said.len(), &None));
    }
}

fn read(lengths: &[u8], bytes: &[u8], bytes_max: usize) -> Outcome {
    let (mut reader, mut outcome) = (Reader::new(bytes_max), Outcome::default());
    let mut begun = 0;
    for mut piece in pieces(lengths, bytes) {
        begun += piece.len();
        outcome.longest = outcome.longest.max(begun);
        loop {
            match reader.next(&mut piece) {
                Ok(Some(next)) => outcome.said.push(next),
                Ok(None) => break,
                Err(broken) => return Outcome { broken: Some(broken), ..outcome },
            }
            begun = 0;
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
        assert_eq!((answer.said, answer.broken), (vec![Said::Reply], None));
    }
}
