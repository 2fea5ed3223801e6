//! A set of other nodes, by their places. It takes one word as long as all places are below 64. The
//! table of nodes is in `bus/nodes`.

use crate::proto::snapshot::{Codec, DecodeError, DecodeResult};

/// The number of places for nodes whose channels and users are stored here. A place fits in a byte.
pub(crate) const PLACES: usize = 256;

/// A set of places below [`PLACES`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NodeSet {
    low: u64,
    /// The places from 64 on; `None` if the set has none of them.
    high: Option<Box<[u64; WORDS - 1]>>,
}

const WORDS: usize = PLACES / 64;

impl NodeSet {
    pub(crate) fn contains(&self, place: usize) -> bool {
        self.word(place / 64) & bit(place) != 0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.low == 0 && self.high.is_none()
    }

    pub(crate) fn insert(&mut self, place: usize) {
        match (place / 64).checked_sub(1) {
            None => self.low |= bit(place),
            Some(word) => {
                let high = self.high.get_or_insert_default();
                high.get_mut(word).into_iter().for_each(|word| *word |= bit(place));
            }
        }
    }

    pub(crate) fn remove(&mut self, place: usize) {
        match ((place / 64).checked_sub(1), &mut self.high) {
            (None, _) => self.low &= !bit(place),
            (Some(_), None) => {}
            (Some(word), Some(high)) => {
                high.get_mut(word).into_iter().for_each(|word| *word &= !bit(place));
                if **high == [0; WORDS - 1] {
                    self.high = None;
                }
            }
        }
    }

    /// The places in the set, in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> {
        let words = if self.high.is_some() { WORDS } else { 1 };
        (0..words).flat_map(|at| {
            let mut word = self.word(at);
            std::iter::from_fn(move || {
                let place = (word != 0).then(|| word.trailing_zeros() as usize)?;
                word &= word - 1;
                Some(64 * at + place)
            })
        })
    }

    /// Encodes or decodes it, depending on the direction of `c`.
    pub(super) fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        let mut places: Vec<u8> = self.iter().map(|place| place as u8).collect();
        c.list(&mut places, Codec::int)?;
        if c.reads() {
            places.iter().for_each(|place| self.insert((*place).into()));
        }
        if self.iter().count() == places.len() { Ok(()) } else { Err(DecodeError) }
    }

    fn word(&self, at: usize) -> u64 {
        match (at.checked_sub(1), &self.high) {
            (None, _) => self.low,
            (Some(at), Some(high)) => high.get(at).copied().unwrap_or_default(),
            (Some(_), None) => 0,
        }
    }
}

fn bit(place: usize) -> u64 {
    1 << (place % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_inserted_and_not_removed() {
        let mut set = NodeSet::default();
        let places = [255, 0, 63, 64, 128, 191];
        places.iter().for_each(|place| set.insert(*place));
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 128, 191, 255]);
        assert!(set.contains(64) && !set.contains(65));
        for place in [64, 128, 191, 255] {
            assert!(set.high.is_some());
            set.remove(place);
        }
        assert!(set.high.is_none() && !set.is_empty());
        [0, 63, 200].iter().for_each(|place| set.remove(*place));
        assert_eq!(set, NodeSet::default());
    }
}
