//! The flags that identify a running server.

use std::path::PathBuf;

use super::flags::{UsageError, Values};
use crate::config::Sources;

/// The flags that identify a running server, of every command except start, install, completions and
/// help.
#[derive(Debug, Default, PartialEq)]
pub struct RestartArgs {
    /// `--host`.
    pub host: Option<String>,
    /// `--port`.
    pub port: Option<u16>,
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--env`.
    pub env: Option<PathBuf>,
}

impl RestartArgs {
    pub(super) fn take(values: &mut Values) -> Result<Self, UsageError> {
        Ok(RestartArgs {
            host: values.text("--host")?,
            port: values.port()?,
            config: values.path("--config"),
            env: values.path("--env"),
        })
    }

    /// The sources of the running server's configuration.
    pub fn sources(&self) -> Sources {
        Sources {
            config_file: self.config.clone(),
            finds_hand_over: true,
            env_file: self.env.clone(),
            host: self.host.clone(),
            port: self.port,
            ..Sources::default()
        }
    }
}
