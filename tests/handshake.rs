//! The opening handshake of RFC 6455, and the errors for rejected clients.

use crate::support::{Client, Got, HANDSHAKE, Http, Response, Server, Setup, frame};
use serde_json::{Value, json};
use tungstenite::handshake::derive_accept_key;

/// The response to a request for `/app/app-key` with these header lines.
#[track_caller]
fn get(server: &Server, headers: &str) -> Response {
    server.request(&format!("GET /app/app-key HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"))
}

/// Opens a connection that the server rejects with this code.
#[track_caller]
fn rejected(server: &Server, target: &str, code: u16, message: &str) {
    let mut client = Client::open(server, target, "");
    client.error(code, message);
    client.closed(code);
}

#[test]
fn the_response_has_the_accept_key_and_the_headers_of_laravel_reverb() {
    let server = Server::start();
    for key in ["dGhlIHNhbXBsZSBub25jZQ==", "AAAAAAAAAAAAAAAAAAAAAA==", "/+/+/+/+/+/+/+/+/+/+/w=="]
    {
        let request = format!(
            "GET /app/app-key HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        let (response, _) = Client::handshake(&server, request.as_bytes());
        assert_eq!((response.status, response.version.as_str()), (101, "HTTP/1.1"));
        assert_eq!(response.header("Upgrade"), Some("websocket"));
        assert_eq!(response.header("Connection"), Some("Upgrade"));
        let accept = derive_accept_key(key.as_bytes());
        assert_eq!(response.header("Sec-WebSocket-Accept"), Some(accept.as_str()));
        assert_eq!(response.header("X-Powered-By"), Some("Laravel Reverb"));
    }
}

#[test]
fn the_first_frame_is_connection_established_with_a_unique_socket_id() {
    let server = Server::start();
    let mut ids = Vec::new();
    for _ in 0..20 {
        let mut client = Client::open(&server, "/app/app-key", "");
        let event = client.event();
        assert_eq!(event["event"], "pusher:connection_established");
        assert_eq!(event.as_object().unwrap().len(), 2);
        let data: Value = serde_json::from_str(event["data"].as_str().unwrap()).unwrap();
        assert_eq!(data["activity_timeout"], 30);
        let id = data["socket_id"].as_str().unwrap().to_owned();
        let (left, right) = id.split_once('.').unwrap();
        let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        assert!(number(left) && number(right), "{id}");
        ids.push(id);
        client.nothing();
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20, "{ids:?}");
}

#[test]
fn the_activity_timeout_is_the_setting_of_the_app() {
    let server = Server::with(&[("REVERB_APP_ACTIVITY_TIMEOUT", "120")]);
    let event = Client::open(&server, "/app/app-key", "").event();
    let data: Value = serde_json::from_str(event["data"].as_str().unwrap()).unwrap();
    assert_eq!(data["activity_timeout"], 120);
}

#[test]
fn upgrade_and_connection_are_lists_of_tokens_in_any_case() {
    let server = Server::start();
    let rest = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    for fields in [
        "Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n",
        "upgrade: WEBSOCKET\r\nconnection: UPGRADE\r\n",
        "Upgrade: h2c, websocket\r\nConnection: Upgrade, HTTP2-Settings\r\n",
        "Upgrade:websocket\r\nConnection:upgrade\r\n",
        "Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
    ] {
        let request = format!("GET /app/app-key HTTP/1.1\r\nHost: x\r\n{fields}{rest}\r\n");
        let (response, mut client) = Client::handshake(&server, request.as_bytes());
        assert_eq!(response.status, 101, "{fields}");
        assert_eq!(client.event()["event"], "pusher:connection_established");
    }
}

#[test]
fn a_request_without_the_exact_upgrade_tokens_is_rejected() {
    let server = Server::start();
    let rest = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    for fields in [
        "Upgrade: websocketx\r\nConnection: Upgrade\r\n",
        "Upgrade: websocket\r\nConnection: not-upgrade\r\n",
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\n",
        "Upgrade: h2c\r\nConnection: Upgrade\r\n",
        "",
    ] {
        let response = get(&server, &format!("{fields}{rest}"));
        response.is_error(426);
        assert_eq!(response.header("Upgrade"), Some("websocket"), "{fields}");
    }
}

#[test]
fn an_unsupported_version_gets_426_with_the_supported_one() {
    let server = Server::start();
    let fields = "Upgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for version in ["Sec-WebSocket-Version: 8\r\n", "Sec-WebSocket-Version: 14\r\n", ""] {
        let response = get(&server, &format!("{fields}{version}"));
        response.is_error(426);
        assert_eq!(response.header("Sec-WebSocket-Version"), Some("13"), "{version:?}");
    }
}

