//! What Redis says: the same things in any pieces, and never more of one kept than is allowed.

use super::pieces::{cuts, pieces};
use crate::proto::resp::{Broken, Reader, Said, command};

/// Bytes from Redis.
pub fn resp(data: &[u8]) {
    let (lengths, bytes) = cuts(data);
    // More than all there is: no message is too long.
    let whole = read(&[], bytes, usize::MAX);
    compare(&read(lengths, bytes, usize::MAX), &whole);
    compare(&read(&[0], bytes, usize::MAX), &whole);

    // Whether something is too long before it is whole depends on the cuts.
    let limited = read(lengths, bytes, BYTES_MAX);
    if let Some(Broken::TooLong(_)) = limited.1 {
        assert!(bytes.len() > BYTES_MAX);
        let both = limited.0.len().min(whole.0.len());
        assert_eq!(limited.0[..both], whole.0[..both]);
    } else {
        compare(&limited, &whole);
    }
    one_command(lengths, bytes);
}

const BYTES_MAX: usize = 200;

type Outcome = (Vec<Said>, Option<Broken>);

/// What is Redis' protocol is read the same in any pieces. Where it is not, the parser may see
/// that later than at the first byte, and pass over some; it is the end of the connection anyway.
fn compare(cut: &Outcome, whole: &Outcome) {
    match whole.1 {
        None => assert_eq!(cut, whole),
        Some(_) => assert!(cut.0.starts_with(&whole.0), "{cut:?} {whole:?}"),
    }
}

fn read(lengths: &[u8], bytes: &[u8], bytes_max: usize) -> Outcome {
    let (mut reader, mut said) = (Reader::new(bytes_max), Vec::new());
    for mut piece in pieces(lengths, bytes) {
        loop {
            match reader.next(&mut piece) {
                Ok(Some(next)) => said.push(next),
                Ok(None) => break,
                Err(broken) => return (said, Some(broken)),
            }
        }
        assert!(piece.is_empty(), "bytes were left over without a reason");
    }
    (said, None)
}

/// A command is one array, whatever its words hold.
fn one_command(lengths: &[u8], bytes: &[u8]) {
    let words: Vec<&[u8]> = pieces(lengths, bytes).collect();
    if !words.is_empty() {
        let written = command(&words);
        assert_eq!(read(lengths, &written, usize::MAX), (vec![Said::Reply], None));
    }
}
