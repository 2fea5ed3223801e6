//! Generates unpredictable socket ids and keys of hash tables, from a seed that the owner of the
//! hub supplies. The hub has no other randomness, so a run with the same seed is reproducible.

use std::hash::{BuildHasher, DefaultHasher, Hasher};

use sha2::{Digest, Sha256};

use super::ids::SocketId;

/// A sequence of numbers: the hash of the seed and a counter.
#[derive(Debug)]
pub(crate) struct Random {
    seed: [u8; 32],
    counter: u64,
}

impl Random {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Random { seed, counter: 0 }
    }

    /// A socket id in the range of Laravel Reverb: two numbers from 1 to 1,000,000,000.
    pub(crate) fn socket_id(&mut self) -> SocketId {
        let [a, b] = self.pair();
        let scale = |n: u64| 1 + (n % 1_000_000_000) as u32;
        SocketId(scale(a), scale(b))
    }

    /// A keyed hash function that clients cannot predict.
    pub(crate) fn hashing(&mut self) -> Hashing {
        Hashing(self.pair())
    }

    /// A number in the whole range of the type.
    pub(crate) fn number(&mut self) -> u64 {
        self.pair()[0]
    }

    /// A number from 0 up to `end`, exclusive. `end` must not be 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    fn pair(&mut self) -> [u64; 2] {
        self.counter += 1;
        let hash = Sha256::new()
            .chain_update(self.seed)
            .chain_update(self.counter.to_le_bytes())
            .finalize();
        let number = |at: usize| {
            hash[at..at + 8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        [number(0), number(8)]
    }
}

/// Keyed hashing for tables whose keys are chosen by clients: a client cannot cause collisions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hashing([u64; 2]);

impl BuildHasher for Hashing {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0[0]);
        hasher.write_u64(self.0[1]);
        hasher
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_ids_are_in_range_and_differ() {
        let mut random = Random::new([7; 32]);
        let mut ids: Vec<_> = (0..10_000).map(|_| random.socket_id()).collect();
        let range = 1..=1_000_000_000;
        assert!(ids.iter().all(|id| range.contains(&id.0) && range.contains(&id.1)));
        ids.sort_by_key(|id| (id.0, id.1));
        ids.dedup();
        assert_eq!(ids.len(), 10_000);
    }

    #[test]
    fn the_same_seed_gives_the_same_ids() {
        let first = |seed| Random::new([seed; 32]).socket_id();
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }
}
