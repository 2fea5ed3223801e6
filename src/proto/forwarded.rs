//! `X-Forwarded-For`: whom a proxy says that it speaks for. Whether it is believed is decided
//! elsewhere.

use std::net::{IpAddr, SocketAddr};

/// The client of a list to which each proxy on the way has added, at the end, whom it spoke with:
/// the last who is not trusted, as what stands before it may be made up.
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

/// An address, which some proxies give with its port or in brackets.
fn address(entry: &str) -> Option<IpAddr> {
    let bare = entry.trim_start_matches('[').trim_end_matches(']');
    let with_port = || entry.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_who_is_not_trusted_is_the_client() {
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
