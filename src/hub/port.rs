//! What a listening socket serves. The sockets are in `net/listen`.

use crate::proto::snapshot::{Codec, DecodeError, DecodeResult};

/// What the listening socket of a connection serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Port {
    /// WebSockets and the HTTP API.
    #[default]
    Clients,
    /// Metrics and health checks.
    Metrics,
    /// The console.
    Console,
}

impl Port {
    /// Encodes or decodes it, depending on the direction of `c`.
    pub(super) fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        let mut number = *self as u64;
        c.number(&mut number)?;
        *self = match number {
            0 => Port::Clients,
            1 => Port::Metrics,
            2 => Port::Console,
            _ => return Err(DecodeError),
        };
        Ok(())
    }
}
