//! One line of a feed: a JSON object, written member by member. Which members a line has is in
//! `reports`.

use std::fmt::{Display, Write};

use super::kind::Kind;
use crate::proto::message::{self, push_escaped, push_json_string};

/// A line that is being written, without its end. The `data` of an event is separate, because some
/// viewers get none.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub head: String,
    pub data: String,
}

impl Line {
    /// Begins a line.
    pub(super) fn begin(&mut self, kind: &str, time_ms: u64) -> &mut Self {
        self.head.clear();
        self.data.clear();
        self.head.push_str(r#"{"kind":""#);
        self.head.push_str(kind);
        self.head.push('"');
        self.number("time_ms", time_ms)
    }

    pub(super) fn of(&mut self, kind: Kind, time_ms: u64) -> &mut Self {
        self.begin(kind.name(), time_ms)
    }

    fn name(&mut self, name: &str) {
        self.head.push_str(",\"");
        self.head.push_str(name);
        self.head.push_str("\":");
    }

    pub(super) fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.name(name);
        _ = write!(self.head, "{value}");
        self
    }

    pub(super) fn flag(&mut self, name: &str, value: bool) -> &mut Self {
        self.raw(name, if value { "true" } else { "false" })
    }

    pub(super) fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.name(name);
        push_json_string(&mut self.head, value);
        self
    }

    /// A value that is printed and needs no escapes, such as an address; `null` if there is none.
    pub(super) fn plain(&mut self, name: &str, value: Option<impl Display>) -> &mut Self {
        self.name(name);
        match value {
            Some(value) => _ = write!(self.head, "\"{value}\""),
            None => self.head.push_str("null"),
        }
        self
    }

    /// A text, if there is one.
    pub(super) fn optional(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    /// A text, or `null`.
    pub(super) fn nullable(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(name, value),
            None => self.raw(name, "null"),
        }
    }

    pub(super) fn list<'a>(
        &mut self,
        name: &str,
        values: impl IntoIterator<Item = &'a str>,
    ) -> &mut Self {
        self.name(name);
        for (n, value) in values.into_iter().enumerate() {
            self.head.push(if n == 0 { '[' } else { ',' });
            push_json_string(&mut self.head, value);
        }
        if self.head.ends_with(':') {
            self.head.push('[');
        }
        self.head.push(']');
        self
    }

    /// Frees the capacity that a long line has left.
    pub(super) fn shrink(&mut self) {
        self.head.shrink_to(SCRATCH_BYTES);
    }

    /// A value that is JSON text.
    pub(super) fn raw(&mut self, name: &str, json: &str) -> &mut Self {
        self.name(name);
        self.head.push_str(json);
        self
    }

    /// A text that is JSON text of a client. A lone half of a surrogate pair in it would make the
    /// line invalid for many parsers: such a text is shown as the client wrote it.
    pub(super) fn json_text(&mut self, name: &str, json: &str) -> &mut Self {
        match message::is_string(json) {
            true => self.raw(name, json),
            false => self.text(name, json),
        }
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
        serde_json::from_str(&format!("{}{}}}", line.head, line.data)).unwrap()
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
    fn members_are_valid_json() {
        let mut line = Line::default();
        line.begin("x", 1).text("a", "\"\n\u{1}</script>").plain("b", None::<u32>);
        line.list("c", []).list("d", ["e", "\\"]).json_text("f", r#""\ud800""#).flag("g", true);
        let line: Value = serde_json::from_str(&format!("{}}}", line.head)).unwrap();
        assert_eq!(line["a"], "\"\n\u{1}</script>");
        assert_eq!(line["b"], Value::Null);
        assert_eq!(line["c"], serde_json::json!([]));
        assert_eq!(line["d"], serde_json::json!(["e", "\\"]));
        assert_eq!(line["f"], r#""\ud800""#);
    }
}
