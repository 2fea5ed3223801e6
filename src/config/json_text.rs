//! Parses JSON with two additions: errors name the file, and a repeated key in an object is an
//! error.
//!
//! The meaning of the keys is in `json`.

use std::collections::HashSet;

use serde_json::Value;

use super::Error;

/// Parses a JSON text; `source` names its file.
///
/// # Errors
///
/// A syntax error with line and column, or a repeated key with its line. Values are not quoted.
pub fn parse(source: &str, text: &str) -> Result<Value, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let tree = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let position = format!(" at line {line} column {column}");
        let reason = text.strip_suffix(&position).unwrap_or(&text);
        Error::whole(format_args!("{source}:{line}:{column}"), reason)
    })?;
    match repeated_key(text) {
        None => Ok(tree),
        Some((line, key)) => {
            Err(Error::new(format_args!("{source}:{line}"), key, "appears twice in one object"))
        }
    }
}

/// The first repeated key in an object, and its line. The text must be valid.
fn repeated_key(text: &str) -> Option<(usize, String)> {
    // The keys of each enclosing object; `None` for a list.
    let mut open: Vec<Option<HashSet<String>>> = Vec::new();
    let mut at = 0;
    while let Some(byte) = text.as_bytes().get(at) {
        match byte {
            b'{' => open.push(Some(HashSet::new())),
            b'[' => open.push(None),
            b'}' | b']' => _ = open.pop(),
            b'"' => {
                let end = at + string_length(&text[at..]);
                let is_key = text[end..].trim_start().starts_with(':');
                if is_key && let Some(Some(keys)) = open.last_mut() {
                    // Decoded, because escapes allow several spellings of one key.
                    let key: String = serde_json::from_str(&text[at..end]).unwrap_or_default();
                    if keys.contains(&key) {
                        return Some((text[..at].matches('\n').count() + 1, key));
                    }
                    keys.insert(key);
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The length of the JSON string at the beginning of `text`, with its quotes.
fn string_length(text: &str) -> usize {
    let mut bytes = text.bytes().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => _ = bytes.next(),
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse("reverb.json", text).unwrap_err().to_string()
    }

    #[test]
    fn a_syntax_error_has_line_and_column() {
        assert_eq!(refused("{\n  \"a\": 1,\n}"), "reverb.json:3:1: trailing comma");
        assert_eq!(refused(""), "reverb.json:1:0: EOF while parsing a value");
        assert_eq!(refused("{\"a\": sesame}"), "reverb.json:1:7: expected value");
        assert_eq!(refused("{} {}"), "reverb.json:1:4: trailing characters");
        assert_eq!(refused(&"[".repeat(200)), "reverb.json:1:128: recursion limit exceeded");
    }

    #[test]
    fn a_repeated_key_is_rejected() {
        let text = "{\"a\": {\"b\": 1},\n \"c\": [{\"b\": \"}\\\"\"}],\n \"a\": 2}";
        assert_eq!(refused(text), "reverb.json:3: a: appears twice in one object");
        assert_eq!(
            refused(r#"{"a":1,"\u0061":2}"#),
            "reverb.json:1: a: appears twice in one object"
        );
    }

    #[test]
    fn several_objects_may_have_the_same_key() {
        let text = r#"{"a": {"a": "a"}, "b": ["a", "a", {"a": [], "c": ":"}], "é\\": 1}"#;
        assert!(parse("reverb.json", text).is_ok());
        assert!(parse("reverb.json", "\u{feff}[]").is_ok());
    }
}
