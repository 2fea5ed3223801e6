//! Clients behind a proxy: which address the limits apply to.

use crate::support::{Client, Server, Setup};

/// A server that accepts one connection from each address.
fn setup(trusted: &str) -> Setup {
    Setup::new()
        .env("REVERB_SERVER_TRUSTED_PROXIES", trusted)
        .env("REVERB_LIMIT_CONNECTIONS_PER_ADDRESS", 1)
}

fn from(server: &Server, forwarded_for: &str) -> Client {
    let header = format!("X-Forwarded-For: {forwarded_for}\r\n");
    Client::open(server, "/app/app-key", &header)
}

#[track_caller]
fn is_accepted(client: &mut Client) {
    assert_eq!(client.event()["event"], "pusher:connection_established");
}

#[track_caller]
fn is_rejected(client: &mut Client) {
    let event = client.event();
    let data = &event["data"];
    assert_eq!((&event["event"], &data["code"]), (&"pusher:error".into(), &4100.into()), "{event}");
}

#[test]
fn the_client_address_comes_from_a_trusted_proxy() {
    let server = setup("10.0.0.0/8, 127.0.0.1").start();
    let mut first = from(&server, "203.0.113.5");
    is_accepted(&mut first);
    is_accepted(&mut from(&server, "203.0.113.6"));
    // An address that the client has forged precedes those that the proxies have added.
    is_rejected(&mut from(&server, "203.0.113.7, 203.0.113.5, 10.1.2.3"));
    server.logs("203.0.113.5 has too many connections and was asked to retry");
    // A client that disconnects makes room for another from the same address.
    first.frame(0x88, &[]);
    first.closed(1000);
    drop(first);
    server.get("/apps/app-id/connections", "");
    let started = std::time::Instant::now();
    loop {
        let mut again = from(&server, "203.0.113.5");
        if again.event()["event"] == "pusher:connection_established" {
            break;
        }
        assert!(started.elapsed() < crate::support::DEADLINE);
    }
}

#[test]
fn a_header_from_an_untrusted_peer_is_ignored() {
    for trusted in ["", "10.0.0.0/8"] {
        let server = setup(trusted).start();
        // The limit does not apply to loopback, where a proxy runs.
        let mut clients: Vec<Client> = (0..3).map(|_| from(&server, "203.0.113.5")).collect();
        clients.iter_mut().for_each(is_accepted);
    }
}

#[test]
fn an_invalid_proxy_address_is_an_error() {
    let output = Server::start()
        .command()
        .arg("start")
        .envs([("REVERB_SERVER_TRUSTED_PROXIES", "10.0.0.0/8,*")])
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        error.contains("REVERB_SERVER_TRUSTED_PROXIES: \"*\" is neither an address"),
        "{error}"
    );
}
