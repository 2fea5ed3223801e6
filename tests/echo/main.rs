//! A WebSocket server that echoes, for conformance suites such as Autobahn's fuzzing client:
//! `cargo run --release --example echo -- PORT`. It is the server's own loop, sockets, handshake,
//! frames, queues and close code. It listens on 127.0.0.1, prints its address, and serves until it
//! is killed.

#![allow(clippy::unwrap_used, reason = "not part of the product")]

mod server;

use std::process::ExitCode;

fn main() -> ExitCode {
    let port = std::env::args().nth(1).map(|port| port.parse());
    let Ok(port) = port.unwrap_or(Ok(9_001)) else {
        eprintln!("echo [PORT]: a port is a number up to 65535");
        return ExitCode::from(2);
    };
    let served = server::bind(port).and_then(|server| {
        println!("echo listening on {}", server.local_address()?);
        server.run()
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}