#[test]
fn a_key_that_is_not_sixteen_bytes_in_base64_is_a_bad_request() {
    let server = Server::start();
    let fields = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n";
    for key in [
        "",
        "Sec-WebSocket-Key: \r\n",
        "Sec-WebSocket-Key: abcd\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZTE=\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n",
        "Sec-WebSocket-Key: dGhl!HNhbXBsZSBub25jZQ==\r\n",
    ] {
        get(&server, &format!("{fields}{key}")).is_error(400);
    }
}

#[test]
fn http_1_0_cannot_be_upgraded() {
    let server = Server::start();
    let request = format!("GET /app/app-key HTTP/1.0\r\nHost: x\r\n{HANDSHAKE}\r\n");
    let status = server.request(&request).status;
    assert!(matches!(status, 400 | 426 | 505), "{status}");
}

#[test]
fn only_get_can_be_upgraded() {
    let server = Server::start();
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let head = format!("{method} /app/app-key HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n");
        let response = server.request(&format!("{head}{HANDSHAKE}\r\n"));
        assert_eq!(response.status, 405, "{method}");
        assert!(response.header("Allow").unwrap().contains("GET"));
    }
}

#[test]
fn a_handshake_with_a_body_is_a_bad_request_however_it_arrives() {
    let server = Server::start();
    for body in ["Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"] {
        let request = format!("GET /app/app-key HTTP/1.1\r\nHost: x\r\n{HANDSHAKE}{body}");
        assert_eq!(server.request(&request).status, 400, "{body:?}");
        let mut http = Http::connect(&server);
        http.send(&request[..request.len() - 2]);
        assert_eq!(http.response().status, 400, "{body:?}");
    }
}

#[test]
fn subprotocols_and_unknown_extensions_are_ignored() {
    let server = Server::start();
    for offer in [
        "Sec-WebSocket-Protocol: pusher\r\n",
        "Sec-WebSocket-Protocol: foo, bar\r\n",
        "Sec-WebSocket-Extensions: permessage-bzip2, x-webkit-deflate-frame\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate; foo=1\r\n",
    ] {
        let request = format!("GET /app/app-key HTTP/1.1\r\nHost: x\r\n{HANDSHAKE}{offer}\r\n");
        let (response, mut client) = Client::handshake(&server, request.as_bytes());
        assert_eq!(response.status, 101, "{offer}");
        assert_eq!(response.header("Sec-WebSocket-Protocol"), None);
        assert_eq!(response.header("Sec-WebSocket-Extensions"), None);
        assert_eq!(client.event()["event"], "pusher:connection_established");
        client.nothing();
    }
}

#[test]
fn frames_in_the_segment_of_the_handshake_are_handled() {
    let server = Server::start();
    let mut request =
        format!("GET /app/app-key HTTP/1.1\r\nHost: x\r\n{HANDSHAKE}\r\n").into_bytes();
    let subscribe = br#"{"event":"pusher:subscribe","data":{"channel":"early"}}"#;
    request.extend(frame(0x81, subscribe));
    request.extend(frame(0x89, b"early"));
    let (response, mut client) = Client::handshake(&server, &request);
    assert_eq!(response.status, 101);
    assert_eq!(client.event()["event"], "pusher:connection_established");
    client.subscribed("early");
    assert_eq!(client.receive(), Got::Pong(b"early".to_vec()));
}

