//! Effects: every socket, clock and signal. Nothing here knows the protocol: bytes are passed to the
//! hub as they arrive.

mod apps_folder;
#[cfg(any(feature = "redis", feature = "console"))]
mod blocking_stream;
mod clock;
mod control;
mod error;
mod http_client;
mod io;
mod listen;
mod pulse;
#[cfg(feature = "redis")]
mod redis;
#[cfg(not(feature = "redis"))]
#[path = "no_redis.rs"]
mod redis;
mod resolve;
mod restart_key;
mod server;
mod socket;
mod stream;
pub(crate) mod successor;
pub(crate) mod sys;
pub(crate) mod systemd;
mod threads;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
mod tls;
mod token;
#[cfg(feature = "webhooks")]
mod webhooks;
#[cfg(not(feature = "webhooks"))]
#[path = "no_webhooks.rs"]
mod webhooks;

#[cfg(feature = "console")]
pub(crate) use blocking_stream::BlockingStream;
pub(crate) use clock::unix_s;
pub use control::Stopper;
pub use error::BindError;
#[cfg(feature = "console")]
pub(crate) use http_client::open;
pub(crate) use http_client::{Destination, Fetch, RequestError, fetch};
pub(crate) use redis::{BlockingRedis, ask_sentinel};
pub use server::Server;
pub(crate) use server::connections_within;
/// Public for the benchmark of a reload, which waits for its result.
#[doc(hidden)]
pub use successor::outcome_address;
/// Public for benchmarks, which open as many sockets as the server, and signal it.
#[doc(hidden)]
pub use sys::{raise_open_files, send_signal, set_backlog};
pub(crate) use tls::check_certificate;

/// The descriptors that webhooks of this configuration may use.
pub(crate) fn webhook_descriptors(config: &crate::config::Config) -> u64 {
    webhooks::Webhooks::descriptors(config)
}
