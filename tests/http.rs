//! HTTP itself: framing, connections, methods, limits. The responses of the routes are in `api.rs`.

use crate::support::{APP, Http, Response, Server, signed};
use serde_json::json;

const UP: &str = "GET /up HTTP/1.1\r\nHost: x\r\n\r\n";
const EVENT: &str = r#"{"name":"x","channel":"c","data":"d"}"#;

/// The head of a signed publish of [`EVENT`] with these header lines.
fn publish(fields: &str) -> String {
    let target = signed(&APP, "POST", "/apps/app-id/events", "", EVENT.as_bytes());
    format!("POST {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n")
}

#[track_caller]
fn healthy(response: &Response) {
    response.is(200, json!({"health": "OK"}));
}

#[test]
fn a_connection_stays_open_for_the_next_request() {
    let server = Server::start();
    let mut http = Http::connect(&server);
    for _ in 0..50 {
        http.send(UP);
        let response = http.response();
        healthy(&response);
        assert_eq!(response.version, "HTTP/1.1");
        http.send(format!("{}{EVENT}", publish(&format!("Content-Length: {}\r\n", EVENT.len()))));
        http.response().is(200, json!({}));
        http.send("GET /nope HTTP/1.1\r\nHost: x\r\n\r\n");
        http.response().is_error(404);
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start();
    let mut http = Http::connect(&server);
    let publish = format!("{}{EVENT}", publish(&format!("Content-Length: {}\r\n", EVENT.len())));
    let nope = "GET /nope HTTP/1.1\r\nHost: x\r\n\r\n";
    http.send(format!("{UP}{publish}{nope}{UP}").repeat(20));
    for _ in 0..20 {
        healthy(&http.response());
        http.response().is(200, json!({}));
        http.response().is_error(404);
        healthy(&http.response());
    }
}

#[test]
fn a_connection_closes_when_the_client_requests_it() {
    let server = Server::start();
    for request in [
        "GET /up HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET /up HTTP/1.1\r\nHost: x\r\nConnection: x, Close\r\n\r\n",
        "GET /up HTTP/1.0\r\nHost: x\r\n\r\n",
        "GET /up HTTP/1.0\r\n\r\n",
    ] {
        let mut http = Http::connect(&server);
        http.send(request);
        let response = http.response();
        healthy(&response);
        assert_eq!(response.header("Connection").unwrap().to_ascii_lowercase(), "close");
        http.ended();
    }
}

#[test]
fn a_connection_of_http_1_0_stays_open_with_keep_alive() {
    let server = Server::start();
    let mut http = Http::connect(&server);
    for _ in 0..3 {
        http.send("GET /up HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let response = http.response();
        healthy(&response);
        assert_eq!(response.header("Connection").unwrap().to_ascii_lowercase(), "keep-alive");
    }
}

#[test]
fn a_request_may_be_sent_in_any_pieces() {
    let server = Server::start();
    let mut http = Http::connect(&server);
    let request = format!("{}{EVENT}", publish(&format!("Content-Length: {}\r\n", EVENT.len())));
    for byte in request.bytes() {
        http.send([byte]);
    }
    http.response().is(200, json!({}));
    let (left, right) = request.split_at(request.len() - 10);
    http.send(left);
    http.send(format!("{right}{}", &UP[..7]));
    http.response().is(200, json!({}));
    http.send(&UP[7..]);
    healthy(&http.response());
}

#[test]
fn blank_lines_before_a_request_are_ignored() {
    let server = Server::start();
    let mut http = Http::connect(&server);
    http.send(format!("\r\n{UP}"));
    healthy(&http.response());
    http.send(format!("\r\n\r\n{UP}"));
    healthy(&http.response());
}

#[test]
fn a_half_closed_client_receives_its_response() {
    let server = Server::start();
    let mut http = Http::connect(&server);
    http.send(format!("{}{EVENT}", publish(&format!("Content-Length: {}\r\n", EVENT.len()))));
    http.finish();
    http.response().is(200, json!({}));
    http.ended();
}

#[test]
fn a_body_may_be_sent_in_chunks() {
    let server = Server::start();
    let head = publish("Transfer-Encoding: chunked\r\n");
    for body in [
        format!("25\r\n{EVENT}\r\n0\r\n\r\n"),
        format!("1\r\n{{\r\n24;ext=\"x\"\r\n{}\r\n0\r\n\r\n", &EVENT[1..]),
        format!("00025\r\n{EVENT}\r\n000\r\nTrailer: x\r\n\r\n"),
        EVENT.bytes().map(|b| format!("1\r\n{}\r\n", b as char)).collect::<String>() + "0\r\n\r\n",
    ] {
        let mut http = Http::connect(&server);
        http.send(format!("{head}{body}{UP}"));
        http.response().is(200, json!({}));
        healthy(&http.response());
        let mut http = Http::connect(&server);
        for byte in format!("{head}{body}").bytes() {
            http.send([byte]);
        }
        http.response().is(200, json!({}));
    }
}

#[test]
fn invalid_chunks_are_a_bad_request() {
    let server = Server::start();
    let head = publish("Transfer-Encoding: chunked\r\n");
    for body in [
        "x\r\n",
        "-1\r\n",
        "\r\n",
        "25\r\n{\"name\":\"x\",\"channel\":\"c\",\"data\":\"d\"}XX",
        "1 2\r\n",
        "10000000000000000\r\n",
        "0x25\r\n",
        "0\n\n",
        "25\n{\"name\":\"x\",\"channel\":\"c\",\"data\":\"d\"}\r\n0\r\n\r\n",
    ] {
        let mut http = Http::connect(&server);
        http.send(format!("{head}{body}"));
        http.response().is_error(400);
        http.ended();
    }
}

#[test]
fn an_invalid_or_ambiguous_body_length_is_a_bad_request() {
    let server = Server::start();
    for fields in [
        "Content-Length: abc\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: +37\r\n",
        "Content-Length: 37, 38\r\n",
        "Content-Length: \r\n",
        "Content-Length: 0x25\r\n",
        "Content-Length: 37\r\nContent-Length: 38\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Content-Length: 37\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: xchunked\r\n",
    ] {
        let mut http = Http::connect(&server);
        http.send(format!("{}{EVENT}", publish(fields)));
        let status = http.response().status;
        assert!(matches!(status, 400 | 413 | 501), "{fields}: {status}");
        http.ended();
    }
}

#[test]
fn a_client_that_expects_100_continue_receives_it() {
    let server = Server::start();
    let mut http = Http::connect(&server);
    let length = format!("Content-Length: {}\r\n", EVENT.len());
    http.send(publish(&format!("{length}Expect: 100-continue\r\n")));
    assert_eq!(http.response().status, 100);
    http.send(EVENT);
    http.response().is(200, json!({}));
    // A client that does not wait may or may not receive the interim response.
    http.send(format!("{}{EVENT}", publish(&format!("{length}Expect: 100-continue\r\n"))));
    let mut response = http.response();
    if response.status == 100 {
        response = http.response();
    }
    response.is(200, json!({}));
}

#[test]
fn head_is_answered_like_get_without_the_body() {
    let server = Server::start();
    let mut http = Http::connect(&server);
    http.send("HEAD /up HTTP/1.1\r\nHost: x\r\n\r\n");
    let head = http.head();
    assert_eq!((head.status, head.header("Content-Length")), (200, Some("15")));
    http.send("HEAD /nope HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(http.head().status, 404);
    let target = signed(&APP, "HEAD", "/apps/app-id/channels", "", b"");
    http.send(format!("HEAD {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_eq!(http.head().status, 200);
    http.send("HEAD /apps/app-id/events HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(http.head().status, 405);
    http.send(UP);
    healthy(&http.response());
}

#[test]
fn a_method_that_is_not_allowed_gets_405_with_the_allowed_one() {
    let server = Server::start();
    let mut http = Http::connect(&server);
    for (path, methods, allowed) in [
        ("/up", "POST PUT PATCH DELETE OPTIONS", "GET"),
        ("/app/app-key", "POST PUT DELETE OPTIONS", "GET"),
        ("/apps/app-id/events", "GET PUT DELETE OPTIONS", "POST"),
        ("/apps/app-id/batch_events", "GET PUT OPTIONS", "POST"),
        ("/apps/app-id/connections", "POST DELETE OPTIONS", "GET"),
        ("/apps/app-id/channels", "POST DELETE OPTIONS", "GET"),
        ("/apps/app-id/channels/x", "POST DELETE OPTIONS", "GET"),
        ("/apps/app-id/channels/x/users", "POST DELETE OPTIONS", "GET"),
        ("/apps/app-id/users/1/terminate_connections", "GET DELETE OPTIONS", "POST"),
        ("/apps/app-id/connections/1.2/terminate", "GET DELETE OPTIONS", "POST"),
        ("/apps/app-id/feed", "POST DELETE OPTIONS", "GET"),
    ] {
        for method in methods.split(' ') {
            http.send(format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"));
            let response = http.response();
            response.is_error(405);
            let allow = response.header("Allow").unwrap();
            assert!(allow.split(", ").any(|method| method == allowed), "{method} {path}: {allow}");
        }
    }
}

#[test]
fn an_unknown_path_is_not_found() {
    let server = Server::start();
    let mut http = Http::connect(&server);
    for path in [
        "/",
        "/nope",
        "/up/",
        "/UP",
        "/apps",
        "/apps/app-id",
        "/apps/app-id/",
        "/apps//events",
        "/app",
        "/apps/app-id/events/",
        "/apps/app-id/channels/",
        "/apps/app-id/channels/a/b",
        "/apps/app-id%2Fchannels",
        "/apps/app-id/channels/a/users/b",
        "/apps/app-id/users/1",
        "/apps/app-id/users//terminate_connections",
        "/Apps/app-id/channels",
        "/../up",
        "/./up",
    ] {
        http.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        http.response().is_error(404);
    }
}

#[test]
fn equivalent_targets_reach_the_same_route() {
    let server = Server::start();
    let mut http = Http::connect(&server);
    for target in ["/up?x=1", "/up?", "//up", "/%75p", "http://localhost:8080/up", "/up?x=%zz"] {
        http.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
        healthy(&http.response());
    }
    http.send("get /up HTTP/1.1\r\nHost: x\r\n\r\n");
    healthy(&http.response());
}

#[test]
fn an_invalid_request_gets_400_and_closes_the_connection() {
    let server = Server::start();
    for request in [
        "FOO\r\n\r\n",
        "GET /up\r\n\r\n",
        "GET /up XTTP/1.1\r\n\r\n",
        "GET /u p HTTP/1.1\r\nHost: x\r\n\r\n",
        "G@T\0 /up HTTP/1.1\r\n\r\n",
        "GET /up HTTP/1.1\r\nHost x\r\n\r\n",
        "GET /up HTTP/1.1\r\nHost : x\r\n\r\n",
        "GET /up HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
        "GET /up HTTP/1.1\r\n: y\r\n\r\n",
        "GET /up HTTP/1.1\r\nA: b\0c\r\n\r\n",
        "\x16\x03\x01\0\x68\x01\0\0\x64\x03\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    ] {
        let mut http = Http::connect(&server);
        http.send(request);
        http.response().is_error(400);
        http.ended();
    }
}

#[test]
fn header_values_may_hold_any_bytes_but_controls() {
    let server = Server::start();
    let mut http = Http::connect(&server);
    http.send(b"GET /up HTTP/1.1\r\nHost: x\r\nA: \xFF\xFE\r\nB:\tc \r\n\r\n");
    healthy(&http.response());
}

#[test]
fn chunks_in_http_1_0_are_a_bad_request() {
    let server = Server::start();
    let mut http = Http::connect(&server);
    http.send("GET /up HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    http.response().is_error(400);
    http.ended();
}
