//! The page: one document with its style and its scripts, and the policy that allows nothing else. The
//! build script makes both from the files in `page`.

use crate::proto::http::{Head, Response};

/// The whole document, compressed with gzip.
const DOCUMENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/console.html.gz"));
/// The value of `Content-Security-Policy`.
const POLICY: &str = env!("CONSOLE_POLICY");

/// The response to a request for the page. Every browser accepts gzip; to other clients the server
/// answers what to send, because it has no code that decompresses.
pub(super) fn response(head: &Head<'_>) -> Response {
    if !head.accepts_gzip {
        let text = "The page is compressed with gzip: send Accept-Encoding: gzip, as browsers and \
                    curl --compressed do.";
        return Response::text(406, text);
    }
    let content_type = "text/html; charset=utf-8";
    let response = Response { content_type, body: DOCUMENT.into(), ..Response::text(200, "") };
    response.with_header("Content-Encoding", "gzip").with_header("Content-Security-Policy", POLICY)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use data_encoding::BASE64;
    use flate2::read::GzDecoder;
    use sha2::{Digest, Sha256};

    use super::*;

    fn document() -> String {
        let mut text = String::new();
        GzDecoder::new(DOCUMENT).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn the_policy_admits_the_scripts_and_the_style_of_the_document() {
        let document = document();
        for (start, end, count) in [("<script>", "</script>", 2), ("<style>", "</style>", 1)] {
            let parts: Vec<&str> = document.split(start).skip(1).collect();
            assert_eq!(parts.len(), count, "{start}");
            for part in parts {
                let text = part.split(end).next().unwrap();
                let hash = BASE64.encode(&Sha256::digest(text));
                assert!(POLICY.contains(&format!("'sha256-{hash}'")), "{start} is not in {POLICY}");
            }
        }
        // An attribute would be blocked.
        assert!(!document.contains(" style=") && !document.contains(" onclick="));
    }

    #[test]
    fn the_page_is_small_and_loads_nothing() {
        let document = document();
        assert!(document.len() <= 100_000, "{} bytes", document.len());
        for source in [" src=", "@import", "url(", "integrity=", "href=\"http"] {
            assert!(!document.contains(source), "the page contains {source}");
        }
    }

    #[test]
    fn names_reach_the_page_as_text() {
        // The library for plots draws no names that a user has chosen.
        let document = document();
        let script = document.rsplit("<script>").next().unwrap();
        for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!script.contains(sink), "the page uses {sink}");
        }
    }
}
