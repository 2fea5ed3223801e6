//! Users who have left a presence channel, until the others are told. A few are told of at once;
//! of those who leave in a wave each is told of when the wave is over, so that none who leave with
//! it are told of the others: ten thousand who lose their proxy would otherwise be told fifty
//! million times who else has gone.

use std::rc::Rc;

use super::Hub;
use super::peer::Now;
use super::presence;

/// A user who left a presence channel.
#[derive(Debug)]
pub(super) struct Departure {
    pub app: u32,
    pub channel: Rc<str>,
    pub user: Rc<str>,
}

/// Departures that follow closely upon each other.
#[derive(Debug, Default)]
pub(super) struct Wave {
    count: usize,
    /// How many of those that wait have been counted.
    counted: usize,
    /// When the first of those that wait was counted, and when the last was.
    first_ms: u64,
    last_ms: u64,
}

impl Wave {
    /// Counts those that have come to wait, and says whether it is time to tell of them.
    fn is_time(&mut self, waiting: usize, now_ms: u64) -> bool {
        if waiting > self.counted {
            if now_ms >= self.last_ms + QUIET_MS {
                self.count = 0;
            }
            if self.counted == 0 {
                self.first_ms = now_ms;
            }
            self.count += waiting - self.counted;
            (self.counted, self.last_ms) = (waiting, now_ms);
        }
        self.count <= AT_ONCE || now_ms >= self.due_ms()
    }

    fn due_ms(&self) -> u64 {
        (self.last_ms + QUIET_MS).min(self.first_ms + LONGEST_MS)
    }
}

/// Departures of a wave that are told of at once.
const AT_ONCE: usize = 64;
/// A wave is over when nobody has left for so long.
const QUIET_MS: u64 = 50;
/// Nobody waits longer than this to be told of, however long a wave may be.
const LONGEST_MS: u64 = 1_000;

impl<T> Hub<T> {
    /// Whether some have left that nobody has looked at.
    pub(super) fn has_new_departures(&self) -> bool {
        self.departures.len() > self.wave.counted
    }

    /// When those of a wave are told of.
    pub(super) fn next_departures_ms(&self) -> Option<u64> {
        (!self.departures.is_empty()).then(|| self.wave.due_ms())
    }

    /// Tells of those who have left, unless they are a wave that goes on.
    pub(super) fn look_at_departures(&mut self, now: Now) {
        if !self.departures.is_empty() && self.wave.is_time(self.departures.len(), now.ms) {
            self.announce_departures();
            self.drop_slow(now);
        }
    }

    /// Tells those who are left in presence channels who has gone.
    pub(super) fn announce_departures(&mut self) {
        self.wave.counted = 0;
        for Departure { app, channel, user } in std::mem::take(&mut self.departures) {
            let Some(channel) = self.apps[app as usize].channel(&channel) else { continue };
            let frame = presence::member_removed(&channel.name, &user);
            self.peers.broadcast(app, &channel.members, &frame, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_told_of_at_once_and_a_wave_when_it_is_over() {
        let mut wave = Wave::default();
        assert!(wave.is_time(AT_ONCE, 1_000));
        wave.counted = 0;
        assert!(!wave.is_time(1, 1_010));
        assert!(!wave.is_time(1, 1_059));
        assert!(!wave.is_time(2, 1_059));
        assert!(!wave.is_time(2, 1_108));
        assert!(wave.is_time(2, 1_109));
        wave.counted = 0;
        assert!(wave.is_time(1, 1_159), "a new wave");
    }

    #[test]
    fn a_wave_without_an_end_is_told_of_every_second() {
        let mut wave = Wave::default();
        wave.is_time(AT_ONCE + 1, 5_000);
        let told_ms = (5_001..).find(|&now_ms| wave.is_time(now_ms as usize, now_ms)).unwrap();
        assert_eq!(told_ms, 5_000 + LONGEST_MS);
    }
}
