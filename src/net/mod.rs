//! Effects: every socket, clock and signal. Nothing here knows the protocol: a socket does not
//! know what it carries, and a byte is given to the hub as it came.

#[cfg(feature = "redis")]
mod call;
mod clock;
mod error;
mod listen;
mod notice;
#[cfg(feature = "redis")]
mod redis;
#[cfg(not(feature = "redis"))]
#[path = "no_redis.rs"]
mod redis;
pub mod restart_key;
mod server;
mod socket;
mod stop;
pub mod sys;
pub mod systemd;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
mod tls;

pub use error::BindError;
pub use server::Server;
pub use stop::Stopper;
