//! Which cache misses are reported: one of a channel in a second.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use super::super::random::Hashing;

/// The cache misses of the last second.
pub(super) struct Misses {
    hashing: Hashing,
    /// A hash of each app and channel. A sorted list: with the most channels an entry moves 80 KB of
    /// others, which takes two microseconds. Clients cannot find two channels with the same hash.
    recent: Vec<u64>,
    /// When each of them may be reported again, in milliseconds; the earliest first.
    ends: VecDeque<(u64, u64)>,
}

impl Misses {
    pub(super) fn new(hashing: Hashing) -> Self {
        Misses { hashing, recent: Vec::new(), ends: VecDeque::new() }
    }

    /// Records a miss. Returns whether it is the first of the channel within a second.
    pub(super) fn is_first(&mut self, app: u32, channel: &str, now_ms: u64) -> bool {
        while let Some(&(end_ms, miss)) = self.ends.front()
            && end_ms <= now_ms
        {
            self.ends.pop_front();
            if let Ok(at) = self.recent.binary_search(&miss) {
                self.recent.remove(at);
            }
        }
        let miss = self.hashing.hash_one((app, channel));
        match self.recent.binary_search(&miss) {
            Err(at) if self.recent.len() < MISSES_MAX => {
                self.recent.insert(at, miss);
                self.ends.push_back((now_ms + SECOND_MS, miss));
                true
            }
            _ => false,
        }
    }
}

const SECOND_MS: u64 = 1_000;
/// The most channels with a miss in a second that are reported.
const MISSES_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::super::super::random::Random;
    use super::*;

    #[test]
    fn a_miss_is_reported_once_a_second() {
        let mut misses = Misses::new(Random::new([0; 32]).hashing());
        assert!(misses.is_first(0, "cache-a", 0));
        assert!(!misses.is_first(0, "cache-a", 999));
        assert!(misses.is_first(1, "cache-a", 999) && misses.is_first(0, "cache-b", 999));
        assert!(misses.is_first(0, "cache-a", 1_000));
    }
}
