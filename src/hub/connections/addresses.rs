//! Which address a connection is counted for, and how many connections an address may have. The
//! counts are in `address`.

use std::net::IpAddr;

use super::Connections;
use crate::config::LimitKind;
use crate::hub::ids::{ConnId, Now};
use crate::proto::forwarded;
use crate::proto::http::Head;

impl<T> Connections<T> {
    /// The limit of connections per address; 0 for no limit.
    pub(in crate::hub) fn connections_per_address(&self) -> u32 {
        match self.limits.connections_per_address {
            // A limit of one connection in total cannot be halved.
            0 if self.limits.connections > 1 => self.limits.connections / 2,
            0 => 0,
            limit => limit,
        }
    }

    /// How many connections the address of this connection has over the limit.
    pub(in crate::hub) fn surplus(&self, id: ConnId) -> u32 {
        let limit = self.connections_per_address();
        let address = self.get(id).and_then(|peer| peer.address);
        match limit {
            0 => 0,
            _ => self.addresses.count(address).saturating_sub(limit),
        }
    }

    /// Takes the client's address from `X-Forwarded-For` if the peer is a trusted proxy. A
    /// connection by a Unix socket has no address: its peer is a proxy on this machine, and
    /// trusted.
    pub(in crate::hub) fn apply_forwarded_for(&mut self, id: ConnId, head: &Head<'_>, now: Now) {
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

    /// Replaces the address of a connection by the one that its proxy has sent.
    pub(in crate::hub) fn set_address(&mut self, id: ConnId, address: IpAddr) {
        let Some(peer) = self.get_mut(id) else { return };
        let before = peer.address.replace(address);
        self.addresses.add(Some(address));
        self.addresses.remove(before);
    }

    /// Whether there are more connections than the limit. Connections over the limit are answered
    /// quickly and not kept alive.
    pub(in crate::hub) fn is_full(&self) -> bool {
        self.limits.connections > 0 && self.len() > self.limits.connections as usize
    }

    /// Whether there are too many connections, in total or from the address of this one.
    pub(in crate::hub) fn is_crowded(&self, id: ConnId) -> bool {
        self.is_full() || self.surplus(id) > 0
    }
}
