//! Times at which numbered things are due. What is due then is decided by the owner of the list.

use std::collections::VecDeque;

/// Times in milliseconds with the number of what is due, the earliest first.
///
/// A sorted list, because it is short, one entry for each URL, and most times are added at its end:
/// for 1,000 URLs an entry moves at most 8 KB of others, which takes less time than the balancing of a
/// tree.
#[derive(Default)]
pub(crate) struct Timers(VecDeque<(u64, usize)>);

impl Timers {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The earliest time.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.first().map(|(due_ms, _)| due_ms)
    }

    /// The earliest entry.
    pub(crate) fn first(&self) -> Option<(u64, usize)> {
        self.0.front().copied()
    }

    /// Removes the earliest entry if its time has come.
    pub(crate) fn take_due(&mut self, now_ms: u64) -> Option<(u64, usize)> {
        let is_due = self.next_ms().is_some_and(|due_ms| due_ms <= now_ms);
        if is_due { self.0.pop_front() } else { None }
    }

    /// Adds an entry.
    pub(crate) fn insert(&mut self, due_ms: u64, number: usize) {
        if let Err(at) = self.0.binary_search(&(due_ms, number)) {
            self.0.insert(at, (due_ms, number));
        }
    }

    /// Removes an entry, if it is there.
    pub(crate) fn remove(&mut self, due_ms: u64, number: usize) {
        if let Ok(at) = self.0.binary_search(&(due_ms, number)) {
            self.0.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_taken_in_the_order_of_their_times() {
        let mut timers = Timers::default();
        for (due_ms, number) in [(7, 1), (5, 2), (9, 3), (5, 1), (7, 1)] {
            timers.insert(due_ms, number);
        }
        timers.remove(9, 3);
        timers.remove(9, 4);
        assert_eq!((timers.len(), timers.next_ms()), (3, Some(5)));
        let due: Vec<_> = std::iter::from_fn(|| timers.take_due(6)).collect();
        assert_eq!(due, [(5, 1), (5, 2)]);
        assert_eq!(timers.first(), Some((7, 1)));
    }
}
