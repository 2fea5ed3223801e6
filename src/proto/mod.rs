//! Bytes to values and values to bytes, and nothing else.
//!
//! Everything here is a pure function of its arguments: no sockets, files, clock or randomness.
//! Nothing outlives a call except a [`websocket::Reader`] and a [`http::Chunked`], which hold what
//! has not arrived whole.

pub mod auth;
pub mod http;
pub mod message;
pub mod query;
pub mod websocket;
