//! `reverb check --health`, as the health check of a container runs it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::thread;

use crate::support::{Client, Setup, binary, until};

/// The output and the exit code of a health check of the server at a port of this machine.
fn health(port: u16) -> (String, i32) {
    let output = Command::new(binary())
        .args(["check", "--health", "--host", "127.0.0.1", "--port", &port.to_string()])
        .current_dir(std::env::temp_dir())
        .env_clear()
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
    (out, output.status.code().unwrap())
}

#[test]
fn a_server_is_healthy_until_it_stops() {
    // With more than ten clients the server stops slowly.
    let server = Setup::new().env("REVERB_LIMIT_DRAIN_WINDOW_MS", 600_000).start();
    let clients: Vec<Client> = (0..50).map(|_| Client::connect(&server)).collect();
    let port = server.address().port();
    assert_eq!(health(port), (format!("http://127.0.0.1:{port} accepts clients\n"), 0));
    server.signal("TERM");
    let stopping = format!("reverb: http://127.0.0.1:{port} is stopping, and accepts no clients\n");
    until("the health check fails", || health(port) == (stopping.clone(), 1));
    drop(clients);
}

#[test]
fn no_server_and_another_server_are_not_healthy() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let other = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]).unwrap();
        stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").unwrap();
    });
    let (out, code) = health(port);
    assert!(code == 1 && out.contains("status 404, so it is not reverb"), "{out}");
    other.join().unwrap();
    let (out, code) = health(port);
    assert!(code == 1 && out.contains("Connection refused"), "{out}");
}
