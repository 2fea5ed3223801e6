//! Stopping a server: clients receive a code to reconnect, and the process exits cleanly.

use crate::support::{Client, DEADLINE, HANDSHAKE, Http, Server, Setup, until};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// Receives the event with code 4200 and the close frame.
#[track_caller]
fn receives_4200(client: &mut Client) {
    let event = client.event();
    assert_eq!(event["event"], "pusher:error", "{event}");
    let data = &event["data"];
    assert_eq!(data["code"], 4200);
    client.closed(4200);
}

/// A server that disconnects its clients quickly.
fn quick() -> Setup {
    Setup::new()
        .env("REVERB_LIMIT_DRAIN_WINDOW_MS", 100)
        .env("REVERB_LIMIT_DRAIN_LINGER_MS", 0)
        .env("REVERB_LIMIT_CLOSE_TIMEOUT_MS", 300)
}

/// Waits until the server has handled a signal.
#[track_caller]
fn is_stopping(server: &Server) {
    let started = Instant::now();
    loop {
        let response = server.request("GET /up HTTP/1.1\r\nHost: x\r\n\r\n");
        if response.header("Connection") == Some("close") {
            return;
        }
        assert!(started.elapsed() < DEADLINE, "the signal has no effect");
    }
}

#[test]
fn every_client_gets_a_close_frame_and_the_exit_code_is_zero() {
    for signal in ["TERM", "INT"] {
        let mut server = quick().start();
        let mut idle = Client::connect(&server);
        let mut subscriber = Client::connect(&server);
        subscriber.subscribe("c");
        let mut member = Client::connect(&server);
        member.join("presence-a", "1");
        server.signal(signal);
        for client in [&mut idle, &mut subscriber, &mut member] {
            receives_4200(client);
        }
        assert_eq!(server.wait().code(), Some(0));
    }
}

#[test]
fn a_server_without_clients_stops_immediately() {
    let mut server = Setup::new().env("REVERB_LIMIT_DRAIN_WINDOW_MS", 600_000).start();
    let mut kept = Http::connect(&server);
    kept.send("GET /up HTTP/1.1\r\nHost: x\r\n\r\n");
    kept.response().is(200, json!({"health": "OK"}));
    let started = Instant::now();
    server.signal("TERM");
    kept.ended();
    assert_eq!(server.wait().code(), Some(0));
    assert!(started.elapsed().as_millis() < 2_000, "{:?}", started.elapsed());
}

#[test]
fn an_incomplete_request_delays_the_stop_briefly() {
    let mut server = quick().start();
    let mut half = Http::connect(&server);
    half.send("GET /up HTTP/1.1\r\n");
    let mut other = Http::connect(&server);
    other.send("GET /up HTTP/1.1\r\nHost: x\r\n\r\n");
    other.response().is(200, json!({"health": "OK"}));
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    half.end_or_status(408);
}

#[test]
fn disconnects_are_spread_over_the_window() {
    let mut server = quick().env("REVERB_LIMIT_DRAIN_WINDOW_MS", 1_000).start();
    let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(&server)).collect();
    let started = Instant::now();
    server.signal("TERM");
    let mut times_ms: Vec<u128> = thread::scope(|scope| {
        let waits = clients.iter_mut().map(|client| {
            scope.spawn(move || {
                receives_4200(client);
                started.elapsed().as_millis()
            })
        });
        let waits: Vec<_> = waits.collect();
        waits.into_iter().map(|wait| wait.join().unwrap()).collect()
    });
    assert_eq!(server.wait().code(), Some(0));
    times_ms.sort_unstable();
    // Even on a slow machine, the first and the last disconnect are far apart.
    assert!(times_ms[19] - times_ms[0] > 300, "{times_ms:?}");
}

#[test]
fn a_client_that_reconnects_too_early_gets_close_code_4100() {
    let mut server = quick().env("REVERB_LIMIT_DRAIN_WINDOW_MS", 60_000).start();
    let mut clients: Vec<Client> = (0..40).map(|_| Client::connect(&server)).collect();
    server.signal("TERM");
    receives_4200(&mut clients[0]);
    let mut early = Client::open(&server, "/app/app-key", "");
    let event = early.event();
    let data = &event["data"];
    assert_eq!((&event["event"], &data["code"]), (&json!("pusher:error"), &json!(4100)));
    early.closed(4100);
    server.signal("TERM");
    server.wait();
}

