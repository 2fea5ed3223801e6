//! An idle server uses no processor time, regardless of its state: a deadline that stays in the
//! past, or work that never completes, would make the event loop spin.

use crate::support::{Client, Http, Server, Setup, until};
use std::fs;
use std::thread;
use std::time::Duration;

/// Processor time of the process so far, in clock ticks of a hundredth of a second.
fn ticks(server: &Server) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    // The name of the process, which may hold spaces, ends with the last parenthesis.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let [user, system] = [11, 12].map(|at: usize| fields[at].parse::<u64>().unwrap());
    user + system
}

/// Fails if the server works during an idle second. A spinning loop uses a whole processor, or the
/// share that other processes leave; an idle loop wakes up a few times.
#[track_caller]
fn is_at_rest(server: &Server, state: &str) {
    let before = ticks(server);
    thread::sleep(Duration::from_secs(1));
    let spent = ticks(server) - before;
    assert!(spent < 15, "{state}: {spent} hundredths of a second of processor time in a second");
}

fn descriptors(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count()
}

/// A server without free descriptors, its clients, and this many clients in the backlog.
fn full(waiting: usize) -> (Server, Vec<Http>) {
    let server = Setup::new()
        .descriptors(40)
        .env("REVERB_LIMIT_CONNECTIONS", 1_000)
        .env("REVERB_LIMIT_REQUEST_TIMEOUT_MS", 600_000)
        .env("REVERB_LIMIT_DRAIN_WINDOW_MS", 5_000)
        .start();
    let mut clients = Vec::new();
    let is_full = |server: &Server| server.stderr().contains("accept failed with");
    while !is_full(&server) {
        let before = descriptors(&server);
        clients.push(Http::connect(&server));
        let is_in = || descriptors(&server) > before || is_full(&server);
        until("the server accepts a connection", is_in);
    }
    clients.extend((0..waiting).map(|_| Http::connect(&server)));
    (server, clients)
}

#[test]
fn with_and_without_idle_clients() {
    let server = Server::start();
    is_at_rest(&server, "no client");
    let mut client = Client::connect(&server);
    client.subscribe("c");
    is_at_rest(&server, "an idle client");
}

#[test]
fn with_no_descriptor_left_and_after_clients_have_disconnected() {
    for waiting in [0, 20] {
        let (server, clients) = full(waiting);
        is_at_rest(&server, "full");
        let used = descriptors(&server);
        drop(clients);
        until("the server closes its connections", || descriptors(&server) + 8 < used);
        is_at_rest(&server, "emptied after it was full");
        server.is_up();
    }
}

#[test]
fn while_it_stops_with_and_without_free_descriptors() {
    let (server, _clients) = full(20);
    server.signal("TERM");
    server.logs("stopping");
    is_at_rest(&server, "full and stopping");

    let server = Setup::new()
        .env("REVERB_LIMIT_DRAIN_WINDOW_MS", 600_000)
        .env("REVERB_LIMIT_CLOSE_TIMEOUT_MS", 60_000)
        .start();
    let _clients: Vec<Client> = (0..30).map(|_| Client::connect(&server)).collect();
    server.signal("TERM");
    server.logs("stopping");
    is_at_rest(&server, "stopping");
}

#[test]
#[cfg(feature = "redis")]
fn while_redis_is_down() {
    // No process listens on this port.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let server = Setup::new()
        .env("REVERB_SCALING_ENABLED", "true")
        .env("REDIS_HOST", "127.0.0.1")
        .env("REDIS_PORT", port)
        .start();
    server.logs("Redis:");
    is_at_rest(&server, "Redis refuses connections");
}

#[test]
#[cfg(feature = "redis")]
fn while_redis_does_not_answer() {
    // This listener accepts connections, and never replies.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Setup::new()
        .env("REVERB_SCALING_ENABLED", "true")
        .env("REDIS_HOST", "127.0.0.1")
        .env("REDIS_PORT", silent.local_addr().unwrap().port())
        .start();
    let _socket = silent.accept().unwrap();
    is_at_rest(&server, "Redis does not answer");
}
