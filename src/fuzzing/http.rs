//! HTTP: a head is parsed once its last byte has arrived and not earlier, and the responses are the
//! same wherever the requests are split.

use std::io::IoSlice;

use super::pieces::{cuts, pieces};
use crate::config::{App, Config};
use crate::hub::{ConnId, Hub, IoAction, Now};
use crate::proto::http;

/// The bytes of a connection.
pub fn http(data: &[u8]) {
    let (lengths, bytes) = cuts(data);
    heads(lengths, bytes);
    let whole = answers(&[], bytes);
    compare(&answers(lengths, bytes), &whole);
    compare(&answers(&[0], bytes), &whole);
}

const HEAD_BYTES_MAX: usize = 1_024;
const HEADERS_MAX: usize = 16;

fn heads(lengths: &[u8], bytes: &[u8]) {
    let whole = http::parse(bytes, HEAD_BYTES_MAX, HEADERS_MAX);
    let mut len = 0;
    for piece in pieces(lengths, bytes) {
        len += piece.len();
        match (http::parse(&bytes[..len], HEAD_BYTES_MAX, HEADERS_MAX), &whole) {
            (Ok(None), Ok(Some((_, head_len)))) => assert!(len < *head_len, "not seen at {len}"),
            (Ok(None), _) => {}
            (Ok(part), Ok(whole)) => assert_eq!(part, *whole),
            // The error may depend on how much of the request has arrived.
            (Err(_), Err(_)) => {}
            (part, whole) => panic!("{part:?} of the first {len}, {whole:?} of all"),
        }
    }
}

/// The responses on a connection, and its state after them.
struct Answers {
    bytes: Vec<u8>,
    next_action: IoAction,
}

fn answers(lengths: &[u8], bytes: &[u8]) -> Answers {
    let mut config = Config { apps: vec![App::new("1", "key", "secret")], ..Config::default() };
    config.server.max_request_size = 2_048;
    config.limits.request_head_bytes = HEAD_BYTES_MAX as u32;
    let now = Now { ms: 1_000, unix_s: 1_795_450_533 };
    let mut hub: Hub<()> = Hub::new(&config, [0; 32], now);
    let id = hub.open((), None, now);
    for piece in pieces(lengths, bytes) {
        hub.receive(id, &mut piece.to_vec(), now);
    }
    let answers = Answers { bytes: take(&mut hub, id), next_action: hub.next_action(id) };
    hub.close(id, now);
    hub.audit().expect("the data structures of the hub agree");
    answers
}

fn take(hub: &mut Hub<()>, id: ConnId) -> Vec<u8> {
    let Some((_, outbox)) = hub.outbox(id) else { return Vec::new() };
    let mut bytes = Vec::new();
    while !outbox.is_empty() {
        let mut slices = [IoSlice::new(&[]); 16];
        let filled = outbox.slices(&mut slices, usize::MAX);
        let start = bytes.len();
        slices[..filled].iter().for_each(|slice| bytes.extend_from_slice(slice));
        outbox.consume(bytes.len() - start);
    }
    bytes
}

/// A request in pieces may get its response after the head, before the body has arrived. That ends
/// the connection; without pieces the response is the same, or an error about the body.
fn compare(cut: &Answers, whole: &Answers) {
    let (cut_answers, whole_answers) = (split(&cut.bytes), split(&whole.bytes));
    for (at, (early, late)) in cut_answers.iter().zip(&whole_answers).enumerate() {
        if early == late {
            continue;
        }
        let ends = at + 1 == cut_answers.len() && early.contains(CLOSE);
        assert!(ends && is_early(early, late), "cut: {early:?}\nwhole: {late:?}");
        assert_eq!(cut.next_action, IoAction::ShutdownWrite);
        return;
    }
    assert_eq!((cut_answers.len(), cut.next_action), (whole_answers.len(), whole.next_action));
}

const CLOSE: &str = "\r\nConnection: close\r\n";

/// The single responses, without `100 Continue`.
fn split(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes).replace("HTTP/1.1 100 Continue\r\n\r\n", "");
    text.split("HTTP/1.1 ").map(str::to_owned).collect()
}

/// Whether `early` may be the response to the head of the request that got `late`.
fn is_early(early: &str, late: &str) -> bool {
    let kept = ["\r\n", "\r\nConnection: keep-alive\r\n"];
    let is_error = late.starts_with(['4', '5']);
    is_error || kept.iter().any(|kept| early.replace(CLOSE, kept) == late)
}
