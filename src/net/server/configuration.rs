//! The configuration of a running server, and the function that reads a new one. Applying a new one
//! is in `control/reconfigure`.

use crate::config::Config;

/// Reads the configuration. The error says in one line why it cannot be used.
pub(super) type Read = Box<dyn FnMut() -> Result<Config, String>>;

/// The configuration of a running server.
pub(super) struct Configuration {
    /// The configuration in use, with `limits.connections` filled in where it was 0.
    pub current: Config,
    /// Reads the configuration again; `None` if it cannot change.
    pub read: Option<Read>,
}
