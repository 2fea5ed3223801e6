//! The version of a hub's saved state: binaries with the same version can read each other's state.
//!
//! The layout depends on lists that grow with the program (limits, routes, close codes, counters).
//! The version is therefore a fingerprint of these lists, computed at compile time, together with a
//! revision number for changes that the lists do not show.

use crate::config::LimitKind;
use crate::hub::BusCounters;
use crate::hub::counters::{
    AppCounters, CLOSE_CODES, Histogram, ProcessCounters, STATUSES, TURN_BOUNDS,
};
use crate::hub::routes;

/// Increment it when a saved field is added, removed or moved, or when its meaning changes.
const REVISION: u64 = 11;

/// The version of the state that [`Hub::save`](super::Hub::save) writes and
/// [`Hub::restore`](super::Hub::restore) reads.
pub fn state_version() -> String {
    format!("{REVISION}-{FINGERPRINT:016x}")
}

const FINGERPRINT: u64 = {
    let mut print = number(OFFSET, REVISION);
    print = number(print, LimitKind::ALL.len() as u64);
    let mut at = 0;
    while at < LimitKind::ALL.len() {
        print = text(print, LimitKind::ALL[at].setting());
        at += 1;
    }
    print = number(print, routes::NAMES.len() as u64);
    at = 0;
    while at < routes::NAMES.len() {
        print = text(print, routes::NAMES[at]);
        at += 1;
    }
    print = numbers(print, &CLOSE_CODES);
    print = numbers(print, &STATUSES);
    print = number(print, TURN_BOUNDS.len() as u64);
    at = 0;
    while at < TURN_BOUNDS.len() {
        print = number(print, TURN_BOUNDS[at].0);
        at += 1;
    }
    // Every counter is a number in one of these structs: an added counter makes the struct larger.
    print = number(print, size_of::<AppCounters>() as u64);
    print = number(print, COUNTERS_BYTES as u64);
    number(print, size_of::<BusCounters>() as u64)
};

/// The size of `Counters` with pointers of 64 bits. The layout does not depend on the size of a
/// pointer, so the version does not either.
const COUNTERS_BYTES: usize = {
    // The list of apps is three words. Each `CounterVec` is a pointer, its counters, and `others`.
    let by_label = 2 + CLOSE_CODES.len() + routes::NAMES.len() * (2 + STATUSES.len());
    let words = 3 + by_label + LimitKind::ALL.len();
    words * 8 + size_of::<ProcessCounters>() + size_of::<Histogram>()
};

// A new field of `Counters` must be added to the sum above.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(COUNTERS_BYTES == size_of::<crate::hub::counters::Counters>());

/// The offset basis and the prime of 64-bit FNV-1a.
const OFFSET: u64 = 0xCBF2_9CE4_8422_2325;
const PRIME: u64 = 0x0100_0000_01B3;

const fn byte(print: u64, byte: u8) -> u64 {
    (print ^ byte as u64).wrapping_mul(PRIME)
}

const fn number(mut print: u64, number: u64) -> u64 {
    let bytes = number.to_le_bytes();
    let mut at = 0;
    while at < bytes.len() {
        print = byte(print, bytes[at]);
        at += 1;
    }
    print
}

const fn text(print: u64, text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut print = number(print, bytes.len() as u64);
    let mut at = 0;
    while at < bytes.len() {
        print = byte(print, bytes[at]);
        at += 1;
    }
    print
}

const fn numbers(print: u64, numbers: &[u16]) -> u64 {
    let mut print = number(print, numbers.len() as u64);
    let mut at = 0;
    while at < numbers.len() {
        print = number(print, numbers[at] as u64);
        at += 1;
    }
    print
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_of_a_list_counts() {
        let none = numbers(OFFSET, &[]);
        let lists: [&[u16]; 4] = [&[1], &[2], &[1, 2], &[2, 1]];
        let mut prints: Vec<u64> = lists.iter().map(|list| numbers(OFFSET, list)).collect();
        prints.extend([none, text(OFFSET, "a"), text(OFFSET, "b"), text(text(OFFSET, "a"), "b")]);
        prints.push(text(OFFSET, "ab"));
        let count = prints.len();
        prints.sort_unstable();
        prints.dedup();
        assert_eq!(prints.len(), count);
    }
}
