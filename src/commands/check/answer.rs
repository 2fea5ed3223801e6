//! What the responses of a server to the requests of commands mean, in words. A page or a frame of a
//! response is never shown as it is.

use serde_json::Value;

use crate::proto::shown;

/// Why an address does not serve a publisher or a browser.
#[derive(Debug, PartialEq)]
pub(in crate::commands) struct Problem {
    pub text: String,
    pub kind: Kind,
}

/// What may solve a problem.
#[derive(Debug, PartialEq, Clone, Copy)]
pub(in crate::commands) enum Kind {
    /// There is no response, or that of another program: another address.
    Address,
    /// The address speaks TLS, but its certificate cannot be verified.
    Certificate,
    /// The server has another app, key or secret: a reload, or other credentials.
    Credentials,
    /// The server rejects the origin: its list of origins.
    Origin,
    /// The server has a reason of its own, such as a limit. The text is enough.
    Other,
}

impl From<String> for Problem {
    fn from(text: String) -> Self {
        // The errors of a TLS session are texts; those about certificates have these words.
        let kind = match text.contains("its certificate ") {
            true => Kind::Certificate,
            false => Kind::Address,
        };
        Problem { text, kind }
    }
}

/// Why a request was rejected, by its response, which has this status code.
pub(in crate::commands) fn rejection(status: &str, head: &str, body: &str) -> Problem {
    // Skips `HTTP/1.1 `.
    let line = head.lines().next().and_then(|line| line.get(9..)).unwrap_or_default();
    let line = shown(line);
    if is_page(head, body) {
        let owner = match is_laravel(head, body) {
            true => "this is the port of the Laravel app",
            false => "this is the port of a web server",
        };
        return format!("it answers {line} with a web page, so {owner}, not of reverb").into();
    }
    let kind = match status {
        "401" => Kind::Credentials,
        "404" if body.starts_with("No matching application") => Kind::Credentials,
        "400" | "404" | "405" | "426" | "502" | "504" => Kind::Address,
        _ => Kind::Other,
    };
    // The report appends advice to this text, so the body loses its full stop.
    let body = shown(body.trim_end().trim_end_matches('.'));
    Problem { text: format!("it answers {line} {body}"), kind }
}

/// Why a WebSocket is not established, by the frames after the handshake.
pub(in crate::commands) fn refusal(frames: &str) -> Problem {
    // The bytes around the JSON text are those of frames; only the text has braces.
    let text = frames.find('{').and_then(|at| frames.get(at..=frames.rfind('}')?));
    let message = text.and_then(|text| serde_json::from_str::<Value>(text).ok());
    let Some(message) = message.filter(|message| message["event"] == "pusher:error") else {
        let text = "it opens a WebSocket, but not one of the Pusher protocol";
        return text.to_owned().into();
    };
    // Laravel Reverb sends the data of an error as a text.
    let parsed = message["data"].as_str().and_then(|text| serde_json::from_str(text).ok());
    let data = parsed.as_ref().unwrap_or(&message["data"]);
    let kind = match data["code"].as_u64() {
        Some(4001) => Kind::Credentials,
        Some(4005) => Kind::Address,
        Some(4009) => Kind::Origin,
        _ => Kind::Other,
    };
    let (code, reason) = (&data["code"], data["message"].as_str().unwrap_or_default());
    Problem { text: format!("it rejects the connection with {code} {}", shown(reason)), kind }
}

fn is_page(head: &str, body: &str) -> bool {
    let head = head.to_ascii_lowercase();
    head.contains("\r\ncontent-type: text/html") || body.trim_start().starts_with('<')
}

fn is_laravel(head: &str, body: &str) -> bool {
    // The cookies of every page of a Laravel app; error pages have no cookie, but a style of Laravel.
    ["XSRF-TOKEN=", "laravel_session=", "laravel-session="].iter().any(|part| head.contains(part))
        || (body.contains("Laravel") || head.to_ascii_lowercase().contains("\r\nx-powered-by: php"))
}

/// The beginning of a response, escaped, on one line.
fn shown(text: &str) -> String {
    shown::shown(text, SHOWN_CHARACTERS).escape_debug().to_string()
}

/// The most characters shown of a response.
const SHOWN_CHARACTERS: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_described_and_never_shown() {
        let plain = "HTTP/1.1 404 Not Found\r\nContent-Type: text/html; charset=UTF-8";
        let laravel = "HTTP/1.1 404 Not Found\r\nSet-Cookie: XSRF-TOKEN=x";
        for (head, owner) in [(plain, "a web server"), (laravel, "the Laravel app")] {
            let problem = rejection("404", head, "\n<!DOCTYPE html><html>");
            let text = format!(
                "it answers 404 Not Found with a web page, so this is the port of {owner}, not of \
                 reverb"
            );
            assert_eq!(problem, Problem { text, kind: Kind::Address });
        }
        let head = "HTTP/1.1 401 Unauthorized";
        let problem = rejection("401", head, "Authentication signature invalid.");
        let text = "it answers 401 Unauthorized Authentication signature invalid".to_owned();
        assert_eq!(problem, Problem { text, kind: Kind::Credentials });
    }

    #[test]
    fn an_error_in_a_frame_is_shown_without_its_frame() {
        let frame = "\u{fffd}c{\"event\":\"pusher:error\",\"data\":\
                     {\"code\":4001,\"message\":\"Application does not exist\"}}\u{fffd}\u{2}";
        let text = "it rejects the connection with 4001 Application does not exist".to_owned();
        assert_eq!(refusal(frame), Problem { text, kind: Kind::Credentials });
        let older = r#"{"event":"pusher:error","data":"{\"code\":4009,\"message\":\"Origin\"}"}"#;
        let text = "it rejects the connection with 4009 Origin".to_owned();
        assert_eq!(refusal(older), Problem { text, kind: Kind::Origin });
        for other in ["", "\u{fffd}\u{5}hello", "{", "{\"event\":\"hello\"}", "\u{1}{}"] {
            assert!(refusal(other).text.contains("not one of the Pusher protocol"), "{other}");
        }
    }
}
