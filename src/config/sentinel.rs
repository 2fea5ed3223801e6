//! The settings of Redis Sentinel.
//!
//! How they combine with the other settings of Redis is in `redis`; connections are in `net`.

use std::fmt;

use super::address::{HostPort, split_port};

/// The sentinels that know the address of the master, and the login to them.
#[derive(Clone, PartialEq)]
pub struct Sentinels {
    /// Their addresses; at least one.
    pub addresses: Vec<HostPort>,
    /// The name under which they monitor the master.
    pub service: String,
    /// Their ACL user, only with a password; `None` is the user `default`.
    pub username: Option<String>,
    /// Their password; `None` if they need none.
    pub password: Option<String>,
}

/// The service and the addresses, for the log.
impl fmt::Display for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (Sentinel ", self.service)?;
        for (n, address) in self.addresses.iter().enumerate() {
            write!(f, "{}{address}", if n == 0 { "" } else { ", " })?;
        }
        f.write_str(")")
    }
}

/// Omits the password.
impl fmt::Debug for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sentinels { addresses, service, username, .. } = self;
        let mut shown = f.debug_struct("Sentinels");
        shown.field("addresses", addresses).field("service", service);
        shown.field("username", username).finish_non_exhaustive()
    }
}

/// Parses `REVERB_SCALING_SENTINELS`: hosts with an optional port, separated by commas.
pub(super) fn addresses(text: &str) -> Result<Vec<HostPort>, String> {
    let one = |part: &str| {
        // A port is allowed here, so the advice about ports does not apply.
        let split = split_port(part).map_err(|why| why.split(';').next().unwrap_or(why));
        let (host, port) = split?;
        Ok(HostPort { host, port: port.unwrap_or(DEFAULT_PORT) })
    };
    text.split(',').map(|part| one(part.trim())).collect()
}

/// The name that the examples of Redis and Laravel give to a master.
pub(super) const DEFAULT_SERVICE: &str = "mymaster";
const DEFAULT_PORT: u16 = 26_379;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentinels_are_hosts_with_ports() {
        let shown = |text: &str| {
            let addresses = addresses(text).unwrap();
            addresses.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(shown("a:1, 10.0.0.2 ,[::1]:3"), ["a:1", "10.0.0.2:26379", "[::1]:3"]);
        assert_eq!(shown("[2001:db8::1]"), ["[2001:db8::1]:26379"]);
        for (text, reason) in [
            ("a,,b", "has no host"),
            ("a:0", "has a port that is not between 1 and 65535"),
            ("a:x", "has a port that is not between 1 and 65535"),
            ("redis://a", "has a port that is not between 1 and 65535"),
            ("a b", "has an invalid host"),
        ] {
            assert_eq!(addresses(text), Err(reason.to_owned()), "{text}");
        }
    }
}
