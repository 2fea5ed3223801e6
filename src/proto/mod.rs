//! Bytes to values and values to bytes, and nothing else.
//!
//! Everything here is a pure function of its arguments: no sockets, files, clock or randomness.
//! Nothing outlives a call except a [`websocket::Reader`], a [`http::Chunked`] and a `resp::Reader`,
//! which hold what has not arrived whole, and a [`snapshot::Codec`].

pub mod auth;
pub mod envelope;
pub mod forwarded;
pub mod http;
pub mod message;
pub mod prometheus;
pub mod pulse;
pub mod query;
#[cfg(feature = "redis")]
pub mod resp;
#[cfg(not(feature = "redis"))]
#[path = "no_resp.rs"]
pub mod resp;
pub mod shown;
pub mod snapshot;
pub mod websocket;
