//! The log: its contents, and that a blocked reader does not block the server.

use crate::support::{Client, Server, Setup};

#[test]
fn without_debug_a_server_at_work_logs_nothing() {
    let mut server = Server::start();
    let mut client = Client::connect(&server);
    client.subscribe("news");
    server.publish("news", "e", "d");
    client.event();
    client.text("not a message");
    client.error(4200, "Invalid message format");
    server.get("/apps/app-id/nothing", "").is_error(404);
    server.signal("KILL");
    server.wait();
    assert_eq!(server.stderr(), "");
}

#[test]
fn with_debug_the_stream_of_messages_is_logged_without_colors_into_a_pipe() {
    let mut server = Setup::new().arg("--debug").start();
    let mut client = Client::connect(&server);
    client.subscribe("news");
    server.publish("news", "hello", "{\"to\":1}");
    client.event();
    server.signal("KILL");
    server.wait();
    let log = server.stderr();
    for part in [
        " < {\"event\":\"pusher:connection_established\"",
        " > {\"data\":{\"channel\":\"news\"},\"event\":\"pusher:subscribe\"}",
        "channel \"news\" created",
        "1 subscribers < {\"event\":\"hello\",\"data\":\"{\\\"to\\\":1}\",\"channel\":\"news\"}",
        "POST /apps/app-id/events 200",
    ] {
        assert!(log.contains(part), "{part} is not in\n{log}");
    }
    assert!(!log.contains('\u{1b}'), "{log}");
    assert!(!log.contains("app-secret"), "{log}");
}

#[test]
fn text_of_a_client_cannot_begin_a_line_of_the_log() {
    let mut server = Setup::new().arg("--debug").start();
    let mut client = Client::connect(&server);
    client.text("x\n2026-01-01 [ERROR] made up \u{1b}[2J\r");
    client.error(4200, "Invalid message format");
    client.text("y\u{2028}\u{202e}\u{2066}\u{200f}\u{61c}é");
    client.error(4200, "Invalid message format");
    server.signal("KILL");
    server.wait();
    let log = server.stderr();
    assert!(log.contains("x\\n2026-01-01 [ERROR] made up \\u{1b}[2J\\r\n"), "{log}");
    assert!(log.contains("y\\u{2028}\\u{202e}\\u{2066}\\u{200f}\\u{61c}é\n"), "{log}");
}

#[test]
fn an_unread_log_does_not_block_the_server() {
    let server = Setup::new().arg("--debug").unread_log().start();
    let mut client = Client::connect(&server);
    let long = format!("{{\"event\":\"x\",\"channel\":\"{}\"}}", "c".repeat(2_000));
    // A pipe holds 64 KiB; this is ten times as much.
    for _ in 0..300 {
        client.text(&long);
    }
    client.nothing();
    server.is_up();
}

#[test]
fn a_full_disk_does_not_stop_the_server() {
    let server = Setup::new().arg("--debug").log_to("/dev/full").start();
    let mut client = Client::connect(&server);
    client.subscribe("news");
    client.nothing();
    server.is_up();
}
