//! Binds the echo server, with its limits. Its behaviour is that of the server itself.

use std::io;

use reverb::config::{App, Config};
use reverb::net::Server;

/// A server on this port of 127.0.0.1; 0 lets the system choose.
pub fn bind(port: u16) -> io::Result<Server> {
    let mut app = App::new("echo", "echo", "echo");
    // `limits.message_bytes` alone counts: 16 MiB, Autobahn's longest message.
    app.max_message_size = 0;
    // A ping from the server would arrive before the message a suite waits for; none of its cases
    // takes an hour.
    app.ping_interval_s = 3_600;
    let mut config = Config { apps: vec![app], ..Config::default() };
    config.server.host = "127.0.0.1".into();
    config.server.port = port;
    config.limits.message_bytes = 16 << 20;
    config.limits.outbox_bytes = 16 << 20;
    // Autobahn sends 4 MiB in 65,536 fragments of 64 bytes, followed by an empty one.
    config.limits.message_fragments = (4 << 20) / 64 + 1;
    // A suite tests what is compressed as well: every echo.
    config.server.compression.minimum_bytes = 1;
    config.server.compression.subscribers = 1;
    let mut server = Server::bind(&config, [0; 32])?;
    server.echo();
    Ok(server)
}
