//! Effects: every socket, clock and signal. Nothing here knows the protocol: a socket does not
//! know what it carries, and a byte is given to the hub as it came.

mod call;
mod clock;
mod error;
mod listen;
mod notice;
mod pulse;
#[cfg(feature = "redis")]
mod redis;
#[cfg(not(feature = "redis"))]
#[path = "no_redis.rs"]
mod redis;
mod restart_key;
mod server;
mod socket;
mod stop;
pub mod successor;
pub(crate) mod sys;
pub mod systemd;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
mod tls;

pub(crate) use call::Call;
pub(crate) use clock::unix_s;
pub use error::BindError;
pub(crate) use redis::Line;
pub use server::Server;
pub(crate) use server::connections_within;
pub use stop::Stopper;
#[doc(hidden)]
pub use sys::{raise_open_files, send_signal, set_backlog};
pub(crate) use tls::look_at_certificate;
