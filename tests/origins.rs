//! Allowed origins: which web pages may connect.

use crate::support::{Client, Server, Setup};

#[track_caller]
fn is_accepted(server: &Server, origin: &str) {
    let mut client = Client::open(server, "/app/app-key", origin);
    assert_eq!(client.event()["event"], "pusher:connection_established", "{origin}");
}

#[track_caller]
fn is_rejected(server: &Server, origin: &str) {
    let mut client = Client::open(server, "/app/app-key", origin);
    client.error(4009, "Origin not allowed");
    client.closed(4009);
}

fn server() -> Server {
    Server::with(&[("REVERB_APP_ALLOWED_ORIGINS", "allowed.test,*.wild.test")])
}

#[test]
fn only_the_host_of_the_origin_is_compared() {
    let server = server();
    for origin in [
        "http://allowed.test",
        "https://allowed.test:8443",
        "http://a.wild.test",
        "https://a.b.wild.test:1",
        "capacitor://allowed.test",
    ] {
        is_accepted(&server, &format!("Origin: {origin}\r\n"));
    }
}

#[test]
fn another_origin_gets_close_code_4009() {
    let server = server();
    for origin in [
        "http://evil.test",
        "http://wild.test",
        "http://xallowed.test",
        "http://allowed.testx",
        "http://allowed.test.evil.test",
        "http://evil.test/allowed.test",
        "http://evil.test?allowed.test",
        "http://evil.test#.wild.test",
        "http://allowed.test@evil.test",
        "http://a.wild.test:80@evil.test",
        "http://awild.test",
    ] {
        is_rejected(&server, &format!("Origin: {origin}\r\n"));
    }
}

#[test]
fn without_a_valid_origin_only_a_star_admits_a_client() {
    let server = server();
    for origin in
        ["", "Origin: null\r\n", "Origin: allowed.test\r\n", "Origin: \r\n", "Origin: http://\r\n"]
    {
        is_rejected(&server, origin);
    }
    let open = Server::start();
    for origin in
        ["", "Origin: null\r\n", "Origin: allowed.test\r\n", "Origin: http://any.test\r\n"]
    {
        is_accepted(&open, origin);
    }
}

#[test]
fn a_star_among_other_entries_admits_every_origin() {
    let server = Setup::new().env("REVERB_APP_ALLOWED_ORIGINS", "allowed.test,*").start();
    is_accepted(&server, "");
    is_accepted(&server, "Origin: http://any.test\r\n");
}
