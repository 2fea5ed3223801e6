//! The page: one document with its style and its scripts, and the policy that allows nothing else.
//! The parts are files in `page`, which no step of a build changes.

use data_encoding::BASE64;
use sha2::{Digest, Sha256};

use crate::proto::http::Response;

const STYLE: &str = include_str!("page/console.css");
const PLOTS: &str = include_str!("page/uplot.js");

/// The script of the page, as a literal for `concat!`.
macro_rules! script {
    () => {
        concat!(
            include_str!("page/common.js"),
            include_str!("page/overview.js"),
            include_str!("page/live.js"),
            include_str!("page/channels.js"),
            include_str!("page/publish.js"),
            include_str!("page/main.js"),
        )
    };
}

const SCRIPT: &str = script!();

/// The whole document.
const DOCUMENT: &str = concat!(
    include_str!("page/head.html"),
    "<style>",
    include_str!("page/console.css"),
    "</style></head>",
    include_str!("page/body.html"),
    "<script>",
    include_str!("page/uplot.js"),
    "</script><script>",
    script!(),
    "</script></body></html>\n",
);

/// The page with its headers.
pub(super) struct Document {
    /// The value of `Content-Security-Policy`.
    policy: String,
}

impl Document {
    pub(super) fn new() -> Self {
        // The hashes admit exactly these texts: a script in a user-supplied name is not executed.
        let policy = format!(
            "default-src 'none'; script-src '{}' '{}'; style-src '{}'; connect-src 'self'; \
             img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            hash(PLOTS),
            hash(SCRIPT),
            hash(STYLE)
        );
        Document { policy }
    }

    /// The response to a request for the page.
    pub(super) fn response(&self) -> Response {
        let content_type = "text/html; charset=utf-8";
        let response = Response { content_type, ..Response::text(200, DOCUMENT) };
        response.with_header("Content-Security-Policy", self.policy.clone())
    }
}

/// The hash of an inline script or style, as a policy contains it.
fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64.encode(&Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_admits_the_scripts_and_the_style_of_the_document() {
        let policy = Document::new().policy;
        for (start, end, count) in [("<script>", "</script>", 2), ("<style>", "</style>", 1)] {
            let parts: Vec<&str> = DOCUMENT.split(start).skip(1).collect();
            assert_eq!(parts.len(), count, "{start}");
            for part in parts {
                let text = part.split(end).next().unwrap();
                assert!(policy.contains(&hash(text)), "{start} is not in {policy}");
            }
        }
        // An attribute would be blocked.
        assert!(!DOCUMENT.contains(" style=") && !DOCUMENT.contains(" onclick="));
    }

    #[test]
    fn the_page_is_small_and_loads_nothing() {
        assert!(DOCUMENT.len() <= 100_000, "{} bytes", DOCUMENT.len());
        for source in [" src=", "@import", "url(", "integrity=", "href=\"http"] {
            assert!(!DOCUMENT.contains(source), "the page contains {source}");
        }
    }

    #[test]
    fn names_reach_the_page_as_text() {
        for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!SCRIPT.contains(sink), "the page uses {sink}");
        }
    }
}
