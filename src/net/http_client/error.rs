//! Why a request got no response.

use std::{fmt, io};

use crate::net::stream::StreamError;

/// Why a request got no complete response.
#[derive(Debug)]
pub(crate) struct RequestError {
    /// Whether no server listens at the address.
    pub no_listener: bool,
    why: String,
}

impl RequestError {
    pub(super) fn new(why: impl Into<String>) -> Self {
        RequestError { no_listener: false, why: why.into() }
    }
}

impl From<io::Error> for RequestError {
    fn from(error: io::Error) -> Self {
        let kinds = [io::ErrorKind::ConnectionRefused, io::ErrorKind::NotFound];
        RequestError { no_listener: kinds.contains(&error.kind()), why: error.to_string() }
    }
}

impl From<StreamError> for RequestError {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Io(error) => error.into(),
            other => RequestError::new(other.to_string()),
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}
