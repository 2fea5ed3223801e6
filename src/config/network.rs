//! IP networks in settings: an address, or an address with a prefix length.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A network; an IPv4 network is stored as an IPv4-mapped one (`::ffff:a.b.c.d`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    first: u128,
    /// The length of the prefix, in bits of an IPv6 address.
    prefix: u32,
}

impl Network {
    /// Parses a network such as `10.0.0.0/8` or `::1`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let (bits, shared) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        let prefix = prefix.unwrap_or(bits);
        (prefix <= bits).then(|| Network { first: mapped(address), prefix: shared + prefix })
    }

    /// Whether the network contains this address.
    pub fn contains(&self, address: IpAddr) -> bool {
        // With a prefix of 0 the shift would be by 128 bits, which overflows: all addresses match.
        let differing = (mapped(address) ^ self.first).checked_shr(128 - self.prefix);
        differing.unwrap_or(0) == 0
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Ipv6Addr::from_bits(self.first).to_ipv4_mapped() {
            Some(address) => write!(f, "{address}/{}", self.prefix - 96),
            None => write!(f, "{}/{}", Ipv6Addr::from_bits(self.first), self.prefix),
        }
    }
}

fn mapped(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_the_addresses_with_its_prefix() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("10.1.2.3", "::ffff:10.1.2.3", "::10.1.2.3"),
            ("192.168.0.128/25", "192.168.0.255", "192.168.0.127"),
            ("0.0.0.0/0", "8.8.8.8", "2001:db8::1"),
            ("::/0", "8.8.8.8", ""),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("::1", "::1", "::2"),
        ] {
            let parsed = Network::parse(network).unwrap();
            assert!(parsed.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(outside.is_empty() || !parsed.contains(outside.parse().unwrap()), "{network}");
            assert_eq!(Network::parse(&parsed.to_string()), Some(parsed));
        }
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "proxy", "10.0.0.0/-1", "10.0.0.0/"] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }
}
