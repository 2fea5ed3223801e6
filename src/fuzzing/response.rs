//! Responses of other HTTP servers: the reader decodes the same response wherever the bytes are
//! split, and keeps no more of it than is allowed. The lines of a response are the same as well.

use super::pieces::{cuts, pieces};
use crate::proto::http::{BODY_BYTES_MAX, HEAD_BYTES_MAX, ResponseReader};
use crate::proto::lines::Lines;

/// The bytes that a server sends for one request.
pub fn response(data: &[u8]) {
    let (lengths, bytes) = cuts(data);
    let (whole, whole_result) = read(&[], bytes);
    for lengths in [lengths, &[0]] {
        let (cut, result) = read(lengths, bytes);
        match &whole_result {
            Ok(()) => {
                assert_eq!(result, Ok(()));
                assert_eq!(outcome(&cut), outcome(&whole));
            }
            // A part of a head is parsed at line ends only, so that an error in the last line is
            // found later.
            Err(_) => assert!(result.is_err() || !cut.is_done(), "{result:?}"),
        }
    }
    ended(whole, bytes.len());
    let whole = lines(&[], bytes);
    for lengths in [lengths, &[0]] {
        let cut = lines(lengths, bytes);
        // An error may be found later, after further lines.
        assert!(cut.starts_with(&whole) || whole.starts_with(&cut), "{cut:?} {whole:?}");
    }
}

/// The lines of the body, taken after each piece.
fn lines(lengths: &[u8], bytes: &[u8]) -> Vec<String> {
    let (mut reader, mut lines) = (ResponseReader::endless(), Lines::default());
    let (mut found, mut taken) = (Vec::new(), 0);
    for piece in pieces(lengths, bytes) {
        let result = reader.receive(piece);
        let body = reader.take_body();
        taken += body.len();
        lines.push(&body);
        while let Ok(Some(line)) = lines.next_line() {
            found.push(line);
        }
        if result.is_err() {
            break;
        }
    }
    assert!(taken <= bytes.len());
    found
}

fn read(lengths: &[u8], bytes: &[u8]) -> (ResponseReader, Result<(), String>) {
    let mut reader = ResponseReader::new(KEPT_BYTES);
    let result = pieces(lengths, bytes).try_for_each(|piece| reader.receive(piece));
    (reader, result)
}

/// What a caller can see of a response.
fn outcome(reader: &ResponseReader) -> (Option<u16>, &str, &[u8], [bool; 3]) {
    let flags = [reader.is_done(), reader.keeps_alive(), reader.is_empty()];
    (reader.status(), reader.reason(), reader.body(), flags)
}

/// At the end of the connection a response is complete or an error, and has a status if it is
/// complete.
fn ended(mut reader: ResponseReader, len: usize) {
    let was_done = reader.is_done();
    let result = reader.end();
    assert_eq!(result.is_ok(), reader.is_done());
    assert!(result.is_ok() || !was_done);
    assert!(
        !reader.is_done() || reader.status().is_some_and(|status| status == 101 || status > 199)
    );
    assert!(!reader.keeps_alive());
    assert!(reader.body().len() <= KEPT_BYTES.min(len));
    assert!(reader.reason().len() <= HEAD_BYTES_MAX.min(len));
    const { assert!(KEPT_BYTES < BODY_BYTES_MAX) };
}

const KEPT_BYTES: usize = 20;
