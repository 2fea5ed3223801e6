//! Clients that do not use TLS, violate its protocol, or never complete the handshake.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use serde_json::json;

use super::certificates::Folder;
use super::client::{BOTH, Client, UP, config};
use super::{logged, options, setup, start};
use crate::support::{DEADLINE, Http, Server};

/// The ClientHello of a client.
fn hello(folder: &Folder) -> Vec<u8> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut tls = ClientConnection::new(Arc::new(config(folder, BOTH)), name).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    hello
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

#[test]
fn plain_http_on_a_tls_port_gets_a_plain_error() {
    let folder = Folder::new();
    let server = start(&folder);
    let mut http = Http::connect(&server);
    http.send(UP);
    let response = http.response();
    assert_eq!(response.is_error(400), "This port speaks TLS: use https:// or wss://.");
    http.ended();
    logged(&server, &["127.0.0.1:", "sent plain HTTP to a port that speaks TLS"]);
    assert_eq!(Client::connect(&server, &folder).request(UP).0, 200);
}

#[test]
fn tls_on_a_plain_port_is_logged() {
    let folder = Folder::new();
    let server = Server::start();
    let error = Client::with(&server, config(&folder, BOTH), "localhost").err().unwrap();
    assert!(error.contains("corrupt message"), "{error}");
    logged(&server, &["127.0.0.1:", "sent TLS to a port that speaks plain HTTP"]);
    let mut http = Http::connect(&server);
    http.send(hello(&folder));
    http.response().is_error(400);
    server.is_up();
}

#[test]
fn a_failed_handshake_is_logged_with_peer_name_and_reason() {
    let folder = Folder::new();
    let stranger = Folder::new();
    let server = start(&folder);
    let error = Client::with(&server, config(&stranger, BOTH), "localhost").err().unwrap();
    assert!(error.contains("UnknownIssuer"), "{error}");
    let line = logged(&server, &["[WARN] 127.0.0.1:", "TLS handshake failed"]);
    assert!(line.contains("(host name localhost)"), "{line}");
    assert!(line.contains("the client does not trust this server's certificate"), "{line}");
}

#[test]
fn repeated_failures_with_one_cause_are_logged_rarely() {
    let folder = Folder::new();
    let server = start(&folder);
    for _ in 0..50 {
        let mut stream = connect(&server);
        stream.write_all(&[0x16, 3, 1, 0, 4, 0xff, 0, 0, 0]).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer[..3], [0x15, 3, 3], "an alert");
    }
    logged(&server, &["TLS handshake failed (no host name)", "unexpected handshake message"]);
    assert_eq!(server.stderr().lines().count(), 5);
}

#[test]
fn an_incomplete_handshake_times_out() {
    let folder = Folder::new();
    let limits = json!({"request_timeout_ms": 300});
    let server = setup(options(&folder), limits).start();
    let hello = hello(&folder);
    for bytes in [&[][..], &hello[..50], &hello] {
        let mut stream = connect(&server);
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer.is_empty(), bytes.len() < hello.len());
    }
    logged(
        &server,
        &["TLS handshake failed", "host name localhost", "did not complete it in time"],
    );
    let mut stream = connect(&server);
    stream.write_all(&hello[..50]).unwrap();
    drop(stream);
    logged(&server, &["TLS handshake failed", "disconnected in the middle of it"]);
    // A complete handshake without a request after it times out, too.
    assert_eq!(Client::connect(&server, &folder).end(), Ok(()));
}

#[test]
fn no_handshake_is_computed_for_a_disconnected_client() {
    let folder = Folder::new();
    let server = start(&folder);
    let hello = hello(&folder);
    for first in [0, 50] {
        let mut stream = connect(&server);
        stream.write_all(&hello[..first]).unwrap();
        // This response shows that the server has accepted the earlier connection and read from it.
        assert_eq!(Client::connect(&server, &folder).request(UP).0, 200);
        // The rest of the hello and the end of the stream arrive in one event.
        server.signal("STOP");
        stream.write_all(&hello[first..]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        server.signal("CONT");
        let mut answer = Vec::new();
        // The connection is reset if the server has left bytes unread.
        let _ = stream.read_to_end(&mut answer);
        assert_eq!(answer, [0; 0], "after {first} bytes of the hello");
    }
    logged(&server, &["TLS handshake failed", "disconnected in the middle of it"]);
}

#[test]
fn a_flood_of_handshakes_does_not_delay_connected_clients() {
    let folder = Folder::new();
    let limits = json!({"tls_handshakes_per_turn": 1});
    let server = setup(options(&folder), limits).start();
    let mut client = Client::open(&server, &folder);
    client.ping();
    let hello = hello(&folder);
    let mut flood: Vec<TcpStream> = (0..500).map(|_| connect(&server)).collect();
    // Once a later connection is served, the server has accepted all earlier ones.
    Client::connect(&server, &folder);
    for stream in &mut flood {
        stream.write_all(&hello).unwrap();
    }
    client.ping();
    let mut waiting = 0;
    for stream in &mut flood {
        stream.set_nonblocking(true).unwrap();
        match stream.peek(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => waiting += 1,
            answer => assert!(matches!(answer, Ok(1)), "{answer:?}"),
        }
    }
    assert!(waiting > 50, "only {waiting} of the flood are still waiting");
    for stream in &mut flood {
        stream.set_nonblocking(false).unwrap();
        assert_eq!(stream.read(&mut [0; 5]).unwrap(), 5, "the other handshakes complete later");
    }
}

#[test]
fn bytes_that_are_not_tls_are_rejected() {
    let folder = Folder::new();
    let server = start(&folder);
    for bytes in
        [&b"\x16\x03\x01\xff\xff"[..], b"\x80\x2e\x01\x00\x02", b"\x00\x00\x00\x00\x00\x00"]
    {
        let mut stream = connect(&server);
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        // The connection ends or is reset; there is no HTTP response.
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP"));
    }
    assert_eq!(Client::connect(&server, &folder).request(UP).0, 200);
}
