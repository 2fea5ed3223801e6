//! A viewer of the feed, which reads its lines as they arrive.

use super::{APP, App, Http, Response, Server, signed};
use serde_json::Value;
use std::collections::VecDeque;

/// A viewer.
pub struct Feed {
    http: Http,
    /// The lines of the last chunk that were not returned yet.
    lines: VecDeque<Value>,
    /// The text of all lines so far.
    pub text: String,
}

impl Feed {
    /// Views the feed of [`APP`], and receives `hello`. `params` are further parameters, joined with
    /// `&`.
    #[track_caller]
    pub fn open(server: &Server, params: &str) -> Self {
        let mut feed = Feed::of(server, &APP, params);
        assert_eq!(feed.next()["kind"], "hello");
        feed
    }

    /// Views the feed of an application.
    #[track_caller]
    pub fn of(server: &Server, app: &App, params: &str) -> Self {
        let mut http = Http::connect(server);
        http.send(Feed::request(app, params));
        let head = http.head();
        assert_eq!(head.status, 200, "{head:?}");
        assert_eq!(head.header("Content-Type"), Some("application/x-ndjson"));
        assert_eq!(head.header("Cache-Control"), Some("no-store"));
        Feed { http, lines: VecDeque::new(), text: String::new() }
    }

    /// A request that is expected to fail.
    #[track_caller]
    pub fn rejected(server: &Server, params: &str) -> Response {
        server.request(&Feed::request(&APP, params))
    }

    fn request(app: &App, params: &str) -> String {
        let target = signed(app, "GET", &format!("/apps/{}/feed", app.id), params, b"");
        format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
    }

    /// The next line; `None` at the end of the response.
    #[track_caller]
    pub fn line(&mut self) -> Option<Value> {
        while self.lines.is_empty() {
            let chunk = self.http.chunk()?;
            let text = String::from_utf8(chunk).unwrap();
            assert!(text.ends_with('\n'), "a chunk has whole lines: {text:?}");
            self.lines.extend(text.lines().map(|line| serde_json::from_str(line).unwrap()));
            self.text.push_str(&text);
        }
        self.lines.pop_front()
    }

    /// The next line.
    #[track_caller]
    pub fn next(&mut self) -> Value {
        self.line().expect("the response has ended")
    }

    /// The next line of this kind; others are skipped.
    #[track_caller]
    pub fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let line = self.next();
            if line["kind"] == kind {
                return line;
            }
        }
    }

    /// The kinds of the next lines.
    #[track_caller]
    pub fn kinds(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.next()["kind"].as_str().unwrap().to_owned()).collect()
    }

    /// The connection.
    pub fn http(&mut self) -> &mut Http {
        &mut self.http
    }
}
