//! Parses JSON only as far as the caller needs, and encodes JSON strings. A forwarded value stays
//! the same text. The meaning of members is in `message`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde_core::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of a JSON object, each as its JSON text. Of two members with one name the last
/// counts, as in PHP.
#[derive(Debug, Default)]
pub struct Object<'a> {
    /// In the order of the text. A linear search for a few members is faster than building a map.
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// The member of this name.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.members.iter().rev().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// The text of the member of this name, if it is a string.
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        string(self.get(name)?.get())
    }

    /// The number of the member of this name, if it is a whole one.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.get().parse().ok()
    }

    /// The members in the order of the text, each with its value as JSON text.
    pub fn members(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.members.iter().map(|(name, value)| (&**name, value.get()))
    }

    /// The values, sorted by name.
    pub fn values(&self) -> Vec<&'a RawValue> {
        let mut values = BTreeMap::new();
        for (name, value) in &self.members {
            values.insert(&**name, *value);
        }
        values.into_values().collect()
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut object = Object::default();
                while let Some((Name(name), value)) = map.next_entry()? {
                    object.members.push((name, value));
                }
                Ok(object)
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// A string that is copied only where an escape must be decoded.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(text.into()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(text.to_owned().into()))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// The members of this JSON text, if it is an object.
pub fn object(text: &str) -> Option<Object<'_>> {
    serde_json::from_str(text).ok()
}

/// Whether this JSON text is an object, checked without collecting its members.
pub fn is_object(text: &str) -> bool {
    text.trim_ascii_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// The elements of this JSON text, if it is an array.
pub fn array(text: &str) -> Option<Vec<&RawValue>> {
    serde_json::from_str(text).ok()
}

/// The elements of what PHP calls an array: those of a list, or the values of an object.
pub fn elements(text: &str) -> Option<Vec<&RawValue>> {
    array(text).or_else(|| Some(object(text)?.values()))
}

/// The elements of what PHP calls an array, as objects; any other value counts as an object without
/// members. If all are objects, the text is read only once.
pub fn objects(text: &str) -> Option<Vec<Object<'_>>> {
    serde_json::from_str(text).ok().or_else(|| {
        let elements = elements(text)?.into_iter();
        Some(elements.map(|element| object(element.get()).unwrap_or_default()).collect())
    })
}

/// The text of this JSON text, if it is a string.
pub fn string(text: &str) -> Option<Cow<'_, str>> {
    // Anything else is not a string; this check avoids the cost of an error.
    let is_string = text.trim_ascii_start().starts_with('"');
    is_string.then(|| serde_json::from_str(text).ok()).flatten().map(|Name(text)| text)
}

/// Whether this valid JSON text is a string that can be decoded. Only `\u` escapes are checked:
/// one may be half a surrogate pair, which `RawValue` accepts.
pub fn is_string(json: &str) -> bool {
    json.starts_with('"') && (!json.contains("\\u") || string(json).is_some())
}

/// The length in bytes of the text that this valid JSON text stands for: of a string without its
/// quotes and escapes, of another value as it is.
pub fn text_len(json: &str) -> u64 {
    if !json.starts_with('"') {
        return json.len() as u64;
    }
    if json.contains("\\u") {
        return string(json).map_or(json.len(), |text| text.len()) as u64;
    }
    // Every other escape has two bytes and stands for one.
    let (mut bytes, mut len) = (json.bytes(), 0);
    while let Some(byte) = bytes.next() {
        if byte == b'\\' {
            bytes.next();
        }
        len += 1;
    }
    len - 2
}

/// Whether this valid JSON text is a string of white space only, or empty.
pub fn is_blank_string(json: &str) -> bool {
    let rest = json.strip_prefix('"').and_then(|rest| rest.bytes().next());
    // The first byte suffices for most strings.
    let may_be = rest.is_some_and(|b| !b.is_ascii_graphic() || b == b'"' || b == b'\\');
    may_be && string(json).is_some_and(|text| text.trim().is_empty())
}

/// Encodes a text as a JSON string.
pub fn json_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_json_string(&mut out, text);
    out
}

/// Appends text as a JSON string.
pub fn push_json_string(out: &mut String, text: &str) {
    out.push('"');
    push_escaped(out, text);
    out.push('"');
}

/// The length of a text in a JSON string, in bytes.
pub fn escaped_len(text: &str) -> usize {
    let len = |byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(len).sum()
}

