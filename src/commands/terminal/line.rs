//! A line of the feed as text for people.

use super::screen::{Colour, Colours, escaped, shortened};
use crate::proto::message::{self, Object};

/// A line of the feed as one line of text; `None` if it says nothing to a person.
pub(super) fn readable(json: &str, colours: Colours) -> Option<String> {
    let Some(line) = message::object(json) else { return Some(escaped(json)) };
    let kind = line.text("kind").unwrap_or_default();
    if kind == "alive" {
        return None;
    }
    let time = time_of_day(line.number("time_ms").unwrap_or_default());
    let time = colours.paint(Colour::Grey, &time);
    // Padded before it is painted: the codes of colours have no width.
    let name = format!("{:<14}", shortened(&kind, 40));
    let name = match colour(&kind) {
        Some(colour) => colours.paint(colour, &name),
        None => name,
    };
    let text = match members(&kind) {
        [] => escaped(json),
        members => text(&kind, &line, members),
    };
    Some(format!("{time}  {name}  {}", text.trim()))
}

fn colour(kind: &str) -> Option<Colour> {
    Some(match kind {
        "refused" | "api_error" | "webhook_failed" | "limit" | "dropped" => Colour::Red,
        "api_event" => Colour::Green,
        "client_event" => Colour::Cyan,
        "occupied" | "vacated" => Colour::Blue,
        "member_added" | "member_removed" | "node_joined" | "node_left" => Colour::Yellow,
        _ => return None,
    })
}

/// The members of a line that are shown, each after the text that precedes it. Empty for kinds that a
/// later version of the server has.
fn members(kind: &str) -> &'static [(&'static str, &'static str)] {
    match kind {
        "hello" => &[("app ", "app"), (" reverb ", "version"), (" node ", "node")],
        "dropped" => &[("", "count")],
        "connected" => &[("", "socket_id"), (" from ", "address"), (" ", "origin")],
        "disconnected" => {
            &[("", "socket_id"), (" ", "code"), (" ", "reason"), (" user ", "user_id")]
        }
        "subscribed" | "unsubscribed" => {
            &[("", "channel"), (" by ", "socket_id"), (" user ", "user_id")]
        }
        "refused" => &[
            ("", "channel"),
            (" by ", "socket_id"),
            (" from ", "address"),
            (": ", "code"),
            (" ", "reason"),
            ("; the text to sign is ", "expected"),
        ],
        "client_event" => &[
            ("", "channel"),
            (" ", "event"),
            (" by ", "socket_id"),
            (" user ", "user_id"),
            (" ", "bytes"),
            (" bytes to ", "recipients"),
            (": ", "data"),
        ],
        "api_event" => &[
            ("", "channels"),
            (" ", "event"),
            (" except ", "except"),
            (" ", "bytes"),
            (" bytes to ", "recipients"),
            (": ", "data"),
        ],
        "api_error" => &[
            ("", "method"),
            (" ", "path"),
            (" from ", "address"),
            (": ", "status"),
            (" ", "reason"),
            ("; the text to sign is ", "expected"),
        ],
        "occupied" | "vacated" => &[("", "channel")],
        "member_added" | "member_removed" => &[("", "channel"), (" user ", "user_id")],
        "webhook_sent" => {
            &[("", "url"), (" events ", "events"), (" status ", "status"), (" ms ", "ms")]
        }
        "webhook_failed" => &[("", "url"), (" events ", "events"), (": ", "reason")],
        "node_joined" | "node_left" => &[("", "node")],
        "limit" => &[
            ("", "limit"),
            (": ", "reason"),
            (" ", "channel"),
            (" ", "socket_id"),
            (" ", "address"),
        ],
        _ => &[],
    }
}

/// What follows the kind: these members, and what a flag or a count means.
fn text(kind: &str, line: &Object<'_>, members: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (before, name) in members {
        let value = shown(line, name);
        if !value.is_empty() {
            text.push_str(before);
            text.push_str(&value);
        }
    }
    let is = |name: &str, json: &str| line.get(name).is_some_and(|value| value.get() == json);
    match kind {
        "hello" => {
            if line.text("node").is_some() {
                let others = line.get("nodes").and_then(|nodes| message::array(nodes.get()));
                text.push_str(&format!(" of {}", others.map_or(0, |others| others.len()) + 1));
            }
            if is("payload", "false") {
                text.push_str(" without data of events");
            }
        }
        "dropped" => text.push_str(" lines: they came faster than this command reads"),
        "webhook_failed" if is("retry", "true") => text.push_str("; it will be sent again"),
        _ => {}
    }
    text
}

