//! Which cache misses are reported: one of a channel in a second.

use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

use super::super::random::Hashing;

/// The cache misses of the last second, by app and channel.
pub(super) struct Misses {
    recent: HashSet<(u32, Rc<str>), Hashing>,
    /// In order, with their times.
    order: VecDeque<(u64, (u32, Rc<str>))>,
}

impl Misses {
    pub(super) fn new(hashing: Hashing) -> Self {
        Misses { recent: HashSet::with_hasher(hashing), order: VecDeque::new() }
    }

    /// Records a miss. Returns whether it is the first of the channel within a second.
    pub(super) fn is_first(&mut self, app: u32, channel: &str, now_ms: u64) -> bool {
        while self.order.front().is_some_and(|(ms, _)| ms + SECOND_MS <= now_ms) {
            let Some((_, miss)) = self.order.pop_front() else { break };
            self.recent.remove(&miss);
        }
        let miss: (u32, Rc<str>) = (app, channel.into());
        let is_first = self.order.len() < MISSES_MAX && self.recent.insert(miss.clone());
        if is_first {
            self.order.push_back((now_ms, miss));
        }
        is_first
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
