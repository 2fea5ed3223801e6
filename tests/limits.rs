//! The limits of a request: size, head and time.

use crate::support::{APP, DEADLINE, Http, Server, Setup, signed};
use serde_json::json;
use std::time::Instant;

const UP: &str = "GET /up HTTP/1.1\r\nHost: x\r\n\r\n";

/// The head of a publish with these header lines, signed for a body that is not sent.
fn publish(fields: &str) -> String {
    let target = signed(&APP, "POST", "/apps/app-id/events", "", b"{}");
    format!("POST {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n")
}

#[test]
fn a_request_without_a_signature_is_rejected_before_its_body_arrives() {
    let server = Server::start();
    for (head, status) in [
        ("POST /apps/app-id/events HTTP/1.1\r\nContent-Length: 9000\r\n\r\n{", 401),
        ("POST /apps/app-id/events HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n", 401),
        ("POST /apps/nobody/events HTTP/1.1\r\nContent-Length: 9000\r\n\r\n{", 404),
        ("POST /nothing HTTP/1.1\r\nContent-Length: 9000\r\nExpect: 100-continue\r\n\r\n", 404),
        ("PUT /up HTTP/1.1\r\nContent-Length: 9000\r\n\r\n", 405),
    ] {
        let mut http = Http::connect(&server);
        http.send(head);
        http.response().is_error(status);
        http.ended();
    }
}

#[test]
fn an_oversized_request_is_rejected_instead_of_continued() {
    let server = Server::with(&[("REVERB_MAX_REQUEST_SIZE", "10000")]);
    let mut http = Http::connect(&server);
    http.send(publish("Content-Length: 20000\r\nExpect: 100-continue\r\n"));
    http.response().is_error(413);
    http.ended();
}

#[test]
fn a_request_at_the_limit_is_accepted_and_one_byte_more_is_not() {
    let server = Server::with(&[("REVERB_MAX_REQUEST_SIZE", "10000")]);
    let request = |length: usize| {
        let bare = "GET /up HTTP/1.1\r\nHost: x\r\nX-Pad: \r\n\r\n".len();
        format!("GET /up HTTP/1.1\r\nHost: x\r\nX-Pad: {}\r\n\r\n", "a".repeat(length - bare))
    };
    server.request(&request(10_000)).is(200, json!({"health": "OK"}));
    let response = server.request(&request(10_001));
    let text = response.is_error(413);
    assert!(text.contains("10000") && text.contains("max_request_size"), "{text}");
}

#[test]
fn the_error_for_an_oversized_body_names_size_limit_and_setting() {
    let server = Server::with(&[("REVERB_MAX_REQUEST_SIZE", "10000")]);
    let mut http = Http::connect(&server);
    http.send(publish("Content-Length: 53412\r\n"));
    let response = http.response();
    let text = response.is_error(413);
    let numbers: Vec<u64> = text
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect();
    assert!(numbers.contains(&10_000), "{text}");
    assert!(numbers.iter().any(|number| (53_412..54_500).contains(number)), "{text}");
    assert!(text.contains("max_request_size"), "{text}");
    http.ended();

    let mut http = Http::connect(&server);
    http.send(publish("Transfer-Encoding: chunked\r\n"));
    http.try_send(format!("5000\r\n{}", "a".repeat(0x5000)).as_bytes());
    assert!(http.response().is_error(413).contains("max_request_size"));
}

#[test]
fn a_client_that_still_sends_receives_the_rejection() {
    let server = Server::start();
    let mut http = Http::connect(&server);
    http.send(publish("Content-Length: 5000000\r\n"));
    http.send(vec![b'x'; 5_000_000]);
    http.response().is_error(413);
    http.ended();
}

#[test]
fn a_head_without_an_end_is_rejected() {
    let server = Setup::new().env("REVERB_LIMIT_REQUEST_HEAD_BYTES", 2_000).start();
    let mut http = Http::connect(&server);
    http.send(format!("GET /up HTTP/1.1\r\nX-Pad: {}", "a".repeat(2_000)));
    let status = http.response().status;
    assert!(matches!(status, 413 | 431), "{status}");
    http.ended();
}

#[test]
fn endless_chunk_headers_and_trailers_are_rejected() {
    let server = Server::with(&[("REVERB_MAX_REQUEST_SIZE", "10000")]);
    let head = publish("Transfer-Encoding: chunked\r\n");
    for endless in ["5;".to_owned() + &"a".repeat(200_000), "0".repeat(200_000)] {
        let mut http = Http::connect(&server);
        http.try_send(format!("{head}{endless}").as_bytes());
        http.response().is_error(400);
    }
    let mut http = Http::connect(&server);
    http.try_send(format!("{head}0\r\n{}", "A: b\r\n".repeat(50_000)).as_bytes());
    http.response().is_error(400);
}

#[test]
fn a_request_with_many_headers_gets_a_response() {
    let server = Server::start();
    let fields: String = (0..60).map(|n| format!("X-Header-{n}: {n}\r\n")).collect();
    server
        .request(&format!("GET /up HTTP/1.1\r\nHost: x\r\n{fields}\r\n"))
        .is(200, json!({"health": "OK"}));
    let fields: String = (0..1_500).map(|n| format!("X-{n}: {n}\r\n")).collect();
    let response = server.request(&format!("GET /up HTTP/1.1\r\nHost: x\r\n{fields}\r\n"));
    assert!(matches!(response.status, 200 | 400 | 413 | 431), "{}", response.status);
}

#[test]
fn an_unfinished_request_times_out() {
    let server = Setup::new().env("REVERB_LIMIT_REQUEST_TIMEOUT_MS", 200).start();
    let half_body = publish("Content-Length: 10\r\n") + "123";
    for half in ["", "GET /up HT", &half_body] {
        let mut http = Http::connect(&server);
        http.send(half);
        http.end_or_status(408);
    }
}

#[test]
fn a_request_sent_byte_by_byte_times_out() {
    let server = Setup::new().env("REVERB_LIMIT_REQUEST_TIMEOUT_MS", 300).start();
    let mut http = Http::connect(&server);
    http.send("GET /up HTTP/1.1\r\nA: ");
    let started = Instant::now();
    // The server answers another client before each byte.
    while http.send_some(b"a") && !http.has_answer() {
        server.is_up();
        assert!(started.elapsed() < DEADLINE, "the request never times out");
    }
    assert!(started.elapsed().as_millis() >= 250, "{:?}", started.elapsed());
}

#[test]
fn an_idle_keep_alive_connection_is_closed() {
    let server = Setup::new().env("REVERB_LIMIT_KEEP_ALIVE_TIMEOUT_MS", 200).start();
    let mut http = Http::connect(&server);
    http.send(UP);
    http.response().is(200, json!({"health": "OK"}));
    http.end_or_status(408);
}
