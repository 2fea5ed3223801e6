//! Writes a JSON object member by member: for the lines of the feed, the responses of the console and
//! the messages of the commands. No tree of values is built for it.

use std::fmt::{Display, Write};

use super::message::push_json_string;

/// A JSON object that is being written.
#[derive(Debug, Default)]
pub struct JsonObject {
    /// The object without its end; empty before the first member.
    text: String,
}

impl JsonObject {
    /// Begins an object.
    pub fn new() -> Self {
        JsonObject::default()
    }

    /// Begins another object in the same buffer.
    pub fn restart(&mut self) {
        self.text.clear();
    }

    /// Appends the name of a member; its value must follow.
    fn name(&mut self, name: &str) {
        self.text.push(if self.text.is_empty() { '{' } else { ',' });
        self.text.push('"');
        self.text.push_str(name);
        self.text.push_str("\":");
    }

    /// A value that is JSON text.
    pub fn raw(&mut self, name: &str, json: &str) -> &mut Self {
        self.name(name);
        self.text.push_str(json);
        self
    }

    /// A number.
    pub fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.name(name);
        _ = write!(self.text, "{value}");
        self
    }

    /// A number, or `null`.
    pub fn nullable_number(&mut self, name: &str, value: Option<u64>) -> &mut Self {
        match value {
            Some(value) => self.number(name, value),
            None => self.raw(name, "null"),
        }
    }

    /// A boolean.
    pub fn flag(&mut self, name: &str, value: bool) -> &mut Self {
        self.raw(name, if value { "true" } else { "false" })
    }

    /// A text.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.name(name);
        push_json_string(&mut self.text, value);
        self
    }

    /// A text, if there is one.
    pub fn optional(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    /// A text, or `null`.
    pub fn nullable(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(name, value),
            None => self.raw(name, "null"),
        }
    }

    /// A text that is the printed form of a value which needs no escapes, such as an address.
    pub fn printed(&mut self, name: &str, value: &dyn Display) -> &mut Self {
        self.name(name);
        _ = write!(self.text, "\"{value}\"");
        self
    }

    /// As [`JsonObject::printed`], or `null`.
    pub fn nullable_printed(&mut self, name: &str, value: Option<impl Display>) -> &mut Self {
        match value {
            Some(value) => self.printed(name, &value),
            None => self.raw(name, "null"),
        }
    }

    /// A list of texts.
    pub fn texts(&mut self, name: &str, texts: &mut dyn Iterator<Item = &str>) -> &mut Self {
        self.name(name);
        self.text.push('[');
        for (n, text) in texts.enumerate() {
            if n > 0 {
                self.text.push(',');
            }
            push_json_string(&mut self.text, text);
        }
        self.text.push(']');
        self
    }

    /// A list of values that are JSON texts.
    pub fn list(&mut self, name: &str, values: &[String]) -> &mut Self {
        self.name(name);
        self.text.push('[');
        self.text.push_str(&values.join(","));
        self.text.push(']');
        self
    }

    /// The object so far, which lacks only the brace at its end; empty without members.
    pub fn unended(&self) -> &str {
        &self.text
    }

    /// The whole object. What is written afterwards is another one.
    pub fn end(&mut self) -> String {
        let mut text = std::mem::take(&mut self.text);
        text.push_str(if text.is_empty() { "{}" } else { "}" });
        text
    }

    /// Reduces the capacity of the buffer to this many bytes, if the object takes fewer.
    pub fn shrink_to(&mut self, bytes: usize) {
        self.text.shrink_to(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn members_are_valid_json() {
        let mut object = JsonObject::new();
        object.text("a", "\"\n\u{1}</script>").nullable_printed("b", None::<u32>);
        object.texts("c", &mut [].into_iter()).texts("d", &mut ["e", "\\"].into_iter());
        object.flag("f", true).number("g", u64::MAX).nullable_number("h", None);
        object.printed("i", &1.5).optional("j", None).nullable("k", None).raw("l", "{}");
        object.list("m", &["1".into(), JsonObject::new().end()]).list("n", &[]);
        let written: Value = serde_json::from_str(&object.end()).unwrap();
        let expected = json!({
            "a": "\"\n\u{1}</script>", "b": null, "c": [], "d": ["e", "\\"], "f": true,
            "g": u64::MAX, "h": null, "i": "1.5", "k": null, "l": {}, "m": [1, {}], "n": [],
        });
        assert_eq!(written, expected);
        assert_eq!(object.end(), "{}", "another object");
    }
}
