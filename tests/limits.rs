//! The limits of a request: size, head and time.

use crate::support::{APP, DEADLINE, Http, Server, Setup, signed};
use serde_json::json;
use std::time::Instant;

const UP: &str = "GET /up HTTP/1.1\r\nHost: x\r\n\r\n";

/// The head of a publish with these header lines, signed for a body that does not come.
fn publish(fields: &str) -> String {
    let target = signed(&APP, "POST", "/apps/app-id/events", "", b"{}");
    format!("POST {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n")
}

#[test]
fn a_body_is_not_waited_for_when_the_head_is_not_signed() {
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
fn what_is_too_large_is_refused_instead_of_continued() {
    let server = Server::with(&[("REVERB_MAX_REQUEST_SIZE", "10000")]);
    let mut http = Http::connect(&server);
    http.send(publish("Content-Length: 20000\r\nExpect: 100-continue\r\n"));
    http.response().is_error(413);
    http.ended();
}

#[test]
fn a_request_at_the_limit_passes_and_one_byte_more_does_not() {
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
fn a_body_that_is_too_large_is_told_its_size_the_limit_and_the_setting() {
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
    http.send_what_goes(format!("5000\r\n{}", "a".repeat(0x5000)).as_bytes());
    assert!(http.response().is_error(413).contains("max_request_size"));
}

#[test]
fn the_refusal_arrives_although_the_client_is_still_sending() {
    let server = Server::start();
    let mut http = Http::connect(&server);
    http.send(publish("Content-Length: 5000000\r\n"));
    http.send(vec![b'x'; 5_000_000]);
    http.response().is_error(413);
    http.ended();
}

#[test]
fn a_head_without_an_end_is_refused() {
    let server = Setup::new().env("REVERB_LIMIT_REQUEST_HEAD_BYTES", 2_000).start();
    let mut http = Http::connect(&server);
    http.send(format!("GET /up HTTP/1.1\r\nX-Pad: {}", "a".repeat(2_000)));
    let status = http.response().status;
    assert!(matches!(status, 413 | 431), "{status}");
    http.ended();
}

#[test]
fn chunks_that_say_more_than_they_carry_are_refused() {
    let server = Server::with(&[("REVERB_MAX_REQUEST_SIZE", "10000")]);
    let head = publish("Transfer-Encoding: chunked\r\n");
    for endless in ["5;".to_owned() + &"a".repeat(200_000), "0".repeat(200_000)] {
        let mut http = Http::connect(&server);
        http.send_what_goes(format!("{head}{endless}").as_bytes());
        http.response().is_error(400);
    }
    let mut http = Http::connect(&server);
    http.send_what_goes(format!("{head}0\r\n{}", "A: b\r\n".repeat(50_000)).as_bytes());
    http.response().is_error(400);
}

#[test]
fn many_headers_are_no_reason_to_fail_silently() {
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
fn a_request_that_never_ends_is_cut_off() {
    let server = Setup::new().env("REVERB_LIMIT_REQUEST_TIMEOUT_MS", 200).start();
    let half_body = publish("Content-Length: 10\r\n") + "123";
    for half in ["", "GET /up HT", &half_body] {
        let mut http = Http::connect(&server);
        http.send(half);
        http.end_or_status(408);
    }
}

#[test]
fn a_request_that_only_drips_is_cut_off_all_the_same() {
    let server = Setup::new().env("REVERB_LIMIT_REQUEST_TIMEOUT_MS", 300).start();
    let mut http = Http::connect(&server);
    http.send("GET /up HTTP/1.1\r\nA: ");
    let started = Instant::now();
    // Each drop follows an answer the server gave to somebody else.
    while http.send_some(b"a") && !http.has_answer() {
        server.is_up();
        assert!(started.elapsed() < DEADLINE, "it can go on for ever");
    }
    assert!(started.elapsed().as_millis() >= 250, "{:?}", started.elapsed());
}

#[test]
fn a_kept_connection_nobody_uses_is_closed() {
    let server = Setup::new().env("REVERB_LIMIT_KEEP_ALIVE_TIMEOUT_MS", 200).start();
    let mut http = Http::connect(&server);
    http.send(UP);
    http.response().is(200, json!({"health": "OK"}));
    http.end_or_status(408);
}
