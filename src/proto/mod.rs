//! Parsers and encoders of the protocols.
//!
//! Everything here is a pure function of its arguments: no sockets, files, clock or randomness.
//! Only [`websocket::Reader`], [`http::Chunked`], [`http::ResponseReader`], [`lines::Lines`] and
//! `resp::Reader` have state, for incomplete input, and [`snapshot::Codec`];
//! [`websocket::Deflater`] and [`websocket::Inflater`] keep only memory to use again, and the size of
//! the last message.

pub mod auth;
pub mod envelope;
pub mod forwarded;
pub mod http;
pub mod json_object;
pub mod lines;
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
pub mod spool;
pub mod webhook;
pub mod websocket;
