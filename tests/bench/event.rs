//! Numbered events: their frames, their numbers, and the requests that publish them. This module
//! has no sockets.

use std::time::{SystemTime, UNIX_EPOCH};

use reverb::proto::auth::{Signer, md5_hex};
use reverb::proto::message::{self, KeyOrder};

use crate::process::{APP_ID, APP_KEY};

/// Precedes the number of an event, and occurs nowhere else in the server's output.
pub const MARK: u8 = b'#';
/// Digits of a number.
pub const NUMBER: usize = 10;

/// The number of an event with leading zeroes.
pub fn digits(number: u64) -> String {
    format!("{number:010}")
}

/// The data of an event: its number, in about this many bytes. It is the inside of a JSON text.
pub type Data = fn(number: u64, size: usize) -> String;

/// `size` bytes of data with a number in it.
pub fn data(number: u64, size: usize) -> String {
    let mut data = format!("#{}", digits(number));
    data.extend(std::iter::repeat_n('x', size - data.len()));
    data
}

/// The channel of this index.
pub fn channel(place: usize) -> String {
    format!("bench-{place:05}")
}

/// The frame in which an event of the first channel reaches its subscribers.
pub fn frame(number: u64, size: usize) -> Vec<u8> {
    let data = format!("\"{}\"", data(number, size));
    message::event("\"e\"", &channel(0), &data, None, KeyOrder::DataFirst).to_vec()
}

/// The number in a received event; `None` for any other message.
pub fn number(payload: &[u8]) -> Option<u64> {
    let start = payload.iter().take(128).position(|&byte| byte == MARK)? + 1;
    let digits = payload.get(start..start + NUMBER)?;
    digits.iter().try_fold(0, |number, byte| match byte {
        b'0'..=b'9' => Some(number * 10 + u64::from(byte - b'0')),
        _ => None,
    })
}

/// A signed request that publishes one event.
pub fn publish(signer: &Signer, place: usize, number: u64, size: usize) -> Vec<u8> {
    publish_data(signer, place, &data(number, size))
}

/// The same with this data.
pub fn publish_data(signer: &Signer, place: usize, data: &str) -> Vec<u8> {
    let channel = channel(place);
    let body = format!(r#"{{"name":"e","channel":"{channel}","data":"{data}"}}"#);
    post(signer, "events", &body)
}

/// A signed request that publishes these events of one channel.
pub fn publish_batch(
    signer: &Signer,
    place: usize,
    numbers: std::ops::Range<u64>,
    size: usize,
) -> Vec<u8> {
    let channel = channel(place);
    let events = numbers.map(|number| {
        format!(r#"{{"name":"e","channel":"{channel}","data":"{}"}}"#, data(number, size))
    });
    let events: Vec<String> = events.collect();
    post(signer, "batch_events", &format!(r#"{{"batch":[{}]}}"#, events.join(",")))
}

fn post(signer: &Signer, verb: &str, body: &str) -> Vec<u8> {
    let hash = md5_hex(body.as_bytes());
    let target = signed(signer, "POST", verb, &format!("body_md5={hash}"));
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

/// A signed GET request to the app's API. The name of the parameter must follow `auth_version` in
/// the alphabet, which is the order of the signature.
pub fn get(signer: &Signer, what: &str, parameter: &str) -> Vec<u8> {
    let target = signed(signer, "GET", what, parameter);
    format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").into_bytes()
}

fn signed(signer: &Signer, method: &str, verb: &str, parameter: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let path = format!("/apps/{APP_ID}/{verb}");
    let query = format!("auth_key={APP_KEY}&auth_timestamp={now}&auth_version=1.0&{parameter}");
    let signature = signer.sign(&[method, "\n", &path, "\n", &query]);
    format!("{path}?{query}&auth_signature={signature}")
}
