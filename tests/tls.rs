//! TLS, as `servers.reverb.options.tls` and a host name switch it on. The certificates are made by
//! the `openssl` program; the clients are that program, `curl`, and rustls.
#![cfg(feature = "tls")]

pub mod certificates;
mod client;
mod files;
mod options;
mod reload;
mod serving;
mod strangers;

use serde_json::{Value, json};

use crate::support::{APP, Server, Setup, logged, until};
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
