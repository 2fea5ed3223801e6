//! Deadlines of many connections, in a ring of quarter seconds. What happens at a deadline is
//! decided in `liveness`.
//!
//! The wheel does not change when a connection is active: the connection only stores the time. When
//! its slot expires, the hub checks the connection, and either its deadline has passed or it is put
//! into a later slot. There is no cancelling and no handle. An entry costs 4 bytes, the empty ring
//! 512 × 24 bytes; with 100,000 connections and a ping interval of a minute the hub checks 420 of
//! them per slot. A connection with a deadline beyond the 128 seconds of the ring is checked when
//! the last slot expires, and put into the ring again.

use super::ids::{ConnId, Tick};

/// The ring.
#[derive(Debug)]
pub struct Wheel {
    slots: Vec<Vec<ConnId>>,
    /// The next slot to expire, counted from the start of the clock.
    next: u32,
    entries: usize,
    /// The first slot that is not empty.
    earliest: Option<Tick>,
}

impl Wheel {
    /// An empty ring that begins at `now_ms`.
    pub fn new(now_ms: u64) -> Self {
        Wheel {
            slots: vec![Vec::new(); SLOTS as usize],
            next: tick_at(now_ms),
            entries: 0,
            earliest: None,
        }
    }

    /// The tick at which `deadline_ms` has passed, or else the last tick of the ring.
    pub fn tick_for(&self, deadline_ms: u64) -> Tick {
        // One slot later, so that an entry never expires before its deadline.
        let wanted = tick_at(deadline_ms).saturating_add(1);
        wanted.clamp(self.next, self.next + SLOTS - 1)
    }

    /// Adds an entry that expires at `tick`, which [`Wheel::tick_for`] has returned. An older entry
    /// of the same connection stays; the connection recognises it by its tick.
    pub fn put(&mut self, id: ConnId, tick: Tick) {
        self.slots[(tick % SLOTS) as usize].push(id);
        self.entries += 1;
        self.earliest = Some(self.earliest.map_or(tick, |earliest| earliest.min(tick)));
    }

    /// Returns an expired slot with its tick; `None` when there is none left.
    pub fn expire(&mut self, now_ms: u64) -> Option<(Tick, Vec<ConnId>)> {
        let now = tick_at(now_ms);
        if self.entries == 0 {
            self.next = self.next.max(now);
        }
        while self.next <= now {
            let tick = self.next;
            self.next += 1;
            let ids = std::mem::take(&mut self.slots[(tick % SLOTS) as usize]);
            if !ids.is_empty() {
                self.entries -= ids.len();
                self.earliest = self.find_earliest();
                return Some((tick, ids));
            }
        }
        None
    }

    /// When the next entry expires; `None` if there is none.
    pub fn next_ms(&self) -> Option<u64> {
        self.earliest.map(|tick| u64::from(tick) * SLOT_MS)
    }

    fn find_earliest(&self) -> Option<Tick> {
        let is_filled = |tick: &Tick| !self.slots[(tick % SLOTS) as usize].is_empty();
        (self.entries > 0).then(|| (self.next..self.next + SLOTS).find(is_filled)).flatten()
    }
}

fn tick_at(ms: u64) -> Tick {
    // Quarter seconds fill 32 bits after 34 years.
    Tick::try_from(ms / SLOT_MS).unwrap_or(Tick::MAX / 2)
}

const SLOT_MS: u64 = 250;
const SLOTS: u32 = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_expires_once_after_its_deadline_and_within_two_slots() {
        let mut wheel = Wheel::new(10_000);
        let deadlines: Vec<u64> = (0..1_000).map(|n| 10_000 + n * 97).collect();
        for (n, deadline) in deadlines.iter().enumerate() {
            wheel.put(ConnId(n as u32), wheel.tick_for(*deadline));
        }
        let mut seen = vec![0; deadlines.len()];
        let mut now = 10_000;
        while let Some(next) = wheel.next_ms() {
            assert!(next > now || wheel.expire(now).is_some());
            now = now.max(next);
            while let Some((_, ids)) = wheel.expire(now) {
                for ConnId(id) in ids {
                    let deadline = deadlines[id as usize];
                    assert!(now >= deadline && now - deadline <= 2 * SLOT_MS, "{deadline} {now}");
                    seen[id as usize] += 1;
                }
            }
        }
        assert!(seen.iter().all(|&times| times == 1));
    }

    #[test]
    fn a_deadline_beyond_the_ring_expires_in_the_last_slot() {
        let mut wheel = Wheel::new(0);
        let tick = wheel.tick_for(1_000_000);
        wheel.put(ConnId(7), tick);
        assert_eq!(tick, SLOTS - 1);
        assert_eq!(wheel.expire(127_000), None);
        assert_eq!(wheel.expire(128_000), Some((tick, vec![ConnId(7)])));
        assert_eq!(wheel.next_ms(), None);
    }

    #[test]
    fn a_clock_that_jumps_loses_no_entry() {
        let mut wheel = Wheel::new(5_000);
        wheel.put(ConnId(1), wheel.tick_for(6_000));
        assert_eq!(wheel.expire(0), None);
        assert!(wheel.expire(10_000_000).is_some());
        let tick = wheel.tick_for(0);
        wheel.put(ConnId(2), tick);
        assert_eq!(wheel.expire(10_000_250), Some((tick, vec![ConnId(2)])));
    }
}