/// A member as text; empty if there is none.
fn shown(line: &Object<'_>, name: &str) -> String {
    let json = line.get(name).map_or("null", |value| value.get());
    match message::string(json) {
        Some(data) if name == "data" => {
            let mut text = shortened(&data, DATA_CHARACTERS);
            if line.get("cut").is_some() && !text.ends_with('…') {
                text.push('…');
            }
            text
        }
        Some(text) => escaped(&text),
        None if json == "null" => String::new(),
        None => match message::array(json) {
            Some(list) => {
                let texts = list.iter().map(|it| message::string(it.get()).unwrap_or_default());
                let texts: Vec<String> = texts.map(|text| escaped(&text)).collect();
                texts.join(",")
            }
            None => escaped(json),
        },
    }
}

/// The time of day in UTC, as in the log.
fn time_of_day(unix_ms: u64) -> String {
    let (s, ms) = (unix_ms / 1_000, unix_ms % 1_000);
    format!("{:02}:{:02}:{:02}.{ms:03}", s / 3_600 % 24, s / 60 % 60, s % 60)
}

/// The most characters shown of the data of an event; `--json` has all that the server sends.
const DATA_CHARACTERS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn readable_without_colours(line: &str) -> String {
        readable(line, Colours(false)).unwrap()
    }

    #[test]
    fn each_kind_is_one_aligned_line() {
        for (line, expected) in [
            (
                r#"{"kind":"hello","time_ms":0,"app":"1","version":"0.2.0","node":null,"nodes":[],"payload":true}"#,
                "00:00:00.000  hello           app 1 reverb 0.2.0",
            ),
            (
                r#"{"kind":"connected","time_ms":86399999,"socket_id":"1.2","address":"::1","origin":null}"#,
                "23:59:59.999  connected       1.2 from ::1",
            ),
            (
                r#"{"kind":"member_removed","time_ms":1,"channel":"presence-a","user_id":"7"}"#,
                "00:00:00.001  member_removed  presence-a user 7",
            ),
            (
                r#"{"kind":"api_event","time_ms":1,"channels":["a","b"],"event":"e","bytes":2,"recipients":3,"data":"{}"}"#,
                "00:00:00.001  api_event       a,b e 2 bytes to 3: {}",
            ),
            (
                r#"{"kind":"refused","time_ms":1,"socket_id":"1.2","address":"::1","channel":"private-a","code":4009,"reason":"Connection is unauthorized","expected":"1.2:private-a"}"#,
                "00:00:00.001  refused         private-a by 1.2 from ::1: 4009 Connection is unauthorized; the text to sign is 1.2:private-a",
            ),
            (
                r#"{"kind":"webhook_failed","time_ms":1,"url":"http://a/","events":2,"reason":"refused","retry":true}"#,
                "00:00:00.001  webhook_failed  http://a/ events 2: refused; it will be sent again",
            ),
            (
                r#"{"kind":"new","time_ms":1}"#,
                r#"00:00:00.001  new             {"kind":"new","time_ms":1}"#,
            ),
            ("not JSON", "not JSON"),
        ] {
            assert_eq!(readable_without_colours(line), expected);
        }
        assert_eq!(readable(r#"{"kind":"alive","time_ms":1}"#, Colours(false)), None);
    }

    #[test]
    fn names_of_strangers_are_escaped_and_long_data_is_cut() {
        let line = serde_json::json!({
            "kind": "client_event", "time_ms": 1, "socket_id": "1.2", "channel": "a\u{1b}[2J\n",
            "event": "\u{9b}x", "bytes": 300, "recipients": 0, "data": "y".repeat(300),
        });
        let shown = readable_without_colours(&line.to_string());
        let data = "y".repeat(200);
        let expected = format!(
            "00:00:00.001  client_event    a\\u{{1b}}[2J\\n \\u{{9b}}x by 1.2 300 bytes to 0: {data}…"
        );
        assert_eq!(shown, expected);
        let hostile = serde_json::json!({"kind": "\u{1b}[31m", "\u{1b}": "\u{9b}"});
        assert!(
            !super::readable(&hostile.to_string(), Colours(false))
                .unwrap()
                .contains(['\u{1b}', '\u{9b}'])
        );
    }

    #[test]
    fn the_kind_is_coloured() {
        let line = r#"{"kind":"limit","time_ms":1,"limit":"a","reason":"b"}"#;
        let shown = readable(line, Colours(true)).unwrap();
        assert_eq!(shown, "\x1b[90m00:00:00.001\x1b[0m  \x1b[31mlimit         \x1b[0m  a: b");
    }
}
