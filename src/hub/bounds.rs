//! What happens when a client runs into a bound, beside that it is refused: it is counted, and the
//! first time of an episode it is logged, with the setting. A thousand clients that hit the same
//! bound are one line, and so is one that does it for an hour.

use std::net::IpAddr;

use super::Hub;
use super::peer::{ConnId, Now, Peer};
use crate::config::{Bound, Limits};

/// When something that goes on was last told, and how often it was not since.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Episode {
    /// When the episode was told, and when the thing last happened.
    times_ms: Option<(u64, u64)>,
    untold: u64,
}

impl Episode {
    /// It has happened. Says whether to tell of it, and how often it was not told since the last
    /// time that it was.
    pub(crate) fn note(&mut self, now_ms: u64) -> Option<u64> {
        if let Some((told_ms, last_ms)) = &mut self.times_ms
            && now_ms < *last_ms + QUIET_MS
            && now_ms < *told_ms + LONGEST_MS
        {
            *last_ms = now_ms;
            self.untold += 1;
            return None;
        }
        self.times_ms = Some((now_ms, now_ms));
        Some(std::mem::take(&mut self.untold))
    }
}

/// An episode is over when it has been quiet for a minute.
const QUIET_MS: u64 = 60_000;
/// One that goes on is told again after an hour, so that the log of a day shows it.
const LONGEST_MS: u64 = 3_600_000;

impl<T> Hub<T> {
    /// A client at this address has hit a bound, which has this value.
    pub fn hit(&mut self, bound: Bound, value: u64, address: Option<IpAddr>, now: Now) {
        self.peers.counters.refused[bound as usize] += 1;
        let Some(untold) = self.episodes[bound as usize].note(now.ms) else { return };
        let (deed, setting) = (bound.deed(), bound.setting());
        let who = address.map_or("a client".to_owned(), |address| address.to_string());
        match untold {
            0 => log::warn!("{who} {deed} ({setting} is {value})"),
            _ => log::warn!(
                "{who} {deed} ({setting} is {value}; {untold} more since the last such line)"
            ),
        }
    }

    /// The same for a connection, and a bound that is the same for all or of the connection's app.
    pub(super) fn hit_by(&mut self, id: ConnId, bound: Bound, now: Now) {
        let peer = self.peers.get(id);
        let settings = peer
            .and_then(Peer::subscriber)
            .map(|subscriber| &self.apps[subscriber.app as usize].settings);
        let value = match (bound, settings) {
            (Bound::RequestSize, _) => self.request_bytes_max as u64,
            (Bound::ConnectionsPerAddress, _) => self.connections_per_address().into(),
            (Bound::MessageSize, Some(settings)) => settings.max_message_size as u64,
            (Bound::RateLimit, Some(settings)) => {
                settings.rate_limit.map_or(0, |limit| limit.max_attempts.into())
            }
            _ => limit(&self.limits, bound),
        };
        let address = peer.and_then(|peer| peer.address);
        self.hit(bound, value, address, now);
    }
}

/// The value of a bound that is a limit.
fn limit(limits: &Limits, bound: Bound) -> u64 {
    let name = bound.setting().strip_prefix("limits.");
    name.and_then(|name| limits.value(name)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_episode_is_told_once_until_it_was_quiet_or_long() {
        let mut episode = Episode::default();
        assert_eq!(episode.note(5), Some(0));
        assert_eq!(episode.note(5), None);
        assert_eq!(episode.note(50_000), None);
        assert_eq!(episode.note(50_000 + QUIET_MS), Some(2));
        let mut now_ms = 50_000 + QUIET_MS;
        let told_ms = now_ms;
        let untold = loop {
            now_ms += QUIET_MS / 2;
            if let Some(untold) = episode.note(now_ms) {
                break untold;
            }
        };
        assert_eq!((now_ms - told_ms, untold), (LONGEST_MS, 2 * LONGEST_MS / QUIET_MS - 1));
    }

    #[test]
    fn a_clock_that_goes_back_silences_no_episode_for_ever() {
        let mut episode = Episode::default();
        episode.note(10_000_000);
        assert_eq!(episode.note(0), None);
        assert_eq!(episode.note(QUIET_MS), Some(1));
    }
}
