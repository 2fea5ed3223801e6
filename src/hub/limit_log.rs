//! What happens when a client runs into a bound, beside that it is refused: it is counted, and the
//! first time of an episode it is logged, with the setting. A thousand clients that hit the same
//! bound are one line, and so is one that does it for an hour.

use std::net::IpAddr;

use super::Hub;
use super::peer::{ConnId, Now, Peer};
use crate::config::{LimitKind, Limits};

impl<T> Hub<T> {
    /// A client at this address has hit a bound, which has this value.
    pub fn limit_exceeded_from(
        &mut self,
        bound: LimitKind,
        value: u64,
        address: Option<IpAddr>,
        now: Now,
    ) {
        self.peers.counters.refused[bound as usize] += 1;
        let address = address.map_or("a client".to_owned(), |address| address.to_string());
        let (description, setting) = (bound.description(), bound.setting());
        let text = format_args!("{address} {description} ({setting} is {value})");
        self.limit_log[bound as usize].warn(now.ms, text);
    }

    /// The same for a connection, and a bound that is the same for all or of the connection's app.
    pub(super) fn limit_exceeded(&mut self, id: ConnId, bound: LimitKind, now: Now) {
        let peer = self.peers.get(id);
        let settings = peer
            .and_then(Peer::subscriber)
            .map(|subscriber| &self.apps[subscriber.app as usize].settings);
        let value = match (bound, settings) {
            (LimitKind::RequestSize, _) => self.request_bytes_max as u64,
            (LimitKind::ConnectionsPerAddress, _) => self.connections_per_address().into(),
            (LimitKind::MessageSize, Some(settings)) => settings.max_message_size as u64,
            (LimitKind::RateLimit, Some(settings)) => {
                settings.rate_limit.map_or(0, |limit| limit.max_attempts.into())
            }
            _ => limit(&self.limits, bound),
        };
        let address = peer.and_then(|peer| peer.address);
        self.limit_exceeded_from(bound, value, address, now);
    }
}

/// The value of a bound that is a limit.
fn limit(limits: &Limits, bound: LimitKind) -> u64 {
    let name = bound.setting().strip_prefix("limits.");
    name.and_then(|name| limits.value(name)).unwrap_or_default()
}
