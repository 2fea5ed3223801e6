//! What the fuzzers run: one function a target, each given the bytes of one try, each failing by a
//! panic. The targets in `fuzz/` and the ordinary tests, which replay `fuzz/corpus`, call the
//! same functions. Nothing of the server calls them, and the linker leaves them out of it.
//!
//! None of them is content with "does not panic": each compares two ways to the same answer. The
//! first bytes of a try choose where the rest is cut (`pieces`), as what breaks programs of this
//! kind is a message that arrives in pieces.

#[cfg(feature = "redis")]
mod bus;
mod config;
#[cfg(feature = "redis")]
mod envelope;
mod frames;
mod http;
mod hub;
mod message;
mod pieces;
#[cfg(feature = "redis")]
mod resp;
mod script;

pub use config::config;
#[cfg(feature = "redis")]
pub use envelope::envelope;
pub use frames::frames;
pub use http::http;
pub use hub::hub;
pub use message::message;
#[cfg(feature = "redis")]
pub use resp::resp;

/// One target.
pub type Target = fn(&[u8]);

/// All targets, by the names of their files in `fuzz/fuzz_targets` and folders in `fuzz/corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("config", config),
    #[cfg(feature = "redis")]
    ("envelope", envelope),
    ("frames", frames),
    ("http", http),
    ("hub", hub),
    ("message", message),
    #[cfg(feature = "redis")]
    ("resp", resp),
];
