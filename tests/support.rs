//! What every test here stands on: the real server as a child process, a WebSocket client, an HTTP
//! client and the signatures of the protocol, each just big enough for the tests.
//!
//! Nothing in it sleeps. A test waits for an event; [`DEADLINE`] only bounds how long a failure
//! takes. That something does *not* arrive is shown by a barrier: see `Client::nothing`.

mod http;
mod json;
mod server;
mod sign;
mod wait;
mod websocket;

pub use http::{Http, Response};
pub use json::{assert_same, same};
pub use server::{APP, App, BINARY, Server, Setup, in_terminal};
pub use sign::{channel_auth, hmac_hex, md5_hex, now, signed};
#[cfg(any(feature = "redis", feature = "tls"))]
pub use wait::logged;
pub use wait::until;
pub use websocket::{Client, Got, HANDSHAKE, frame};

/// How long any one thing may take before the test that waits for it fails.
pub const DEADLINE: std::time::Duration = std::time::Duration::from_secs(30);
