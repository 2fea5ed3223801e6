//! TLS, as `servers.reverb.options.tls` and a host name switch it on. The certificates are made by
//! the `openssl` program; the clients are that program, `curl`, and rustls.
#![cfg(feature = "tls")]

mod certificates;
mod client;
mod files;
mod options;
mod reload;
mod serving;
mod strangers;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{APP, DEADLINE, Server, Setup};
use certificates::Folder;

/// A server with [`APP`], these options of TLS, and these limits.
fn setup(options: Value, limits: Value) -> Setup {
    let app = json!({"app_id": APP.id, "key": APP.key, "secret": APP.secret});
    Setup::bare().config(json!({
        "servers": {"reverb": {"options": {"tls": options}, "limits": limits}},
        "apps": {"apps": [app]},
    }))
}

/// The options for the certificate `server` of a folder.
fn options(folder: &Folder) -> Value {
    json!({"local_cert": folder.path("server.pem"), "local_pk": folder.path("server.key")})
}

/// A server with the certificate `server` of a folder.
#[track_caller]
fn start(folder: &Folder) -> Server {
    setup(options(folder), json!({})).start()
}

/// Waits until something is so that no event tells of.
#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < DEADLINE, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until the server has logged a line with all of these in it, and returns it.
#[track_caller]
fn logged(server: &Server, parts: &[&str]) -> String {
    let mut found = None;
    until(&format!("{parts:?} in the log"), || {
        let log = server.stderr();
        found = log.lines().find(|line| parts.iter().all(|p| line.contains(p))).map(str::to_owned);
        found.is_some()
    });
    found.unwrap()
}
