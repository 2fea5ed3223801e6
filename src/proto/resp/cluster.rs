//! What a Redis Cluster says about itself: which server owns a slot, and which server an error names
//! in place of another. Which server to connect to is decided in the hub.

/// A server of a Redis Cluster, as another server names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterNode {
    /// The name or address; `None` is the host of the server that names it.
    pub host: Option<String>,
    /// The port; never 0.
    pub port: u16,
}

impl ClusterNode {
    /// Checks a host and a port from a reply; `None` if they name no server. An unknown host is
    /// `?`.
    pub(super) fn new(host: &str, port: i64) -> Option<Self> {
        let port = u16::try_from(port).ok().filter(|port| *port > 0)?;
        let is_valid = host.len() <= HOST_BYTES
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:%".contains(&byte));
        let host = Some(host.to_owned()).filter(|host| !host.is_empty());
        is_valid.then_some(ClusterNode { host, port })
    }
}

/// A range of slots and its servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotRange {
    /// The first slot.
    pub first: u16,
    /// The last slot.
    pub last: u16,
    /// The master, if its address is known.
    pub master: Option<ClusterNode>,
    /// The replicas with a known address.
    pub replicas: Vec<ClusterNode>,
}

/// The server that an error `MOVED slot host:port` names; `None` for any other error.
pub fn moved(error: &str) -> Option<ClusterNode> {
    let mut words = error.strip_prefix("MOVED ")?.split(' ');
    words.next()?.parse::<u16>().ok()?;
    // An IPv6 address has no brackets; the port follows the last colon.
    let (host, port) = words.next()?.rsplit_once(':')?;
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    ClusterNode::new(host, port.parse().ok().filter(|_| is_number)?)
}

/// The slot of a channel: the CRC16 (XMODEM) of its hash tag, or of the whole name if it has none.
pub fn slot(channel: &str) -> u16 {
    let hashed = hash_tag(channel).filter(|tag| !tag.is_empty()).unwrap_or(channel);
    let crc = hashed.bytes().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    });
    crc % SLOTS
}

/// The text between the first brace and the next closing one; an empty one is no hash tag.
pub fn hash_tag(channel: &str) -> Option<&str> {
    let (_, rest) = channel.split_once('{')?;
    rest.split_once('}').map(|(tag, _)| tag)
}

/// The number of slots of every Redis Cluster.
const SLOTS: u16 = 16_384;
/// The longest host; no DNS name is longer.
const HOST_BYTES: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: &str, port: u16) -> ClusterNode {
        ClusterNode { host: Some(host.to_owned()).filter(|host| !host.is_empty()), port }
    }

    #[test]
    fn moved_names_a_server() {
        for (error, expected) in [
            ("MOVED 3999 127.0.0.1:6381", Some(node("127.0.0.1", 6381))),
            ("MOVED 3999 redis-1.example:6381", Some(node("redis-1.example", 6381))),
            ("MOVED 3999 :6381", Some(node("", 6381))),
            ("MOVED 3999 2001:db8::1:6381", Some(node("2001:db8::1", 6381))),
            ("MOVED 3999 ?:6381", None),
            ("MOVED 3999 a b:1", None),
            ("MOVED 3999 a:0", None),
            ("MOVED 3999 a:+1", None),
            ("MOVED 3999 a:65536", None),
            ("MOVED x a:1", None),
            ("MOVED 3999", None),
            ("ASK 3999 127.0.0.1:6381", None),
            ("MOVEDX 1 a:1", None),
        ] {
            assert_eq!(moved(error), expected, "{error}");
        }
    }

    /// The slots that `CLUSTER KEYSLOT` of Redis 7.0.15 returns.
    #[test]
    fn the_slot_is_that_of_the_hash_tag() {
        for (channel, expected) in [
            ("123456789", 0x31c3),
            ("foo", 12_182),
            ("{foo}:bar", 12_182),
            ("a{foo}{b}", 12_182),
            ("", 0),
            ("a{}b", 13_694),
        ] {
            assert_eq!(slot(channel), expected, "{channel}");
        }
    }
}