/// The length of a text in a JSON string that is itself in a JSON string, in bytes.
pub fn twice_escaped_len(text: &str) -> usize {
    let len = |byte| match byte {
        b'"' | b'\\' => 4,
        b'\n' | b'\r' | b'\t' => 3,
        0..0x20 => 7,
        _ => 1,
    };
    text.bytes().map(len).sum()
}

/// Appends text, escaped for a JSON string, without quotes.
pub fn push_escaped(out: &mut String, text: &str) {
    let mut rest = text;
    // Most texts need no escapes and are copied in one piece.
    while let Some(at) = rest.bytes().position(|b| b < 0x20 || b == b'"' || b == b'\\') {
        out.push_str(&rest[..at]);
        let escaped = rest.as_bytes()[at];
        match escaped {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            _ => {
                out.push_str("\\u00");
                out.push(char::from(b'0' + (escaped >> 4)));
                out.push(char::from(b"0123456789abcdef"[usize::from(escaped & 15)]));
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_two_members_with_one_name_counts() {
        let text = r#"{"b":1,"\u0061":2,"b":[3, 4],"a":5}"#;
        let object = object(text).unwrap();
        assert_eq!(object.get("a").map(RawValue::get), Some("5"));
        assert_eq!(object.get("b").map(RawValue::get), Some("[3, 4]"));
        assert!(object.get("c").is_none());
        let values: Vec<&str> = object.values().iter().map(|raw| raw.get()).collect();
        assert_eq!(values, ["5", "[3, 4]"]);
    }

    #[test]
    fn other_values_are_not_objects() {
        for text in ["", "[]", "{", "{}x", r#"{"a"}"#, r#"{"\ud800":1}"#, r#"{1:2}"#, "null"] {
            assert!(object(text).is_none(), "{text}");
            // A lone surrogate in a name makes `object` fail, although the text is an object.
            assert_eq!(is_object(text), text.contains("ud800"), "{text}");
        }
        assert!(object(" {} ").is_some() && is_object(" {} "));
    }

    #[test]
    fn a_string_is_copied_only_if_it_has_escapes() {
        assert!(matches!(string(r#""plain""#), Some(Cow::Borrowed("plain"))));
        assert_eq!(string(r#" "\u0041\n" "#).as_deref(), Some("A\n"));
        for text in ["", "1", "null", "[]", r#"""#, r#""\ud800""#, r#""a" 1"#] {
            assert_eq!(string(text), None, "{text}");
        }
    }

    #[test]
    fn strings_are_recognized_without_decoding() {
        for json in [
            r#""""#,
            r#"" ""#,
            r#""x""#,
            r#""\n""#,
            r#""\u0020""#,
            r#""\u2003 ""#,
            "\"\u{2003}\"",
            r#""\ud800""#,
            r#""\ud83d\ude00""#,
            r#""{\"a\":1}""#,
            r#""\\u""#,
            r#""\"""#,
            "\"é\"",
            "1",
            "null",
            "[]",
            r#"["x"]"#,
            r#"{"a":"b"}"#,
        ] {
            let raw: &RawValue = serde_json::from_str(json).unwrap();
            let text = string(raw.get());
            assert_eq!(is_string(raw.get()), text.is_some(), "{json}");
            let blank = text.is_some_and(|text| text.trim().is_empty());
            assert_eq!(is_blank_string(raw.get()), blank, "{json}");
        }
        for json in ["\"\u{1}\"", r#""\x""#, r#""\u12""#, "\"\n\""] {
            assert!(serde_json::from_str::<&RawValue>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn the_length_of_a_text_is_that_of_its_decoded_form() {
        for (json, len) in [
            (r#""""#, 0),
            (r#""abc""#, 3),
            (r#""a\n\\""#, 3),
            (r#""\u00e9\ud83d\ude00""#, 6),
            (r#""\ud800""#, 8),
            (r#"{"a":"\n"}"#, 10),
            ("12", 2),
        ] {
            assert_eq!(text_len(json), len, "{json}");
        }
    }

    #[test]
    fn strings_are_escaped_for_json() {
        for text in ["", "plain é", "\"\\/\n\r\t\u{8}\u{0}\u{1f}\u{7f}\u{2028}", "\u{1}x\u{1}"] {
            assert_eq!(serde_json::from_str::<String>(&json_string(text)).unwrap(), text);
            assert_eq!(escaped_len(text) + 2, json_string(text).len());
            assert_eq!(twice_escaped_len(text) + 4, escaped_len(&json_string(text)));
        }
        assert_eq!(json_string("\u{1}\u{1f}"), r#""\u0001\u001f""#);
    }
}
