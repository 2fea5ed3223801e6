//! Names of connections, towards the owner of the sockets and towards clients, and the units of
//! time. Nothing here knows what a connection is.

/// Names a connection. The number is reused after the connection has closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u32);

/// The time of a call. The hub has no clock of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds of a clock that never goes back.
    pub ms: u64,
    /// Seconds since 1970, as far as the machine knows.
    pub unix_s: u64,
}

/// A moment, in slots of the wheel from the start of its clock.
pub type Tick = u32;

/// The id of a connection towards clients and publishers: `A.B`, each from 1 to 1,000,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketId(pub u32, pub u32);

impl SocketId {
    /// Reads what [`SocketId`] prints; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let (a, b) = text.split_once('.').filter(|(a, b)| digits(a) && digits(b))?;
        Some(SocketId(a.parse().ok()?, b.parse().ok()?))
    }
}

impl std::fmt::Display for SocketId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_id_is_read_as_it_is_printed() {
        let id = SocketId(1, 1_000_000_000);
        assert_eq!(SocketId::parse(&id.to_string()), Some(id));
        for text in ["", "1", "1.", ".1", "1.2.3", "1.99999999999", "a.b", "+1.+2"] {
            assert_eq!(SocketId::parse(text), None, "{text}");
        }
    }
}
