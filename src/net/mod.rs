//! Effects: every socket, clock and signal. Nothing here knows the protocol: a socket does not
//! know what it carries, and a byte is given to the hub as it came.

mod listen;
mod server;
mod socket;
mod stop;
pub mod sys;

pub use server::Server;
pub use stop::Stopper;
