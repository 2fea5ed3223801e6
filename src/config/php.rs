//! Reads the values that PHP's `var_export` writes, as in the configuration that `php artisan
//! config:cache` stores. It runs no PHP: calls, constants and objects have no value.
//!
//! The meaning of the values is in `cached`.

use serde_json::{Map, Value};

/// The value that a PHP file returns: `<?php return VALUE;`. An array is an object, as its keys may be
/// any; a value that is not a literal, and a number with decimals, is `null`. `None` for any other file.
pub fn returned(text: &str) -> Option<Value> {
    let text = text.trim_start().strip_prefix("<?php")?.trim_start().strip_prefix("return")?;
    let mut reader = Reader { rest: text };
    let value = reader.value(0)?;
    reader.token(";").then_some(value)
}

/// Deeper arrays are not read. Those of Laravel's configuration have six levels.
const DEPTH_MAX: usize = 64;

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    /// Texts, joined by dots, or one other value.
    fn value(&mut self, depth: usize) -> Option<Value> {
        let first = self.single(depth)?;
        if !self.token(".") {
            return Some(first);
        }
        let mut joined = first.as_str()?.to_owned();
        loop {
            joined.push_str(self.single(depth)?.as_str()?);
            if !self.token(".") {
                return Some(Value::String(joined));
            }
        }
    }

    fn single(&mut self, depth: usize) -> Option<Value> {
        if depth > DEPTH_MAX {
            return None;
        }
        if self.token("(object)") {
            return self.single(depth + 1);
        }
        self.skip_space();
        match self.rest.chars().next()? {
            quote @ ('\'' | '"') => self.quoted(quote).map(Value::String),
            '[' => {
                self.token("[");
                self.array("]", depth)
            }
            _ => self.word(depth),
        }
    }

    /// A number, a constant, an array, or the call of a constructor.
    fn word(&mut self, depth: usize) -> Option<Value> {
        let is_part = |c: char| c.is_alphanumeric() || "_\\:+-.".contains(c);
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        if word.is_empty() {
            return None;
        }
        self.rest = rest;
        if word.eq_ignore_ascii_case("array") && self.token("(") {
            return self.array(")", depth);
        }
        if self.token("(") {
            if !self.token(")") {
                self.value(depth + 1)?;
                self.token(",");
                return self.token(")").then_some(Value::Null);
            }
            return Some(Value::Null);
        }
        Some(match word.to_ascii_lowercase().as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            // No setting that is compared has decimals.
            _ => word.parse::<i64>().map_or(Value::Null, Value::from),
        })
    }

    /// The entries of an array, up to its end.
    fn array(&mut self, end: &str, depth: usize) -> Option<Value> {
        let mut entries = Map::new();
        let mut next = 0;
        while !self.token(end) {
            let first = self.value(depth + 1)?;
            let (key, value) = match self.token("=>") {
                true => (self.key(first)?, self.value(depth + 1)?),
                false => (next.to_string(), first),
            };
            next = key.parse().map_or(next, |index: u64| index.saturating_add(1));
            entries.insert(key, value);
            if !self.token(",") && !self.rest.trim_start().starts_with(end) {
                return None;
            }
        }
        Some(Value::Object(entries))
    }

    fn key(&self, key: Value) -> Option<String> {
        match key {
            Value::String(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// A text in quotes. In single quotes PHP has two escapes; `var_export` uses double quotes for a
    /// NUL only.
    fn quoted(&mut self, quote: char) -> Option<String> {
        let mut text = String::new();
        let mut characters = self.rest.char_indices().skip(1);
        while let Some((at, c)) = characters.next() {
            match c {
                _ if c == quote => {
                    self.rest = &self.rest[at + 1..];
                    return Some(text);
                }
                '\\' => match characters.next()?.1 {
                    '0' if quote == '"' => text.push('\0'),
                    escaped if escaped == '\\' || escaped == quote => text.push(escaped),
                    other => text.extend(['\\', other]),
                },
                _ => text.push(c),
            }
        }
        None
    }

    /// Skips a token, if it is the next one.
    fn token(&mut self, token: &str) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: &str) -> Option<Value> {
        returned(&format!("<?php return {value};\n"))
    }

    #[test]
    fn what_var_export_writes_is_read() {
        for (text, value) in [
            ("array (\n  'a' => \n  array (\n    0 => 'b',\n  ),\n)", json!({"a": {"0": "b"}})),
            ("['a', 5 => 'b', 'c']", json!({"0": "a", "5": "b", "6": "c"})),
            (r"'it\'s \\ \n'", json!(r"it's \ \n")),
            (r#"'' . "\0" . 'x'"#, json!("\0x")),
            ("-5", json!(-5)),
            ("0.5", json!(null)),
            ("1.0E+25", json!(null)),
            ("true", json!(true)),
            ("NULL", json!(null)),
            (r"\App\Level::High", json!(null)),
            (r"\App\Money::__set_state(array('a' => 1,))", json!(null)),
            ("(object) array('a' => false)", json!({"a": false})),
            ("array()", json!({})),
        ] {
            assert_eq!(read(text), Some(value), "{text}");
        }
    }

    #[test]
    fn other_files_have_no_value() {
        for text in
            ["array(", "array('a' => )", "'a", "'a' 'b'", "f(1, 2)", "array('a' 'b')", "$x", ""]
        {
            assert_eq!(read(text), None, "{text}");
        }
        for text in ["", "<?php", "<html>", "<?php return 1"] {
            assert_eq!(returned(text), None, "{text}");
        }
        assert_eq!(read(&"[".repeat(100_000)), None);
        assert_eq!(read(&"f(".repeat(100_000)), None);
        assert_eq!(read(&"(object)".repeat(100_000)), None);
    }
}
