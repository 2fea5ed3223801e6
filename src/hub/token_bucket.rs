//! A limit of a rate: a bucket of tokens that refills continuously. Pure arithmetic; what a token
//! stands for is up to the caller.
//!
//! The bucket holds the tokens of one second. A request is admitted while there is at least one token,
//! and may take more than there are: the bucket then owes them, and admits nothing until they are paid
//! off. So a request that is larger than the rate is possible, and the rate is kept on average.

/// The tokens that are left, in thousandths, at a time. The rate is an argument of each call, because
/// it may change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenBucket {
    /// Negative if tokens are owed.
    left_milli: i64,
    at_ms: u64,
}

/// One token.
const TOKEN_MILLI: i64 = 1_000;

impl Default for TokenBucket {
    /// A full bucket.
    fn default() -> Self {
        TokenBucket { left_milli: i64::MAX, at_ms: 0 }
    }
}

impl TokenBucket {
    /// Milliseconds until there is a token again; `None` if there is one. `rate` is in tokens a second
    /// and at least 1.
    pub(crate) fn wait_ms(&self, rate: u32, now_ms: u64) -> Option<u64> {
        let missing_milli = TOKEN_MILLI.saturating_sub(self.left_milli(rate, now_ms));
        let missing_milli = u64::try_from(missing_milli).ok().filter(|missing| *missing > 0)?;
        Some(missing_milli.div_ceil(u64::from(rate.max(1))))
    }

    /// Takes tokens, even if there are not as many.
    pub(crate) fn take(&mut self, tokens: usize, rate: u32, now_ms: u64) {
        let milli = i64::try_from(tokens).unwrap_or(i64::MAX).saturating_mul(TOKEN_MILLI);
        self.left_milli = self.left_milli(rate, now_ms).saturating_sub(milli);
        self.at_ms = now_ms;
    }

    fn left_milli(&self, rate: u32, now_ms: u64) -> i64 {
        // A rate in tokens a second is one in thousandths a millisecond.
        let passed_ms = now_ms.saturating_sub(self.at_ms);
        let refill_milli = i64::try_from(passed_ms).unwrap_or(i64::MAX).saturating_mul(rate.into());
        let full_milli = i64::from(rate) * TOKEN_MILLI;
        self.left_milli.saturating_add(refill_milli).min(full_milli)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_bucket_has_the_tokens_of_a_second_and_refills_continuously() {
        let mut bucket = TokenBucket::default();
        for n in 0..10 {
            assert_eq!(bucket.wait_ms(10, 500), None, "{n}");
            bucket.take(1, 10, 500);
        }
        assert_eq!(bucket.wait_ms(10, 500), Some(100));
        assert_eq!(bucket.wait_ms(10, 599), Some(1));
        assert_eq!(bucket.wait_ms(10, 600), None);
        bucket.take(1, 10, 600);
        assert_eq!(bucket.wait_ms(10, 600), Some(100));
        // A pause does not add up to more than a second's tokens.
        (0..10).for_each(|_| bucket.take(1, 10, 100_000));
        assert_eq!(bucket.wait_ms(10, 100_000), Some(100));
    }

    #[test]
    fn more_than_a_second_may_be_taken_at_once_and_is_paid_off() {
        let mut bucket = TokenBucket::default();
        bucket.take(100, 10, 0);
        assert_eq!(bucket.wait_ms(10, 0), Some(9_100));
        assert_eq!(bucket.wait_ms(10, 9_099), Some(1));
        assert_eq!(bucket.wait_ms(10, 9_100), None);
    }

    #[test]
    fn a_changed_rate_applies_at_once() {
        let mut bucket = TokenBucket::default();
        bucket.take(1, 1_000, 0);
        assert_eq!(bucket.wait_ms(1, 0), None);
        bucket.take(1, 1, 0);
        assert_eq!(bucket.wait_ms(1, 0), Some(1_000));
        assert_eq!(bucket.wait_ms(1_000, 0), Some(1));
    }

    #[test]
    fn extreme_values_do_not_overflow() {
        let mut bucket = TokenBucket::default();
        (0..3).for_each(|_| bucket.take(usize::MAX, u32::MAX, 0));
        assert!(bucket.wait_ms(1, 0).is_some());
        // On 32 bits fewer tokens can be taken, and all are paid off by then.
        assert!(bucket.wait_ms(u32::MAX, u64::MAX).is_none_or(|wait_ms| wait_ms == 1));
        assert_eq!(TokenBucket::default().wait_ms(1, u64::MAX), None);
    }
}
