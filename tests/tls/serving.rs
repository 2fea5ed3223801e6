//! Messages over a TLS connection, and how it ends.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::HandshakeKind;
use rustls::client::Resumption;
use rustls::version::{TLS12, TLS13};
use serde_json::json;

use super::certificates::Folder;
use super::client::{BOTH, Client, UP, config};
use super::{logged, options, setup, start};
use crate::support::{APP, Server, frame, signed};

/// A signed publish of one event over its own TLS connection.
#[track_caller]
fn publish(server: &Server, folder: &Folder, path: &str, body: &str) {
    let target = signed(&APP, "POST", path, "", body.as_bytes());
    let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n");
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let (status, answer) = Client::connect(server, folder).request(&request);
    assert_eq!((status, answer.as_str()), (200, "{}"));
}

#[test]
fn events_are_published_and_received_over_both_versions() {
    let folder = Folder::new();
    let server = start(&folder);
    for versions in [&[&TLS12], &[&TLS13]] {
        let mut client = Client::with(&server, config(&folder, versions), "localhost").unwrap();
        client.upgrade();
        client.subscribe("news");
        let body = json!({"name": "e", "channel": "news", "data": "{\"n\":1}"}).to_string();
        publish(&server, &folder, "/apps/app-id/events", &body);
        let event = json!({"event": "e", "data": "{\"n\":1}", "channel": "news"});
        assert_eq!(client.event(), event);
    }
}

#[test]
fn a_message_of_many_records_arrives_whole() {
    let folder = Folder::new();
    let server = start(&folder);
    let mut client = Client::open(&server, &folder);
    client.subscribe("news");
    let data = "0123456789".repeat(60_000);
    let body = json!({"name": "e", "channel": "news", "data": data}).to_string();
    publish(&server, &folder, "/apps/app-id/events", &body);
    assert_eq!(client.event()["data"], data);
}

#[test]
fn frames_queued_together_are_sent_in_one_record() {
    let folder = Folder::new();
    let server = start(&folder);
    let mut client = Client::open(&server, &folder);
    client.subscribe("news");
    client.ping();
    client.wire.seen.clear();
    let event = json!({"name": "e", "channel": "news", "data": "x"});
    let body = json!({"batch": vec![event; 10]}).to_string();
    publish(&server, &folder, "/apps/app-id/batch_events", &body);
    for _ in 0..10 {
        assert_eq!(client.event()["event"], "e");
    }
    let (mut records, mut rest) = (0, &client.wire.seen[..]);
    while let [0x17, 3, 3, high, low, ..] = rest {
        rest = &rest[5 + usize::from(*high) * 256 + usize::from(*low)..];
        records += 1;
    }
    assert_eq!((records, rest.len()), (1, 0));
}

#[test]
fn every_message_of_one_decrypted_batch_is_answered() {
    let folder = Folder::new();
    let server = start(&folder);
    let mut client = Client::open(&server, &folder);
    let ping = frame(0x81, br#"{"event":"pusher:ping","data":{}}"#);
    // More than the event loop reads from a connection in one turn, all sent before it reads.
    client.tls.writer().write_all(&ping.repeat(8_000)).unwrap();
    let sender = std::thread::spawn(move || {
        client.push();
        client
    });
    let mut client = sender.join().unwrap();
    for _ in 0..8_000 {
        assert_eq!(client.event()["event"], "pusher:pong");
    }
}

#[test]
fn a_client_that_reads_too_slowly_is_closed_at_the_limit() {
    let folder = Folder::new();
    let server = setup(options(&folder), json!({"outbox_bytes": 65_536})).start();
    let mut slow = Client::open(&server, &folder);
    slow.subscribe("news");
    let data = "x".repeat(500_000);
    let body = json!({"name": "e", "channel": "news", "data": data}).to_string();
    let mut fast = Client::open(&server, &folder);
    while !server.stderr().contains("reads too slowly") {
        publish(&server, &folder, "/apps/app-id/events", &body);
        fast.ping();
    }
    logged(&server, &["127.0.0.1", "limits.outbox_bytes is 65536"]);
}

#[test]
fn the_server_sends_close_notify_when_it_closes() {
    let folder = Folder::new();
    let server = start(&folder);
    for versions in [&[&TLS12], &[&TLS13]] {
        let mut client = Client::with(&server, config(&folder, versions), "localhost").unwrap();
        let close = UP.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        assert_eq!(client.request(&close).0, 200);
        assert_eq!(client.end(), Ok(()), "a close_notify");
        let mut rest = Vec::new();
        client.wire.stream.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty(), "the socket is closed after it");
    }
}

