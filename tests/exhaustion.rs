//! Exhausted resources: descriptors, memory, output streams, processor time. The server survives,
//! and works as before once the resources are available again.

use crate::support::{APP, Client, DEADLINE, Got, Http, Server, Setup, frame, signed};
use serde_json::json;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

const UP: &str = "GET /up HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

#[test]
fn without_descriptors_publishes_succeed_and_new_clients_wait() {
    // The limit is above the descriptors, so the server reaches the end of them.
    let server = Setup::new().descriptors(40).env("REVERB_LIMIT_CONNECTIONS", 1_000).start();
    let mut subscriber = Client::connect(&server);
    subscriber.subscribe("c");
    // A publisher that has its connection already.
    let mut publisher = Http::connect(&server);
    let publish = |publisher: &mut Http| {
        let body = json!({"name": "e", "channel": "c", "data": "d"}).to_string();
        let target = signed(&APP, "POST", "/apps/app-id/events", "", body.as_bytes());
        publisher.send(format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        publisher.response().is(200, json!({}));
    };
    publish(&mut publisher);
    subscriber.event();
    let mut waiting: Vec<Http> = (0..60).map(|_| Http::connect(&server)).collect();
    server.logs("accept failed with");
    for _ in 0..50 {
        publish(&mut publisher);
        assert_eq!(subscriber.event()["event"], "e");
    }
    for http in &mut waiting {
        http.send(UP);
    }
    for http in &mut waiting {
        http.response().is(200, json!({"health": "OK"}));
    }
    subscriber.nothing();
    server.is_up();
    let log = server.killed();
    assert_eq!(log.matches("accept failed with").count(), 1, "{log}");
}

#[test]
fn clients_that_never_read_or_finish_fit_into_little_memory() {
    // The server itself uses a quarter of it. Eight clients with 4 MiB of responses each would take
    // 32 MiB, and 20 publishers that never finish 20 MiB.
    let server = Setup::new().memory_kb(40_000).start();
    let mut bystander = Client::connect(&server);
    bystander.subscribe("c");
    let ping = frame(0x89, &[b'x'; 125]);
    let pings = ping.repeat(5_000);
    let mut clients: Vec<Client> = (0..8).map(|_| Client::connect(&server)).collect();
    let mut publishers: Vec<Http> = (0..20).map(|_| Http::connect(&server)).collect();
    let endless = format!(
        "POST /apps/app-id/events HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n{}",
        "x".repeat(500_000)
    );
    let (mut sent, mut idle_rounds) = ([0; 8], 0);
    // Until no client can send more, although the server had time to read.
    while idle_rounds < 20 {
        idle_rounds += 1;
        for (client, sent) in clients.iter_mut().zip(&mut sent) {
            let taken = client.send_some(&pings[*sent % ping.len()..]);
            *sent += taken;
            if taken > 0 {
                idle_rounds = 0;
            }
        }
        publishers.iter_mut().for_each(|http| _ = http.send_some(endless.as_bytes()));
        server.publish("c", "e", "d");
        bystander.expect(json!({"event": "e", "channel": "c", "data": "d"}));
    }
    drop((clients, publishers));
    bystander.nothing();
    server.is_up();
}

/// A server with a limit of 128 open files, and more idle clients than it has room for.
pub fn flooded(setup: Setup) -> (Server, Vec<Http>) {
    let setup = setup.env("REVERB_LIMIT_CONNECTIONS", 1_000);
    let setup = setup.env("REVERB_LIMIT_REQUEST_TIMEOUT_MS", 600_000);
    let server = setup.descriptors(128).start();
    let idle = (0..200).map(|_| Http::connect(&server)).collect();
    server.logs("accept failed with");
    (server, idle)
}

#[test]
fn clients_leave_descriptors_for_a_reload() {
    let (server, mut idle) = flooded(Setup::new());
    for _ in 0..3 {
        crate::reload::reload(&server);
    }
    // Each connection was accepted before or waited in the backlog.
    for http in &mut idle {
        http.send(UP);
    }
    for http in &mut idle {
        http.response().is(200, json!({"health": "OK"}));
    }
    server.is_up();
}

#[test]
fn clients_leave_descriptors_for_the_metrics_port() {
    let (mut server, _idle) = flooded(Setup::new().arg("--metrics=127.0.0.1:0"));
    let address = server.line().split('/').nth(2).unwrap().parse().unwrap();
    let mut http = Http::connect_to(address);
    http.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    let figures = http.response();
    assert!(figures.text().contains("reverb_accept_failures_total"), "{figures:?}");
}

/// A server whose output streams the shell redirects. It listens on a port that was free before.
struct Bare(Child, u16);

impl Bare {
    #[track_caller]
    fn start(redirections: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script =
            format!(r#"exec "$0" start --debug --host 127.0.0.1 --port {port} {redirections}"#);
        let child = Command::new("/bin/sh")
            .args(["-c", &script, crate::support::binary()])
            .env_clear()
            .env("REVERB_APP_ID", "i")
            .env("REVERB_APP_KEY", "k")
            .env("REVERB_APP_SECRET", "s")
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Bare(child, port)
    }

    /// Fails unless the server answers many requests.
    #[track_caller]
    fn serves(&mut self) {
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.1)).is_err() {
            assert!(started.elapsed() < DEADLINE, "the server does not listen");
            assert!(self.0.try_wait().unwrap().is_none(), "the server has ended");
        }
        for _ in 0..50 {
            let mut http = Http::connect_to(SocketAddr::from(([127, 0, 0, 1], self.1)));
            http.send(UP);
            http.response().is(200, json!({"health": "OK"}));
        }
        assert!(self.0.try_wait().unwrap().is_none(), "the server has ended");
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_server_survives_closed_output_streams() {
    for redirections in
        [">/dev/full", ">/dev/full 2>/dev/full", ">&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full"]
    {
        Bare::start(redirections).serves();
    }
}

#[test]
fn output_streams_may_be_closed_while_the_server_runs() {
    let mut server = Bare::start("");
    server.serves();
    drop((server.0.stdout.take(), server.0.stderr.take()));
    server.serves();
}

#[test]
fn a_suspended_process_disconnects_no_client_when_it_continues() {
    // A suspended process sees its clock jump forward: every deadline has passed when it continues.
    let server = Server::with(&[("REVERB_APP_PING_INTERVAL", "1")]);
    let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(&server)).collect();
    clients.iter_mut().for_each(|client| client.subscribe("c"));
    server.signal("STOP");
    let other = Server::with(&[("REVERB_LIMIT_REQUEST_TIMEOUT_MS", "2500")]);
    // The request timeout of another server shows that 2.5 s have passed.
    Http::connect(&other).ended();
    server.signal("CONT");
    for client in &mut clients {
        let ping = client.receive();
        assert!(matches!(ping, Got::Ping(_)), "{ping:?}");
        client.frame(0x8A, b"");
        client.nothing();
    }
    server.is_up();
}

#[test]
fn requests_that_arrive_during_a_suspension_are_served() {
    let server = Server::with(&[("REVERB_LIMIT_REQUEST_TIMEOUT_MS", "300")]);
    let mut http = Http::connect(&server);
    server.is_up();
    server.signal("STOP");
    // The server takes more than one turn to read this request.
    let body = json!({"name": "e", "channel": "c", "data": "x".repeat(9_000)}).to_string();
    let body = body + &" ".repeat(30_000);
    let target = signed(&APP, "POST", "/apps/app-id/events", "", body.as_bytes());
    let length = body.len();
    http.send(format!("POST {target} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}"));
    let other = Server::with(&[("REVERB_LIMIT_REQUEST_TIMEOUT_MS", "2500")]);
    // The request timeout of another server shows that 2.5 s have passed.
    Http::connect(&other).ended();
    server.signal("CONT");
    http.response().is(200, json!({}));
    server.logs("this process was paused for ");
    // Deadlines expire again.
    Http::connect(&server).ended();
}
