//! The recordings: one JSON object a line, made from the responses of Laravel Reverb.
//!
//! First a table of all recorded scenarios: `keep` (the responses are the same), `fix` (some
//! responses differ; each such step has a `why`), `not replayed` (with the reason). Then the
//! scenarios, each a line with its name, title and settings, followed by its steps:
//!
//! * `{"note"}`: the subject of the next steps;
//! * `{"open": "A"}`: a client connects, with another `target` or further `headers`, and receives
//!   `first`, by default `connection_established`;
//! * `{"A>": text}`, `{"A> frames": hex or [[first byte, text]]}`, `{"A> end"}`: it sends this, or
//!   disconnects;
//! * `{"A<": message}`: it receives this, or `nothing`, or the end; also `{"close": code}`,
//!   `{"ping"}`, `{"pong"}` in hex, and `{"length"}` of a text;
//! * `{"request": "POST /path", "params", "body"}`: a signed request, `{"raw": parts}`: any bytes,
//!   each with the `status` and perhaps the JSON `answer` of the response; `more` lists further
//!   responses on the same connection.
//!
//! One difference applies to every scenario and is noted only here, D7: the `data` of
//! `pusher:error` is an object, as Pusher documents, where the recordings have a string that holds
//! it. The clients for Python and Swift cannot parse the string, and reconnect endlessly with a
//! wrong key.
//!
//! A `why` begins with the number of a difference (`D2`) or of a section (`14.1`) of
//! `man/reverb-protocol.7`, or with the RFC that gives the reason.
//!
//! `$(A)` stands for the socket id of A, `$sign` for the signature of this subscription, `$bare`
//! for one without `channel_data`, `${x*9}` for nine times x. In raw requests `$auth`, `$now` and
//! `$signature` are filled in; the last signs `sign`, by default the request as it is.

use serde_json::Value;
use std::collections::BTreeMap;

const LINES: &str = include_str!("scenarios.jsonl");

/// One scenario.
pub struct Scenario {
    pub head: Value,
    pub steps: Vec<Value>,
}

/// Every recorded scenario by its name: the verdict and the reason.
pub fn table() -> BTreeMap<String, (String, Option<String>)> {
    let mut table = BTreeMap::new();
    for line in lines() {
        if let Some(name) = line["table"].as_str() {
            let why = line["why"].as_str().map(str::to_owned);
            let entry = (line["verdict"].as_str().unwrap().to_owned(), why);
            assert_eq!(table.insert(name.to_owned(), entry), None, "{name} is listed twice");
        }
    }
    table
}

/// The scenarios that are replayed, by their names.
pub fn scenarios() -> BTreeMap<String, Scenario> {
    let mut scenarios: BTreeMap<String, Scenario> = BTreeMap::new();
    let mut last = String::new();
    for line in lines() {
        if let Some(name) = line["scenario"].as_str() {
            last = name.to_owned();
            let scenario = Scenario { head: line, steps: Vec::new() };
            assert!(scenarios.insert(last.clone(), scenario).is_none(), "{last} is listed twice");
        } else if line.get("table").is_none() {
            scenarios.get_mut(&last).unwrap().steps.push(line);
        }
    }
    scenarios
}

fn lines() -> impl Iterator<Item = Value> {
    LINES.lines().enumerate().map(|(number, line)| {
        serde_json::from_str(&expand(line)).unwrap_or_else(|e| panic!("line {}: {e}", number + 1))
    })
}

/// Replaces each `${x*9}` by nine times x.
fn expand(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("${") {
        let (run, after) = after.split_once('}').unwrap();
        let (sign, count) = run.rsplit_once('*').unwrap();
        text.push_str(before);
        text.push_str(&sign.repeat(count.parse().unwrap()));
        rest = after;
    }
    text + rest
}
