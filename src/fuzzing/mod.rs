//! The fuzz targets: one function each, which gets the input and panics on a failure. The fuzzers in
//! `fuzz/` and the tests, which replay `fuzz/corpus`, call the same functions. The server does not
//! call them, so the linker removes them from it.
//!
//! Every target checks an invariant, not only the absence of panics: it compares two ways to one
//! result. In most targets the first bytes of an input decide where the rest is split (`pieces`), because messages
//! that arrive in pieces are a common source of bugs.

mod apps_folder;
#[cfg(feature = "redis")]
mod bus;
mod config;
#[cfg(feature = "deflate")]
mod deflate;
#[cfg(feature = "redis")]
mod envelope;
mod extensions;
mod frames;
mod http;
mod hub;
#[cfg(feature = "deflate")]
mod inflate;
mod message;
mod php;
mod pieces;
#[cfg(feature = "redis")]
mod resp;
mod response;
mod script;
mod spool;

pub use apps_folder::apps_folder;
pub use config::config;
#[cfg(feature = "deflate")]
pub use deflate::deflate;
#[cfg(feature = "redis")]
pub use envelope::envelope;
pub use extensions::extensions;
pub use frames::frames;
pub use http::http;
pub use hub::hub;
pub use message::message;
pub use php::php;
#[cfg(feature = "redis")]
pub use resp::resp;
pub use response::response;
pub use spool::spool;

/// A fuzz target.
pub type Target = fn(&[u8]);

/// All targets, with the names of their files in `fuzz/fuzz_targets` and folders in `fuzz/corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("apps_folder", apps_folder),
    ("config", config),
    #[cfg(feature = "deflate")]
    ("deflate", deflate),
    #[cfg(feature = "redis")]
    ("envelope", envelope),
    ("extensions", extensions),
    ("frames", frames),
    ("http", http),
    ("hub", hub),
    ("message", message),
    ("php", php),
    #[cfg(feature = "redis")]
    ("resp", resp),
    ("response", response),
    ("spool", spool),
];
