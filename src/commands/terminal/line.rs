//! A line of the feed as text for people.

use serde_json::Value;

use super::screen::{Colour, Colours, escaped, shortened};

/// A line of the feed as one line of text; `None` if it says nothing to a person.
pub(super) fn readable(line: &str, colours: Colours) -> Option<String> {
    let Ok(line) = serde_json::from_str::<Value>(line) else { return Some(escaped(line)) };
    let kind = line["kind"].as_str().unwrap_or_default();
    if kind == "alive" {
        return None;
    }
    let time = time_of_day(line["time_ms"].as_u64().unwrap_or_default());
    let time = colours.paint(Colour::Grey, &time);
    // Padded before it is painted: the codes of colours have no width.
    let name = format!("{:<14}", shortened(kind, 40));
    let name = colour(kind).map_or(name.clone(), |colour| colours.paint(colour, &name));
    Some(format!("{time}  {name}  {}", text(kind, &line)).trim_end().to_owned())
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

/// What follows the kind.
fn text(kind: &str, line: &Value) -> String {
    let it = Members(line);
    match kind {
        "hello" => it.hello(),
        "dropped" => format!("{} lines: they came faster than this command reads", it.of("count")),
        "connected" => join([it.of("socket_id"), it.after("from", "address"), it.of("origin")]),
        "disconnected" => {
            join([it.of("socket_id"), it.of("code"), it.of("reason"), it.after("user", "user_id")])
        }
        "subscribed" | "unsubscribed" => {
            join([it.of("channel"), it.after("by", "socket_id"), it.after("user", "user_id")])
        }
        "refused" => it.refused(),
        "client_event" => {
            join([it.event(), it.after("by", "socket_id"), it.after("user", "user_id"), it.size()])
                + &it.data()
        }
        "api_event" => join([it.event(), it.after("except", "except"), it.size()]) + &it.data(),
        "api_error" => {
            let request = join([it.of("method"), it.of("path"), it.after("from", "address")]);
            format!("{request}: {}{}", join([it.of("status"), it.of("reason")]), it.expected())
        }
        "occupied" | "vacated" => it.of("channel"),
        "member_added" | "member_removed" => join([it.of("channel"), it.after("user", "user_id")]),
        "webhook_sent" => {
            let count = it.after("events", "events");
            join([it.of("url"), count, it.after("status", "status"), it.after("ms", "ms")])
        }
        "webhook_failed" => {
            let again = if line["retry"] == true { "; it will be sent again" } else { "" };
            let request = join([it.of("url"), it.after("events", "events")]);
            format!("{request}: {}{again}", it.of("reason"))
        }
        "node_joined" | "node_left" => it.of("node"),
        "limit" => {
            let of = ["channel", "socket_id", "address"].map(|name| it.of(name));
            join([it.of("limit") + ":", it.of("reason"), join(of)])
        }
        // A later version of the server has further kinds.
        _ => escaped(&line.to_string()),
    }
}

/// The members of a line.
struct Members<'a>(&'a Value);

impl Members<'_> {
    /// A member as text; empty if there is none.
    fn of(&self, name: &str) -> String {
        match &self.0[name] {
            Value::Null => String::new(),
            Value::String(text) => escaped(text),
            Value::Array(list) => {
                let texts: Vec<String> = list
                    .iter()
                    .map(|it| it.as_str().map_or_else(|| it.to_string(), escaped))
                    .collect();
                texts.join(",")
            }
            other => escaped(&other.to_string()),
        }
    }

    /// A member after this word; empty if there is none.
    fn after(&self, word: &str, name: &str) -> String {
        match self.of(name) {
            text if text.is_empty() => text,
            text => format!("{word} {text}"),
        }
    }

    fn event(&self) -> String {
        join([self.of("channel"), self.of("channels"), self.of("event")])
    }

    fn size(&self) -> String {
        format!("{} bytes to {}", self.of("bytes"), self.of("recipients"))
    }

    /// The data of an event, after a colon.
    fn data(&self) -> String {
        let Some(data) = self.0["data"].as_str() else { return String::new() };
        let mut text = shortened(data, DATA_CHARACTERS);
        if self.0["cut"] == true && !text.ends_with('…') {
            text.push('…');
        }
        format!(": {text}")
    }

    fn hello(&self) -> String {
        let others = self.0["nodes"].as_array().map_or(0, Vec::len);
        let nodes = match self.0["node"].as_str() {
            Some(node) => format!("node {} of {}", escaped(node), others + 1),
            None => String::new(),
        };
        let payload = if self.0["payload"] == false { "without data of events" } else { "" };
        join([self.after("app", "app"), self.after("reverb", "version"), nodes, payload.to_owned()])
    }

    fn refused(&self) -> String {
        let of = join([
            self.of("channel"),
            self.after("by", "socket_id"),
            self.after("from", "address"),
        ]);
        format!("{of}: {}{}", join([self.of("code"), self.of("reason")]), self.expected())
    }

    /// What should have been signed, if the error is about a signature.
    fn expected(&self) -> String {
        match self.of("expected") {
            text if text.is_empty() => text,
            text => format!("; the text to sign is {text}"),
        }
    }
}

/// The parts that are not empty, with spaces between them.
fn join<const N: usize>(parts: [String; N]) -> String {
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(" ")
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
    fn shown(line: &str) -> String {
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
            assert_eq!(shown(line), expected);
        }
        assert_eq!(readable(r#"{"kind":"alive","time_ms":1}"#, Colours(false)), None);
    }

    #[test]
    fn names_of_strangers_are_escaped_and_long_data_is_cut() {
        let line = serde_json::json!({
            "kind": "client_event", "time_ms": 1, "socket_id": "1.2", "channel": "a\u{1b}[2J\n",
            "event": "\u{9b}x", "bytes": 300, "recipients": 0, "data": "y".repeat(300),
        });
        let shown = shown(&line.to_string());
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