#[test]
fn a_handshake_may_be_sent_byte_by_byte_and_after_other_requests() {
    let server = Server::start();
    let mut http = Http::connect(&server);
    http.send("GET /up HTTP/1.1\r\nHost: x\r\n\r\n");
    http.response().is(200, json!({"health": "OK"}));
    for byte in format!("GET /app/app-key HTTP/1.1\r\nHost: x\r\n{HANDSHAKE}\r\n").bytes() {
        http.send([byte]);
    }
    assert_eq!(http.head().status, 101);
}

#[test]
fn the_query_of_the_connection_is_ignored() {
    let server = Server::start();
    for query in ["", "?", "?protocol=99", "?protocol=x&client=&version=%00", "?a=b&a[]=c"] {
        Client::connect_to(&server, &format!("/app/app-key{query}")).nothing();
    }
}

#[test]
fn the_key_may_be_percent_encoded() {
    let server = Server::start();
    Client::connect_to(&server, "/app/app%2Dkey").nothing();
}

#[test]
fn an_unknown_key_is_rejected_with_4001_after_the_upgrade() {
    let server = Server::start();
    for target in ["/app/nope", "/app/APP-KEY", "/app/app-id", "/app/app-key2?protocol=7"] {
        rejected(&server, target, 4001, "Application does not exist");
    }
}

#[test]
fn a_wrong_path_is_rejected_with_4005_after_the_upgrade() {
    let server = Server::start();
    for target in ["/", "/nope", "/app", "/app/", "/app/app-key/more", "/apps/app-key"] {
        let mut client = Client::open(&server, target, "");
        let error = client.event();
        assert_eq!(error["event"], "pusher:error");
        let data = &error["data"];
        assert_eq!(data["code"], 4005, "{target}");
        client.closed(4005);
    }
}

#[test]
fn an_upgrade_to_another_protocol_is_ignored() {
    let server = Server::start();
    let upgrade = "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMA\r\n";
    server
        .request(&format!("GET /up HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n"))
        .is(200, json!({"health": "OK"}));
    let body = r#"{"name":"e","channel":"c","data":"d"}"#;
    let target = crate::support::signed(
        &crate::support::APP,
        "POST",
        "/apps/app-id/events",
        "",
        body.as_bytes(),
    );
    let length = body.len();
    server
        .request(&format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\n{upgrade}Content-Length: {length}\r\n\r\n{body}"
        ))
        .is(200, json!({}));
}

#[test]
fn an_app_over_its_connection_quota_rejects_clients() {
    let server = Server::with(&[("REVERB_APP_MAX_CONNECTIONS", "2")]);
    let mut first = Client::connect(&server);
    let mut second = Client::connect(&server);
    rejected(&server, "/app/app-key", 4004, "Application is over connection quota");
    first.nothing();
    second.frame(0x88, &1000u16.to_be_bytes());
    second.closed(1000);
    Client::connect(&server).nothing();
}

#[test]
fn a_connection_quota_of_zero_rejects_all_clients() {
    let server = Server::with(&[("REVERB_APP_MAX_CONNECTIONS", "0")]);
    rejected(&server, "/app/app-key", 4004, "Application is over connection quota");
}

#[test]
fn clients_over_the_limit_of_the_server_are_rejected_with_4100() {
    let server = Setup::new().env("REVERB_LIMIT_CONNECTIONS", 2).start();
    let mut first = Client::connect(&server);
    let mut second = Client::connect(&server);
    let mut third = Client::open(&server, "/app/app-key", "");
    let error = third.event();
    let data = &error["data"];
    assert_eq!((&error["event"], &data["code"]), (&json!("pusher:error"), &json!(4100)));
    third.closed(4100);
    first.nothing();
    second.nothing();
}
