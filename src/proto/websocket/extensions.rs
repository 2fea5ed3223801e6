//! Parses `Sec-WebSocket-Extensions`, in which a client offers extensions (RFC 6455 section 9.1), and
//! finds the offer of permessage-deflate that the server accepts (RFC 7692 section 7.1). Compressing
//! and decompressing is in `deflate`.

/// The answer to each offer that is accepted. No message refers to an earlier one, in either
/// direction, so neither side keeps a window between two messages. Firefox aborts the handshake if the
/// answer has an unknown parameter, and OkHttp if it has `client_max_window_bits`: this one is
/// accepted by all clients.
pub const DEFLATE: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// Whether one of the offers in the header is permessage-deflate with parameters that [`DEFLATE`]
/// answers. A client sends its offers in the order of its preference; as there is one answer, the
/// order has no effect.
pub fn offers_deflate(header: &[u8]) -> bool {
    split(header, b',').any(is_accepted)
}

/// Whether an offer is well-formed, and limits the window of the server to no less than 32 KiB, which
/// the compressor uses.
fn is_accepted(offer: &[u8]) -> bool {
    let mut parts = split(offer, b';').map(<[u8]>::trim_ascii);
    if parts.next() != Some(b"permessage-deflate") {
        return false;
    }
    let mut seen = [false; PARAMETERS.len()];
    parts.all(|parameter| {
        let (name, value) = name_and_value(parameter);
        let Some(at) = PARAMETERS.iter().position(|(known, _)| known.as_bytes() == name) else {
            return false;
        };
        // A parameter that occurs twice makes the offer invalid.
        !std::mem::replace(&mut seen[at], true) && PARAMETERS[at].1(value)
    })
}

/// Whether a parameter may have this value, or none.
type IsAccepted = fn(Option<&[u8]>) -> bool;

/// The parameters of an offer.
const PARAMETERS: [(&str, IsAccepted); 4] = [
    ("server_no_context_takeover", |value| value.is_none()),
    ("client_no_context_takeover", |value| value.is_none()),
    // The window of the server, as the exponent of two.
    ("server_max_window_bits", |value| value == Some(b"15")),
    // The client can limit its own window; without a value, it only says that it would obey a limit.
    ("client_max_window_bits", |value| value.is_none_or(is_window)),
];

/// Whether this is the exponent of a window: from 8 to 15, without a leading zero.
fn is_window(value: &[u8]) -> bool {
    matches!(value, [b'8' | b'9'] | [b'1', b'0'..=b'5'])
}

/// The parts of a parameter. A value may be in quotes (RFC 6455 section 9.1).
fn name_and_value(parameter: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(at) = parameter.iter().position(|&byte| byte == b'=') else {
        return (parameter, None);
    };
    let value = parameter[at + 1..].trim_ascii();
    let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    (parameter[..at].trim_ascii(), Some(quoted.unwrap_or(value)))
}

/// Splits at each separator that is not in quotes.
fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |&byte| {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'"' => is_quoted = !is_quoted,
            b'\\' => is_escaped = is_quoted,
            _ => {}
        }
        byte == separator && !is_quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As recorded from each client, with the versions of 2026.
    #[test]
    fn the_offers_of_browsers_and_libraries_are_accepted() {
        for offer in [
            // Chrome, Edge, node's ws.
            "permessage-deflate; client_max_window_bits",
            // Firefox, Safari, OkHttp.
            "permessage-deflate",
            // Autobahn, and the examples of RFC 7692 section 7.1.
            "permessage-deflate; client_no_context_takeover; client_max_window_bits",
            "permessage-deflate; server_no_context_takeover;client_max_window_bits=9",
            "permessage-deflate; client_max_window_bits; server_max_window_bits=10, permessage-deflate",
            "permessage-deflate;server_max_window_bits=15",
            "permessage-deflate; client_max_window_bits=\"12\"",
            // Old Safari offers its own extension first.
            "x-webkit-deflate-frame, permessage-deflate",
            "foo; bar=\"permessage-deflate, \\\"\" ,, permessage-deflate ; client_max_window_bits",
        ] {
            assert!(offers_deflate(offer.as_bytes()), "{offer}");
        }
    }

    #[test]
    fn other_offers_are_declined() {
        for offer in [
            "",
            "x-webkit-deflate-frame",
            "permessage-bzip2",
            "permessage-deflate-2",
            "permessage-deflate; server_max_window_bits=14",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=16",
            "permessage-deflate; client_max_window_bits=08",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate; client_max_window_bits=\"\"",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover=\"\"",
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
            "permessage-deflate; unknown",
            "permessage-deflate;",
            "permessage-deflate; =15",
            "permessage-deflate client_max_window_bits",
            "foo; bar=\"permessage-deflate, permessage-deflate",
            "foo; bar=\", permessage-deflate\\\", permessage-deflate\"",
        ] {
            assert!(!offers_deflate(offer.as_bytes()), "{offer}");
        }
    }
}
