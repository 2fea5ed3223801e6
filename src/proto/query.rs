//! Query strings: the decoded parameters in their order, and the text that is signed.
//!
//! Keys are in the form that the signature needs (protocol section 14.1): in lower case, with array
//! parameters under their plain name. The meaning of parameters is in the hub.

use std::borrow::Cow;

/// The decoded parameters of a query string.
#[derive(Debug, PartialEq, Eq)]
pub struct Query<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Query<'a> {
    /// Splits and decodes `text`, the part of a target after the `?`.
    pub fn parse(text: &'a str) -> Self {
        // Few queries have anything to decode, so the whole text is checked once.
        let plain = text.bytes().fold(true, |plain, byte| plain & !matches!(byte, b'%' | b'+'));
        let decode = |text| if plain { Cow::Borrowed(text) } else { decode_form(text) };
        let mut pairs = Vec::with_capacity(8);
        let mut rest = text;
        while !rest.is_empty() {
            let (pair, others) = halves(rest, b'&');
            rest = others;
            if pair.is_empty() {
                continue;
            }
            let (key, value) = halves(pair, b'=');
            let mut key = decode(key);
            if key.bytes().any(|b| b.is_ascii_uppercase()) {
                key = key.to_ascii_lowercase().into();
            }
            pairs.push((key, decode(value)));
        }
        Query { pairs }
    }

    /// The first value of this key.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_ref())
    }

    /// The signed text: all parameters except the signature, sorted by key, not encoded. An array
    /// parameter is `key[]=a&key[]=b`, as in the reference library.
    pub fn signed(&self) -> String {
        let mut pairs: Vec<_> = self.pairs.iter().filter(|(k, _)| k != "auth_signature").collect();
        // Most publishers send sorted parameters.
        if !pairs.is_sorted_by(|a, b| a.0 <= b.0) {
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
        }
        join(pairs.iter().map(|(k, v)| (k.as_ref(), v.as_ref())))
    }

    /// The signed text with joined values of array parameters: `key=a,b`, as in PHP's library. `None`
    /// if there is no array parameter.
    pub fn signed_with_joined_arrays(&self) -> Option<String> {
        let plain = |key: &str| key.split_once('[').map(|(name, _)| name.to_owned());
        if !self.pairs.iter().any(|(k, _)| plain(k).is_some()) {
            return None;
        }
        let pairs = self.pairs.iter().filter(|(k, _)| k != "auth_signature");
        let mut named: Vec<(String, bool, &str)> = pairs
            .map(|(key, value)| match plain(key) {
                Some(name) => (name, true, value.as_ref()),
                None => (key.to_string(), false, value.as_ref()),
            })
            .collect();
        // A stable sort: the values of an array stay in order, next to each other.
        named.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        let mut joined: Vec<(String, bool, String)> = Vec::new();
        for (name, is_array, value) in named {
            match joined.last_mut() {
                Some((last, true, values)) if is_array && *last == name => {
                    values.push(',');
                    values.push_str(value);
                }
                _ => joined.push((name, is_array, value.to_owned())),
            }
        }
        Some(join(joined.iter().map(|(k, _, v)| (k.as_str(), v.as_str()))))
    }
}

/// Splits a text at the first `separator`, an ASCII character; without one, the second part is
/// empty. For texts this short a loop over bytes is faster than `split_once`.
fn halves(text: &str, separator: u8) -> (&str, &str) {
    match text.bytes().position(|byte| byte == separator) {
        Some(place) => (&text[..place], &text[place + 1..]),
        None => (text, ""),
    }
}

fn join<'p>(pairs: impl Iterator<Item = (&'p str, &'p str)>) -> String {
    let mut text = String::with_capacity(192);
    for (key, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(key);
        text.push('=');
        text.push_str(value);
    }
    text
}

/// Decodes a key or value: `+` is a space, `%XX` a byte.
fn decode_form(text: &str) -> Cow<'_, str> {
    match text.contains('+') {
        true => decode_percent(&text.replace('+', " ")).into_owned().into(),
        false => decode_percent(text),
    }
}

/// Decodes `%XX`; an invalid escape stays as it is, and bytes that are not UTF-8 are replaced.
pub fn decode_percent(text: &str) -> Cow<'_, str> {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signed_text_is_decoded_sorted_and_in_lower_case() {
        let query = Query::parse("b=2&Auth_Key=k&a=x%2Cy+z&auth_signature=s&empty&a=1");
        assert_eq!(query.signed(), "a=x,y z&a=1&auth_key=k&b=2&empty=");
        assert_eq!(query.value("auth_key"), Some("k"));
        assert_eq!(query.value("auth_signature"), Some("s"));
        assert_eq!(query.signed_with_joined_arrays(), None);
    }

    #[test]
    fn arrays_have_two_signed_forms() {
        let query = Query::parse("k%5B0%5D=a&k[1]=b&c=d");
        assert_eq!(query.signed(), "c=d&k[0]=a&k[1]=b");
        assert_eq!(query.signed_with_joined_arrays().unwrap(), "c=d&k=a,b");
    }

    #[test]
    fn invalid_escapes_stay() {
        assert_eq!(decode_percent("100%"), "100%");
        assert_eq!(decode_percent("%zz%41%"), "%zzA%");
        assert_eq!(decode_percent("%c3%a9%ff"), "é\u{fffd}");
    }
}
