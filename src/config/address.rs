//! A host with a port, as settings and servers write it.
//!
//! URLs and the other notations of the address of Redis are in `redis`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Whether only this machine reaches a host to listen on.
pub(super) fn is_local(host: &str) -> bool {
    // A path is a Unix socket.
    if host.starts_with('/') {
        return true;
    }
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// A host, by name or address (IPv6 without brackets), and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// The name or address.
    pub host: String,
    /// The port; never 0.
    pub port: u16,
}

/// Writes an IPv6 address in brackets.
impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HostPort { host, port } = self;
        match host.contains(':') {
            true => write!(f, "[{host}]:{port}"),
            false => write!(f, "{host}:{port}"),
        }
    }
}

/// Splits `host`, `host:port`, `[address]` or `[address]:port`.
pub(super) fn split_port(address: &str) -> Result<(String, Option<u16>), &'static str> {
    let colon = address.rfind(':').filter(|at| !address[*at..].contains(']'));
    let (name, port) = address.split_at(colon.unwrap_or(address.len()));
    if name.is_empty() {
        return Err(NO_HOST);
    }
    let name = host_name(name).ok_or(WRONG_HOST)?;
    let port = match port.get(1..).unwrap_or_default() {
        "" => None,
        digits => match digits.parse() {
            Ok(port @ 1..) => Some(port),
            _ => return Err(WRONG_PORT),
        },
    };
    Ok((name, port))
}

/// A host name or address, without brackets; `None` if it is neither.
pub(super) fn host_name(text: &str) -> Option<String> {
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let is_name = inner.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c));
    let is_host = !inner.is_empty() && (is_name || inner.parse::<Ipv6Addr>().is_ok());
    is_host.then(|| inner.to_owned())
}

pub(super) const NO_HOST: &str = "has no host";
pub(super) const WRONG_HOST: &str = "has an invalid host; a port belongs in REDIS_PORT or a URL";
pub(super) const WRONG_PORT: &str = "has a port that is not between 1 and 65535";
