//! Monitoring: the metrics port and `/ready`. `tests/clients` checks the metrics with Prometheus'
//! parser.

use crate::support::{Client, DEADLINE, Http, Response, Server, Setup};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Instant;

/// A server with a metrics port, and its address.
pub fn watched(setup: Setup) -> (Server, SocketAddr) {
    let mut server = setup.arg("--metrics").arg("0").start();
    let line = server.line();
    let address = line.trim_start_matches("metrics at http://").trim_end_matches("/metrics");
    let address: SocketAddr = address.parse().unwrap_or_else(|_| panic!("{line}"));
    (server, address)
}

pub fn get(http: &mut Http, path: &str) -> Response {
    http.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    http.response()
}

/// The value of a sample.
#[track_caller]
pub fn figure(figures: &str, sample: &str) -> f64 {
    let line = figures.lines().find(|line| line.rsplit_once(' ').is_some_and(|l| l.0 == sample));
    line.unwrap_or_else(|| panic!("no {sample} in\n{figures}"))
        .rsplit_once(' ')
        .unwrap()
        .1
        .parse()
        .unwrap()
}

#[test]
fn metrics_count_clients_and_publishers() {
    let (server, address) = watched(Setup::new());
    assert!(address.ip().is_loopback(), "a port alone binds to loopback: {address}");
    let mut clients = [Client::connect(&server), Client::connect(&server)];
    for client in &mut clients {
        client.subscribe("c");
    }
    clients[0].subscribe("d");
    server.publish("c", "e", "x");
    server.get("/apps/nobody/channels", "").is_error(404);
    for client in &mut clients {
        client.expect(json!({"event": "e", "channel": "c", "data": "x"}));
    }
    let mut http = Http::connect_to(address);
    let response = get(&mut http, "/metrics");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let figures = response.text();
    for (sample, value) in [
        (r#"reverb_connections{app="app-id"}"#, 2.0),
        (r#"reverb_channels{app="app-id"}"#, 2.0),
        (r#"reverb_subscriptions{app="app-id"}"#, 3.0),
        (r#"reverb_connections_opened_total{app="app-id"}"#, 2.0),
        (r#"reverb_messages_received_total{app="app-id"}"#, 3.0),
        // Two welcomes, three subscriptions, two events.
        (r#"reverb_messages_sent_total{app="app-id"}"#, 7.0),
        (r#"reverb_api_events_total{app="app-id"}"#, 1.0),
        (r#"reverb_http_requests_total{route="events",status="200"}"#, 1.0),
        (r#"reverb_http_requests_total{route="channels",status="404"}"#, 1.0),
        (r#"reverb_close_frames_total{code="4200"}"#, 0.0),
        (r#"reverb_limits_exceeded_total{setting="limits.outbox_bytes"}"#, 0.0),
        ("reverb_outbox_bytes", 0.0),
        ("reverb_ready", 1.0),
        (concat!(r#"reverb_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""}"#), 1.0),
    ] {
        assert_eq!(figure(figures, sample), value, "{sample}");
    }
    assert!(figure(figures, r#"reverb_loop_turn_seconds_bucket{le="+Inf"}"#) > 5.0);
    drop(clients);
    let started = Instant::now();
    while figure(get(&mut http, "/metrics").text(), r#"reverb_connections{app="app-id"}"#) > 0.0 {
        assert!(started.elapsed() < DEADLINE);
    }
}

#[test]
fn the_metrics_port_serves_metrics_only() {
    let (server, address) = watched(Setup::new());
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    server.request(request).is_error(404);
    let mut http = Http::connect_to(address);
    get(&mut http, "/apps/app-id/channels").is_error(404);
    get(&mut http, "/up").is(200, json!({"health": "OK"}));
    get(&mut http, "/ready").is(200, json!({"ready": true}));
    http.send("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    http.response().is_error(405);
    for path in ["/metrics", "/up", "/ready"] {
        http.send(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!(http.head().status, 200);
    }
    // Load balancers send health checks to the port that clients connect to.
    let mut public = Http::connect(&server);
    for path in ["/up", "/ready"] {
        public.send(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!(public.head().status, 200);
    }
    let mut handshake = Http::connect_to(address);
    handshake.send(
        "GET /app/app-key HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    handshake.response().is_error(404);
    // A body would be parsed as the next request, so the server closes the connection.
    let mut body = Http::connect_to(address);
    body.send("GET /up HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(body.response().header("Connection"), Some("close"));
}

#[test]
fn monitoring_does_not_use_the_connection_limit_of_clients() {
    let (server, address) = watched(Setup::new().env("REVERB_LIMIT_METRICS_CONNECTIONS", 2));
    let mut few = [Http::connect_to(address), Http::connect_to(address)];
    for http in &mut few {
        assert_eq!(get(http, "/metrics").status, 200);
    }
    Http::connect_to(address).ended();
    server.is_up();
    // A client that disconnects makes room for another.
    let [first, mut second] = few;
    drop(first);
    let started = Instant::now();
    while figure(get(&mut second, "/metrics").text(), "reverb_sockets") > 1.0 {
        assert!(started.elapsed() < DEADLINE);
    }
    assert_eq!(get(&mut Http::connect_to(address), "/up").status, 200);
}

#[test]
fn a_stopping_server_is_not_ready() {
    let (mut server, address) = watched(
        Setup::new()
            .env("REVERB_LIMIT_DRAIN_WINDOW_MS", 600_000)
            .env("REVERB_LIMIT_CLOSE_TIMEOUT_MS", 60_000),
    );
    let clients: Vec<Client> = (0..50).map(|_| Client::connect(&server)).collect();
    let request = "GET /ready HTTP/1.1\r\nHost: x\r\n\r\n";
    server.request(request).is(200, json!({"ready": true}));
    server.signal("TERM");
    let started = Instant::now();
    while server.request(request).status == 200 {
        assert!(started.elapsed() < DEADLINE, "the signal has no effect");
    }
    server.request(request).is(503, json!({"ready": false}));
    get(&mut Http::connect_to(address), "/ready").is(503, json!({"ready": false}));
    let figures = get(&mut Http::connect_to(address), "/metrics");
    assert_eq!(figure(figures.text(), "reverb_ready"), 0.0);
    server.is_up();
    server.signal("TERM");
    server.wait();
    drop(clients);
}

#[test]
fn an_invalid_metrics_address_is_an_error() {
    let server = Server::start();
    let taken = server.address().to_string();
    for (address, code, expected) in [
        ("here", 2, "--metrics: \"here\" is neither a port nor an address"),
        (&*taken, 1, "cannot serve metrics on"),
    ] {
        let output =
            server.command().args(["start", "--port", "0", "--metrics", address]).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}
