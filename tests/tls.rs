//! TLS, enabled by `servers.reverb.options.tls` or a host name. The `openssl` program makes the
//! certificates; the clients are that program, `curl`, and rustls.
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

/// A server with [`APP`], these TLS options, and these limits.
pub fn setup(options: Value, limits: Value) -> Setup {
    let app = json!({"app_id": APP.id, "key": APP.key, "secret": APP.secret});
    Setup::bare().config(json!({
        "servers": {"reverb": {"options": {"tls": options}, "limits": limits}},
        "apps": {"apps": [app]},
    }))
}

/// The options for the certificate `server` of a folder.
pub fn options(folder: &Folder) -> Value {
    json!({"local_cert": folder.path("server.pem"), "local_pk": folder.path("server.key")})
}

/// A server with the certificate `server` of a folder.
#[track_caller]
fn start(folder: &Folder) -> Server {
    setup(options(folder), json!({})).start()
}
