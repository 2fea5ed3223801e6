//! The first few of what may happen far too often. What is sampled is decided by the owners.

/// Takes the first of each window of this many milliseconds.
#[derive(Debug, Default)]
pub(super) struct Sample<const WINDOW_MS: u64> {
    began_ms: u64,
    taken: u32,
}

impl<const WINDOW_MS: u64> Sample<WINDOW_MS> {
    /// Whether to take one more, at most `max` in a window.
    pub(super) fn takes(&mut self, max: u32, now_ms: u64) -> bool {
        if now_ms >= self.end_ms() {
            (self.began_ms, self.taken) = (now_ms, 0);
        }
        self.taken += u32::from(self.taken <= max);
        self.taken <= max
    }

    /// When the window ends.
    pub(super) fn end_ms(&self) -> u64 {
        self.began_ms + WINDOW_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_the_first_of_each_window() {
        let mut sample = Sample::<1_000>::default();
        let mut taken = |now_ms, times| (0..times).filter(|_| sample.takes(10, now_ms)).count();
        assert_eq!(taken(5_000, 3), 3);
        assert_eq!(taken(5_500, 100), 7);
        assert_eq!(taken(5_999, 1), 0);
        assert_eq!(taken(6_000, 11), 10);
    }
}
