//! Ids of connections, for the owner of the sockets and for clients, and the types of times. The
//! connections themselves are in `connections`.

/// The id of a connection. It is reused after the connection has closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u32);

/// The time of a call. The hub has no clock of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds of a clock that never goes back.
    pub ms: u64,
    /// Unix time in seconds, by the clock of this machine.
    pub unix_s: u64,
}

impl Now {
    /// The time at most 49 days ago that has this remainder modulo 2^32.
    pub(super) fn before(self, remainder_ms: u32) -> u64 {
        self.ms.saturating_sub((self.ms as u32).wrapping_sub(remainder_ms).into())
    }
}

/// A time in slots of the wheel, from the start of its clock.
pub type Tick = u32;

/// The id of a connection for clients and publishers: `A.B`, each from 1 to 1,000,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketId(pub u32, pub u32);

impl SocketId {
    /// Parses the text form of a [`SocketId`]; `None` for any other text.
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
    fn a_time_is_found_by_its_remainder() {
        let now = Now { ms: (1 << 32) + 5, unix_s: 0 };
        assert_eq!(now.before(5), now.ms);
        assert_eq!(now.before(0), 1 << 32);
        assert_eq!(now.before(u32::MAX), (1 << 32) - 1);
        assert_eq!(Now::default().before(1), 0);
    }

    #[test]
    fn a_printed_socket_id_parses_to_itself() {
        let id = SocketId(1, 1_000_000_000);
        assert_eq!(SocketId::parse(&id.to_string()), Some(id));
        for text in ["", "1", "1.", ".1", "1.2.3", "1.99999999999", "a.b", "+1.+2"] {
            assert_eq!(SocketId::parse(text), None, "{text}");
        }
    }
}
