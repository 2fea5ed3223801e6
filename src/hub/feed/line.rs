//! One line of a feed: a JSON object. Which members a line has is in `reports`.

use super::kind::Kind;
use crate::proto::json_object::JsonObject;
use crate::proto::message::{self, push_escaped, push_json_string};

/// A line that is being written, without its end. The `data` of an event is separate, because some
/// viewers get none.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub head: JsonObject,
    pub data: String,
}

impl Line {
    /// Begins a line.
    pub(super) fn begin(&mut self, kind: &str, time_ms: u64) -> &mut Self {
        self.data.clear();
        self.head.restart();
        self.head.text("kind", kind).number("time_ms", time_ms);
        self
    }

    pub(super) fn of(&mut self, kind: Kind, time_ms: u64) -> &mut Self {
        self.begin(kind.name(), time_ms)
    }

    /// The bytes of the line without its end.
    pub(super) fn len(&self) -> usize {
        self.head.unended().len() + self.data.len()
    }

    /// Frees the capacity that a long line has left.
    pub(super) fn shrink(&mut self) {
        self.head.shrink_to(SCRATCH_BYTES);
    }

    /// The name of an event, which is JSON text of a client. A lone half of a surrogate pair in it
    /// would make the line invalid for many parsers: such a name is shown as the client wrote it.
    pub(super) fn event(&mut self, json: &str) -> &mut Self {
        match message::is_string(json) {
            true => self.head.raw("event", json),
            false => self.head.text("event", json),
        };
        self
    }

    /// The `data` of an event, from its JSON text: a string as the client or publisher has encoded
    /// it, another value as its JSON text.
    pub(super) fn data(&mut self, json: &str, bytes: u64) {
        self.data.push_str(",\"data\":");
        if !message::is_string(json) {
            push_cut(&mut self.data, json);
        } else if bytes <= DATA_BYTES as u64 {
            self.data.push_str(json);
        } else {
            push_cut(&mut self.data, &message::string(json).unwrap_or_default());
        }
    }
}

/// Appends at most [`DATA_BYTES`] of a text.
fn push_cut(out: &mut String, text: &str) {
    if text.len() <= DATA_BYTES {
        return push_json_string(out, text);
    }
    let mut end = DATA_BYTES;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.push('"');
    push_escaped(out, &text[..end]);
    out.push_str(r#"","cut":true"#);
}

/// The buffer for lines keeps at most this capacity.
const SCRATCH_BYTES: usize = 16_384;
/// The bytes of `data` that a line has. A screen shows about as much.
const DATA_BYTES: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::message::json_string;
    use serde_json::Value;

    fn data_of(json: &str) -> Value {
        let mut line = Line::default();
        line.begin("x", 1).data(json, message::text_len(json));
        serde_json::from_str(&format!("{}{}}}", line.head.unended(), line.data)).unwrap()
    }

    #[test]
    fn data_is_text_and_is_cut_between_characters() {
        assert_eq!(data_of(r#""{\"a\":1}""#)["data"], r#"{"a":1}"#);
        assert_eq!(data_of(r#"{"a":[1, "é"]}"#)["data"], r#"{"a":[1, "é"]}"#);
        assert_eq!(data_of("null")["data"], "null");
        assert_eq!(data_of(r#""\ud800""#)["data"], r#""\ud800""#);
        assert!(data_of("1").get("cut").is_none());
        let long = format!("x{}", "é".repeat(2_000));
        let line = data_of(&json_string(&long));
        assert_eq!(line["data"], format!("x{}", "é".repeat(511)));
        assert_eq!(line["cut"], true);
        let exact = "\n".repeat(1_024);
        assert_eq!(data_of(&json_string(&exact))["data"], exact);
        assert_eq!(data_of(&json_string(&format!("{exact}\n")))["cut"], true);
    }

    #[test]
    fn a_name_that_is_no_valid_text_is_shown_as_it_was_written() {
        for (json, shown) in [(r#""a\u00e9""#, "aé"), (r#""\ud800""#, r#""\ud800""#)] {
            let mut line = Line::default();
            line.begin("x", 1).event(json);
            let line: Value = serde_json::from_str(&line.head.end()).unwrap();
            assert_eq!(line["event"], shown);
        }
    }
}
