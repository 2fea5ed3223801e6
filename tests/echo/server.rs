//! The echo server, bound: which limits it has, and why. What it does is the product's.

use std::io;

use reverb::config::{App, Config};
use reverb::net::Server;

/// A server on this port of 127.0.0.1; 0 lets the system choose.
pub fn bind(port: u16) -> io::Result<Server> {
    let mut app = App::new("echo", "echo", "echo");
    // `limits.message_bytes` alone counts: 16 MiB, Autobahn's longest message.
    app.max_message_size = 0;
    // A ping of the server's would stand between what a suite sends and what it waits for; none of
    // its cases takes an hour.
    app.ping_interval_s = 3_600;
    let mut config = Config { apps: vec![app], ..Config::default() };
    config.server.host = "127.0.0.1".into();
    config.server.port = port;
    config.limits.message_bytes = 16 << 20;
    config.limits.outbox_bytes = 16 << 20;
    // Autobahn sends 4 MiB in 65,536 pieces of 64 bytes, and ends them with an empty one.
    config.limits.message_fragments = (4 << 20) / 64 + 1;
    let mut server = Server::bind(&config, [0; 32])?;
    server.echo();
    Ok(server)
}
