//! The tools of the tests: the real server as a child process, a WebSocket client, an HTTP client,
//! and the signatures of the protocol.
//!
//! Tests wait for events instead of sleeping; [`DEADLINE`] only limits the time of a failure. To
//! show that a message does *not* arrive, a test sends a barrier: see `Client::nothing`.

#[cfg(feature = "console")]
mod feed;
mod http;
mod json;
mod server;
mod sign;
mod until;
#[cfg(any(feature = "redis", feature = "tls", feature = "webhooks"))]
mod wait;
mod websocket;

#[cfg(feature = "console")]
pub use feed::Feed;
pub use http::{Http, Response};
pub use json::{assert_same, same};
pub use server::{APP, App, Server, Setup, binary, in_terminal};
pub use sign::{channel_auth, hmac_hex, md5_hex, now, signed};
pub use until::until;
#[cfg(any(feature = "redis", feature = "tls", feature = "webhooks"))]
pub use wait::logged;
#[cfg(feature = "deflate")]
pub use websocket::deflated;
pub use websocket::{Client, Got, HANDSHAKE, frame};

/// The longest time to wait for an event before a test fails.
pub const DEADLINE: std::time::Duration = std::time::Duration::from_secs(30);
