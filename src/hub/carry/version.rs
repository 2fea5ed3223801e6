//! The version of a hub that is written down: two binaries of one version write and read the same.
//!
//! The layout follows lists that grow with the program (limits, routes, close codes, counters). So
//! the version is a fingerprint of these lists, computed when the program is compiled, and of a
//! number for what no list shows.

use crate::config::Bound;
use crate::hub::api::ROUTES;
use crate::hub::counters::{ANSWERS, AppCounters, CLOSE_CODES, Counters, TURN_BOUNDS};

/// Raise it when a field that is carried is added, removed, moved, or gets another meaning.
const REVISION: u64 = 5;

/// What [`Hub::freeze`](super::Hub::freeze) writes and [`Hub::thaw`](super::Hub::thaw) reads.
pub fn state_version() -> String {
    format!("{REVISION}-{FINGERPRINT:016x}")
}

const FINGERPRINT: u64 = {
    let mut print = number(OFFSET, REVISION);
    print = number(print, Bound::ALL.len() as u64);
    let mut at = 0;
    while at < Bound::ALL.len() {
        print = text(print, Bound::ALL[at].setting());
        at += 1;
    }
    print = number(print, ROUTES.len() as u64);
    at = 0;
    while at < ROUTES.len() {
        print = text(print, ROUTES[at]);
        at += 1;
    }
    print = numbers(print, &CLOSE_CODES);
    print = numbers(print, &ANSWERS);
    print = number(print, TURN_BOUNDS.len() as u64);
    at = 0;
    while at < TURN_BOUNDS.len() {
        print = number(print, TURN_BOUNDS[at].0);
        at += 1;
    }
    // All of these are numbers: one more makes them larger.
    print = number(print, size_of::<AppCounters>() as u64);
    print = number(print, size_of::<Counters>() as u64);
    number(print, BUS)
};

/// The bytes of the counters of the bus; 0 in a build that has none.
#[cfg(feature = "redis")]
const BUS: u64 = size_of::<crate::hub::BusCounters>() as u64;
#[cfg(not(feature = "redis"))]
const BUS: u64 = 0;

/// FNV-1a, whose beginning and prime these are.
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