#[test]
fn a_client_that_sent_close_notify_is_still_answered() {
    let folder = Folder::new();
    let server = start(&folder);
    let mut client = Client::connect(&server, &folder);
    client.tls.writer().write_all(UP.as_bytes()).unwrap();
    client.tls.send_close_notify();
    client.push();
    assert_eq!(client.head().0, 200);
    assert_eq!(client.end(), Ok(()));
}

#[test]
fn a_client_that_disconnects_without_close_notify_harms_no_other() {
    let folder = Folder::new();
    let server = start(&folder);
    let mut client = Client::connect(&server, &folder);
    client.tls.writer().write_all(UP.as_bytes()).unwrap();
    client.push();
    client.wire.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.head().0, 200);
    assert_eq!(Client::connect(&server, &folder).request(UP).0, 200);
}

#[test]
fn a_stopping_server_notifies_its_clients_over_tls() {
    let folder = Folder::new();
    let mut server = start(&folder);
    let mut client = Client::open(&server, &folder);
    server.signal("TERM");
    assert_eq!(client.event()["event"], "pusher:error");
    assert_eq!(&client.payload()[..2], 4100_u16.to_be_bytes());
    assert_eq!(client.end(), Ok(()));
    assert!(server.wait().success());
}

#[test]
fn a_session_is_resumed() {
    let folder = Folder::new();
    let server = start(&folder);
    for versions in [&[&TLS12], &[&TLS13]] {
        let mut config = config(&folder, versions);
        config.resumption = Resumption::in_memory_sessions(8);
        let config = Arc::new(config);
        let connect = || {
            let mut client = Client::with_shared(&server, &config, "localhost").unwrap();
            assert_eq!(client.request(UP).0, 200);
            client.kind()
        };
        assert_eq!(connect(), HandshakeKind::Full);
        assert_eq!(connect(), HandshakeKind::Resumed);
    }
}

#[test]
fn without_tickets_no_session_is_resumed() {
    let folder = Folder::new();
    let mut options = options(&folder);
    options["no_ticket"] = json!(true);
    let server = setup(options, json!({})).start();
    for versions in [&[&TLS12], &[&TLS13]] {
        let config = Arc::new(config(&folder, versions));
        for _ in 0..2 {
            let mut client = Client::with_shared(&server, &config, "localhost").unwrap();
            assert_eq!(client.request(UP).0, 200);
            assert_eq!(client.kind(), HandshakeKind::Full);
        }
    }
}

#[test]
fn openssl_connects_and_resumes() {
    let folder = Folder::new();
    let server = start(&folder);
    let client = |arguments: &str, input: &str| {
        let address = server.address();
        let mut child = Command::new("openssl")
            .args(["s_client", "-connect", &address.to_string(), "-servername", "localhost"])
            .args(["-CAfile", &folder.path("ca.pem"), "-verify_return_error", "-ign_eof"])
            .args(arguments.split(' '))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    };
    let close = UP.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let printed = client("-tls1_2 -reconnect", &close);
    assert_eq!(printed.matches("Reused, TLSv1.2").count(), 5, "{printed}");
    let session = folder.path("session");
    for (version, kind) in [("TLSv1.2", "-tls1_2"), ("TLSv1.3", "-tls1_3")] {
        let printed = client(&format!("{kind} -sess_out {session}"), &close);
        assert!(printed.contains(&format!("New, {version}")), "{printed}");
        assert!(printed.contains("{\"health\":\"OK\"}"), "{printed}");
        let printed = client(&format!("{kind} -sess_in {session}"), &close);
        assert!(printed.contains(&format!("Reused, {version}")), "{printed}");
        assert!(printed.contains("{\"health\":\"OK\"}"), "{printed}");
    }
}

#[test]
fn curl_trusts_the_certificate() {
    let folder = Folder::new();
    let server = start(&folder);
    let url = format!("https://localhost:{}/up", server.address().port());
    let ca = folder.path("ca.pem");
    for version in ["--tlsv1.2", "--tlsv1.3"] {
        let output = Command::new("curl")
            .args(["-sS", "--fail", "-4", version, "--cacert", &ca, &url])
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.stdout, b"{\"health\":\"OK\"}", "{printed}");
    }
}

#[test]
fn a_request_cut_at_every_byte_is_served() {
    let folder = Folder::new();
    let server = start(&folder);
    let mut client = Client::with(&server, config(&folder, BOTH), "localhost").unwrap();
    client.tls.writer().write_all(UP.as_bytes()).unwrap();
    let mut sealed = Vec::new();
    client.tls.write_tls(&mut sealed).unwrap();
    let stream: &mut TcpStream = &mut client.wire.stream;
    for byte in sealed {
        stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(client.head().0, 200);
}
