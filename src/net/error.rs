//! Why a server cannot be constructed.

use std::net::SocketAddr;
use std::{fmt, io};

use crate::config::{self, ConsoleAddress};

/// Why a server could not be bound.
#[derive(Debug)]
pub enum BindError {
    /// An address is in use, does not belong to this machine, or cannot be resolved.
    Address(io::Error),
    /// The address for metrics cannot be bound.
    Metrics(SocketAddr, io::Error),
    /// The address of the console cannot be bound.
    Console(ConsoleAddress, io::Error),
    /// A certificate, a key or an option of TLS cannot be used.
    Tls(config::Error),
    /// The settings of Redis contradict each other, or its certificates cannot be used.
    Redis(config::Error),
    /// The spool of webhooks or the trusted authorities for their URLs cannot be used.
    Webhooks(config::Error),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::Address(error) => error.fmt(f),
            BindError::Metrics(address, error) => write!(f, "{address}: {error}"),
            BindError::Console(address, error) => write!(f, "{address}: {error}"),
            BindError::Tls(error) | BindError::Redis(error) | BindError::Webhooks(error) => {
                error.fmt(f)
            }
        }
    }
}

impl std::error::Error for BindError {}

impl From<io::Error> for BindError {
    fn from(error: io::Error) -> Self {
        BindError::Address(error)
    }
}

impl From<BindError> for io::Error {
    fn from(error: BindError) -> Self {
        match error {
            BindError::Address(error)
            | BindError::Metrics(_, error)
            | BindError::Console(_, error) => error,
            BindError::Tls(error) | BindError::Redis(error) | BindError::Webhooks(error) => {
                io::Error::new(io::ErrorKind::InvalidInput, error)
            }
        }
    }
}
