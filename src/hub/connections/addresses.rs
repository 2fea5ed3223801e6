//! Which address a connection counts for, and how many connections an address may have.

use std::net::IpAddr;

use super::Connections;
use crate::config::LimitKind;
use crate::hub::ids::{ConnId, Now};
use crate::proto::forwarded;
use crate::proto::http::Head;

impl<T> Connections<T> {
    /// The most connections of one address; 0 where there is no such bound.
    pub(in crate::hub) fn connections_per_address(&self) -> u32 {
        match self.limits.connections_per_address {
            // One connection is too few to be divided.
            0 if self.limits.connections > 1 => self.limits.connections / 2,
            0 => 0,
            limit => limit,
        }
    }

    /// By how much the address of this connection has more of them than it may.
    pub(in crate::hub) fn surplus(&self, id: ConnId) -> u32 {
        let limit = self.connections_per_address();
        let address = self.get(id).and_then(|peer| peer.address);
        match limit {
            0 => 0,
            _ => self.addresses.count(address).saturating_sub(limit),
        }
    }

    /// Takes the word of a proxy that is trusted for whose connection this is. Whoever comes by a
    /// file, and has no address, is a proxy on this machine.
    pub(in crate::hub) fn believe_proxy(&mut self, id: ConnId, head: &Head<'_>, now: Now) {
        let proxies = &self.trusted_proxies;
        let trusts = |address| proxies.iter().any(|network| network.contains(address));
        let list = head.forwarded_for.filter(|_| !proxies.is_empty());
        let Some((list, peer)) = list.zip(self.get(id)) else { return };
        if peer.address.is_none_or(trusts)
            && let Some(client) = forwarded::client(list, trusts)
        {
            self.set_address(id, client);
            if self.surplus(id) > 0 {
                self.limit_exceeded(id, LimitKind::ConnectionsPerAddress, now);
            }
        }
    }

    /// A connection turns out to be from another address than it seemed: a proxy has said so.
    pub(in crate::hub) fn set_address(&mut self, id: ConnId, address: IpAddr) {
        let Some(peer) = self.get_mut(id) else { return };
        let before = peer.address.replace(address);
        self.addresses.add(Some(address));
        self.addresses.remove(before);
    }

    /// Whether there are more connections than there should be. Those that come all the same are
    /// served quickly and not kept.
    pub(in crate::hub) fn is_full(&self) -> bool {
        self.limits.connections > 0 && self.len() > self.limits.connections as usize
    }

    /// Whether there are too many connections, in all or from the address of this one.
    pub(in crate::hub) fn is_crowded(&self, id: ConnId) -> bool {
        self.is_full() || self.surplus(id) > 0
    }
}