/// Connects, and reconnects after each close frame, until no server listens. It drops a connection
/// only once the next one is open, so that the server always has a connection of this client.
fn reconnect_forever(server: &Server) -> usize {
    let request = format!("GET /app/app-key HTTP/1.1\r\nHost: localhost\r\n{HANDSHAKE}\r\n");
    let mut connections = 0;
    let mut last = None;
    while let Ok(mut stream) = TcpStream::connect(server.address()) {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        if stream.write_all(request.as_bytes()).is_ok() {
            last.replace(stream.try_clone().unwrap());
            connections += 1;
        }
        let mut received: Vec<u8> = Vec::new();
        let mut chunk = [0; 4_096];
        while !received.windows(13).any(|part| part == b"\"pusher:error") {
            match stream.read(&mut chunk) {
                Ok(length @ 1..) => received.extend(&chunk[..length]),
                _ => break,
            }
        }
    }
    connections
}

#[test]
fn clients_that_keep_reconnecting_do_not_delay_the_end() {
    // A server that waits for all these clients ends only after this time.
    let close_timeout = Duration::from_secs(6);
    let mut server = quick()
        .env("REVERB_LIMIT_DRAIN_WINDOW_MS", 200)
        .env("REVERB_LIMIT_CLOSE_TIMEOUT_MS", close_timeout.as_millis())
        .start();
    let (took, connections) = thread::scope(|scope| {
        let returning: Vec<_> =
            (0..12).map(|_| scope.spawn(|| reconnect_forever(&server))).collect();
        let path = "/apps/app-id/connections";
        until("the clients connect", || server.get(path, "").json()["connections"] == 12);
        let started = Instant::now();
        server.signal("TERM");
        let connections: Vec<usize> = returning.into_iter().map(|it| it.join().unwrap()).collect();
        (started.elapsed(), connections)
    });
    assert_eq!(server.wait().code(), Some(0));
    assert!(connections.iter().all(|&n| n > 1), "{connections:?}");
    assert!(took < close_timeout / 2, "{took:?}");
}

#[test]
fn a_second_signal_stops_the_server_immediately() {
    let mut server = Setup::new()
        .env("REVERB_LIMIT_DRAIN_WINDOW_MS", 600_000)
        .env("REVERB_LIMIT_CLOSE_TIMEOUT_MS", 60_000)
        .start();
    let mut clients: Vec<Client> = (0..50).map(|_| Client::connect(&server)).collect();
    server.signal("TERM");
    is_stopping(&server);
    server.signal("TERM");
    server.wait();
    for client in &mut clients {
        client.drain();
    }
}

#[test]
fn the_restart_command_stops_the_server_gracefully() {
    let mut server = quick().start();
    let mut client = Client::connect(&server);
    client.subscribe("c");
    let port = server.address().port().to_string();
    let output = server
        .command()
        .args(["restart", "--host", "127.0.0.1", "--port", &port])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    receives_4200(&mut client);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn the_restart_command_reports_a_missing_server() {
    let server = Server::start();
    let mut stopped = quick().start();
    let port = stopped.address().port().to_string();
    stopped.signal("TERM");
    stopped.wait();
    let output = stopped
        .command()
        .args(["restart", "--host", "127.0.0.1", "--port", &port])
        .output()
        .unwrap();
    assert!(!output.status.success());
    server.is_up();
}

#[test]
fn a_pending_request_is_answered_before_the_stop() {
    let mut server = quick().start();
    let mut client = Client::connect(&server);
    client.subscribe("c");
    server.publish("c", "e", "d");
    server.signal("TERM");
    client.expect(json!({"event": "e", "channel": "c", "data": "d"}));
    receives_4200(&mut client);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_used_port_is_an_error_with_exit_code_1() {
    let server = Server::start();
    let port = server.address().port().to_string();
    let output = server
        .command()
        .args(["start", "--host", "127.0.0.1", "--port", &port])
        .envs([("REVERB_APP_ID", "a"), ("REVERB_APP_KEY", "k"), ("REVERB_APP_SECRET", "s")])
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains(&port), "{error}");
    server.is_up();
}
