//! Counts the connections of each client address, so that no single address can use up all
//! connections. The limit is checked in `connections/addresses`.

use std::collections::HashMap;
use std::net::IpAddr;

use super::random::Hashing;

/// Connections by address. An entry takes 17 bytes, and the table at most 16/7 of that per entry;
/// connections from a proxy in a private network take none.
pub(crate) struct Addresses(HashMap<u64, u32, Hashing>);

impl Addresses {
    pub(crate) fn new(hashing: Hashing) -> Self {
        Addresses(HashMap::with_hasher(hashing))
    }

    /// Adds a connection from this address.
    pub(crate) fn add(&mut self, address: Option<IpAddr>) {
        if let Some(key) = address.and_then(key) {
            *self.0.entry(key).or_default() += 1;
        }
    }

    /// Removes a connection from this address.
    pub(crate) fn remove(&mut self, address: Option<IpAddr>) {
        let Some(key) = address.and_then(key) else { return };
        let Some(count) = self.0.get_mut(&key) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        self.0.remove(&key);
        // After a peak, the table keeps at most four times the capacity that the remaining
        // addresses need.
        if self.0.len() * 4 < self.0.capacity() {
            self.0.shrink_to(self.0.len() * 2);
        }
    }

    /// The number of connections; 0 for addresses that are not counted.
    pub(crate) fn count(&self, address: Option<IpAddr>) -> u32 {
        address.and_then(key).and_then(|key| self.0.get(&key)).copied().unwrap_or_default()
    }
}

/// The key of an address: a whole IPv4 address, or the /64 network of an IPv6 address. Addresses of
/// this machine and of private networks have no key: a proxy there may forward all clients of a
/// site.
fn key(address: IpAddr) -> Option<u64> {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            // 100.64.0.0/10 is used by providers and clouds within their networks.
            let is_shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xC0 == 64;
            let is_near = v4.is_loopback() || v4.is_private() || v4.is_link_local() || is_shared;
            (!is_near).then(|| u64::from(v4.to_bits()))
        }
        IpAddr::V6(v6) => {
            let is_near = v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local();
            // The networks below 2^32, which share keys with IPv4, are not allocated.
            (!is_near).then(|| (v6.to_bits() >> 64) as u64)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn addresses_are_counted_by_machine() {
        let mut addresses = Addresses::new(Random::new([0; 32]).hashing());
        for text in ["203.0.113.5", "::ffff:203.0.113.5", "2001:db8::1", "2001:db8::ffff:2"] {
            addresses.add(address(text));
        }
        assert_eq!(addresses.count(address("203.0.113.5")), 2);
        assert_eq!(addresses.count(address("2001:db8::3")), 2);
        assert_eq!(addresses.count(address("2001:db8:0:1::3")), 0);
        addresses.remove(address("203.0.113.5"));
        assert_eq!(addresses.count(address("::ffff:203.0.113.5")), 1);
        addresses.remove(address("203.0.113.5"));
        addresses.remove(address("203.0.113.5"));
        assert_eq!(addresses.0.len(), 1);
    }

    #[test]
    fn private_addresses_are_not_counted() {
        let mut addresses = Addresses::new(Random::new([0; 32]).hashing());
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "169.254.1.1",
            "100.127.0.1",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            addresses.add(address(text));
            assert_eq!(addresses.count(address(text)), 0, "{text}");
        }
        addresses.add(None);
        assert!(addresses.0.is_empty());
        for text in ["100.128.0.1", "172.32.0.1", "8.8.8.8"] {
            addresses.add(address(text));
            assert_eq!(addresses.count(address(text)), 1, "{text}");
        }
    }

    #[test]
    fn removed_addresses_free_the_table() {
        let mut addresses = Addresses::new(Random::new([0; 32]).hashing());
        let all = || (0..10_000_u32).map(|n| Some(IpAddr::from((0x0800_0000 + n).to_be_bytes())));
        all().for_each(|address| addresses.add(address));
        all().for_each(|address| addresses.remove(address));
        assert_eq!(addresses.0.capacity(), 0);
    }
}
