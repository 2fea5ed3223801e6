//! Parses values: numbers, booleans, paths, names. The type of each setting is in `settings`.
//!
//! An error continues the name of the setting: `"x" is not a whole number` after `port: `.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use super::{ClientEvents, Network};
use crate::proto::shown::is_unsafe_to_show;

/// Parses a whole number and checks its range.
///
/// # Errors
///
/// The text is not a number, or out of range.
pub fn whole(text: &str, range: &RangeInclusive<u64>) -> Result<u64, String> {
    let digits = text.trim();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("{} is not a whole number", shown(text)));
    }
    // Digits alone fail to parse only when there are too many of them.
    match digits.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => {
            Err(format!("{} is not between {} and {}", shorten(digits), range.start(), range.end()))
        }
    }
}

/// Formats a text for errors: quoted, escaped and shortened.
pub fn shown(text: &str) -> String {
    format!("{:?}", shorten(text))
}

/// Normalises a path prefix: a slash at the beginning and none at the end, or empty.
///
/// # Errors
///
/// The path has an empty segment, or a character that is invalid in a URL.
pub fn path_prefix(text: &str) -> Result<String, String> {
    let inner = text.trim_matches('/');
    if inner.is_empty() {
        return Ok(String::new());
    }
    if inner.split('/').any(|segment| segment.is_empty() || !segment.chars().all(is_url_safe)) {
        return Err(format!("{} is not a valid URL path", shown(text)));
    }
    Ok(format!("/{inner}"))
}

/// Parses a boolean in the spellings of Laravel. `off`, which PHP takes for true, is an error.
///
/// # Errors
///
/// The text is any other word; the error quotes it.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "(true)" | "1" => Ok(true),
        "false" | "(false)" | "0" => Ok(false),
        _ => Err(format!("{} is neither true nor false", shown(text))),
    }
}

/// Parses a value that is also written as `on` or `off`.
///
/// # Errors
///
/// The text is none of them; the error quotes it.
pub fn switch(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => boolean(text).map_err(|_| format!("{} is neither on nor off", shown(text))),
    }
}

/// Parses the setting that selects which client events are forwarded.
///
/// # Errors
///
/// The text is any other word; the error quotes it.
pub fn client_events(text: &str) -> Result<ClientEvents, String> {
    match text {
        "all" => Ok(ClientEvents::All),
        "members" => Ok(ClientEvents::Members),
        "none" => Ok(ClientEvents::None),
        _ => Err(format!("{} is not one of all, members, none", shown(text))),
    }
}

/// Validates a host name or address without resolving it.
///
/// # Errors
///
/// The text is empty, or has white space or a control character.
pub fn host_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().any(|c| c.is_whitespace() || is_unsafe_to_show(c)) {
        return Err(format!("{} is not a host name", shown(text)));
    }
    Ok(text.to_owned())
}

/// Validates listen addresses, separated by commas, and removes the brackets of IPv6 addresses.
///
/// # Errors
///
/// One of the addresses is empty, or has white space or a control character.
pub fn bind_addresses(text: &str) -> Result<String, String> {
    let one = |part: &str| {
        let inner = part.strip_prefix('[').and_then(|part| part.strip_suffix(']'));
        host_name(inner.unwrap_or(part))
    };
    let all: Result<Vec<_>, _> = text.split(',').map(|part| one(part.trim())).collect();
    Ok(all?.join(","))
}

/// Parses the address for metrics: an address with a port, or a port of the loopback address.
///
/// # Errors
///
/// The text is neither.
pub fn metrics_address(text: &str) -> Result<SocketAddr, String> {
    let port = text.parse().map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    port.or_else(|_| text.parse()).map_err(|_| {
        format!("{} is neither a port nor an address such as 127.0.0.1:9100", shown(text))
    })
}

/// Parses addresses and networks, separated by commas.
///
/// # Errors
///
/// One of them is invalid; the error quotes the first.
pub fn networks(text: &str) -> Result<Vec<Network>, String> {
    let one = |part: &str| {
        let error =
            || format!("{} is neither an address nor a network such as 10.0.0.0/8", shown(part));
        Network::parse(part).ok_or_else(error)
    };
    text.split(',').map(|part| one(part.trim())).collect()
}

/// Validates the id or key of an app, which is one segment of a URL.
///
/// # Errors
///
/// The text is empty or has a character that is invalid in a URL. The error does not quote the
/// text, because it may be the secret in the wrong place.
pub fn url_safe(text: &str) -> Result<String, String> {
    if text.is_empty() || !text.chars().all(is_url_safe) {
        return Err("has a character that is invalid in a URL".into());
    }
    Ok(text.to_owned())
}

fn is_url_safe(character: char) -> bool {
    character.is_ascii_graphic() && !"/?#%\"<>\\^`{|}".contains(character)
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Parses a fraction greater than 0 and at most 1, with up to six decimals, into parts per million.
pub fn share_ppm(text: &str) -> Result<u32, String> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{decimals:0<6}");
    let has_valid_form =
        whole.len() == 1 && digits.len() == 7 && digits.bytes().all(|digit| digit.is_ascii_digit());
    match digits.parse() {
        Ok(ppm @ 1..=1_000_000) if has_valid_form => Ok(ppm),
        _ => Err(format!("{} is not a share such as 1 or 0.01", shown(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_prefix_is_normalised() {
        for text in ["ws", "/ws", "/ws/", "ws/", "//ws//"] {
            assert_eq!(path_prefix(text).unwrap(), "/ws", "{text}");
        }
        assert_eq!(path_prefix("/").unwrap(), "");
        assert_eq!(path_prefix("a/b").unwrap(), "/a/b");
        for text in ["a//b", "a?b", "a b", "é", "a#"] {
            let message = format!("{text:?} is not a valid URL path");
            assert_eq!(path_prefix(text).unwrap_err(), message);
        }
    }

    #[test]
    fn an_id_or_key_that_is_invalid_in_urls_is_rejected_unquoted() {
        for wrong in ["a/b", "a b", "a?b", "ä", ""] {
            let message = "has a character that is invalid in a URL";
            assert_eq!(url_safe(wrong).unwrap_err(), message);
        }
        assert_eq!(url_safe("a-B_1.2~").unwrap(), "a-B_1.2~");
    }

    #[test]
    fn shown_texts_are_quoted_escaped_and_short() {
        assert_eq!(shown("a\n"), "\"a\\n\"");
        assert_eq!(shown(&"é".repeat(41)), format!("\"{}…\"", "é".repeat(40)));
    }

    #[test]
    fn a_share_is_in_parts_per_million() {
        for (text, ppm) in [("1", 1_000_000), ("0.1", 100_000), ("0.000001", 1), ("1.0", 1_000_000)]
        {
            assert_eq!(share_ppm(text), Ok(ppm), "{text}");
        }
        for text in ["0", "0.0", "1.1", "2", "-1", "x", "1,0", "0.0000001", ".5", "10%", "+.5"] {
            assert!(share_ppm(text).is_err(), "{text}");
        }
    }
}
