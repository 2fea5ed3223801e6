//! The error type of the configuration: source, key and reason.
//!
//! A reason may quote the value of a number or a choice, but never a secret, a password or a line of
//! a file.

use std::fmt;

/// An invalid value, or a file that cannot be read.
///
/// Displayed as one line: `source: key: reason`, or `source: reason` without a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// A file, with the line if it is known; `environment`; or `command line`.
    pub source: String,
    /// A key path (`apps.apps[1].max_connections`), a variable, a flag, or empty.
    pub key: String,
    /// What is wrong, as a sentence whose subject is the key.
    pub reason: String,
}

impl Error {
    /// An error about one key of a source.
    pub fn new(
        source: impl fmt::Display,
        key: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        Error { source: source.to_string(), key: key.into(), reason: reason.into() }
    }

    /// An error about a source as a whole.
    pub fn whole(source: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Error::new(source, "", reason.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(f, "{}: {}", self.source, self.reason)
        } else {
            write!(f, "{}: {}: {}", self.source, self.key, self.reason)
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_with_source_key_and_reason() {
        let error = Error::new("reverb.json", "servers.reverb.port", "must be text");
        assert_eq!(error.to_string(), "reverb.json: servers.reverb.port: must be text");
        assert_eq!(Error::whole(".env", "cannot be read").to_string(), ".env: cannot be read");
    }
}
