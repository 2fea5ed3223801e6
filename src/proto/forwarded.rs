//! `X-Forwarded-For`: the client address according to a proxy. Which proxies are trusted is decided
//! in the hub.

use std::net::{IpAddr, SocketAddr};

/// The client address in a list to which each proxy appended the address of its peer: the last one
/// that is not trusted, because the client may have invented everything before it.
pub fn client(list: &str, is_trusted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let mut client = None;
    for entry in list.rsplit(',') {
        let Some(address) = address(entry.trim()) else { break };
        client = Some(address);
        if !is_trusted(address) {
            break;
        }
    }
    client
}

/// Parses an address; some proxies add the port or brackets.
fn address(entry: &str) -> Option<IpAddr> {
    let bare = entry.trim_start_matches('[').trim_end_matches(']');
    let with_port = || entry.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_untrusted_address_is_the_client() {
        for (list, expected) in [
            ("203.0.113.5", Some("203.0.113.5")),
            ("6.6.6.6, 203.0.113.5", Some("203.0.113.5")),
            ("6.6.6.6,203.0.113.5 , 10.0.0.1,10.0.0.2", Some("203.0.113.5")),
            ("10.0.0.7, 10.0.0.1", Some("10.0.0.7")),
            ("unknown, 10.0.0.1", Some("10.0.0.1")),
            ("203.0.113.5:4711", Some("203.0.113.5")),
            ("[2001:db8::1]:4711", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("::ffff:203.0.113.5", Some("203.0.113.5")),
            ("203.0.113.5, nobody", None),
            ("", None),
        ] {
            let trusted = |address: IpAddr| address.to_string().starts_with("10.");
            let expected = expected.map(|address| address.parse().unwrap());
            assert_eq!(client(list, trusted), expected, "{list}");
        }
    }
}
