//! Throttles log lines that clients and peers can cause: a few are written, the others are counted.
//! The caller supplies the text and the time of each line.

/// How many lines are written, and when more may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// The most lines per period; further lines are counted and not written.
    pub lines_max: u32,
    /// A period ends after this many milliseconds without a line, written or suppressed.
    pub quiet_ms: u64,
    /// A period ends after this many milliseconds in any case.
    pub longest_ms: u64,
}

impl Policy {
    /// One line per episode. An episode ends after a minute without a line; one that lasts longer
    /// gets a line each hour, so that the log of every day shows it.
    pub(crate) const ONE_AN_EPISODE: Policy =
        Policy { lines_max: 1, quiet_ms: 60_000, longest_ms: 3_600_000 };
    /// One line a minute.
    pub(crate) const ONE_A_MINUTE: Policy =
        Policy { lines_max: 1, quiet_ms: 60_000, longest_ms: 60_000 };
    /// A few lines in ten seconds: enough to see that several clients fail, and in which ways.
    pub(crate) const A_FEW_CLIENTS: Policy =
        Policy { lines_max: 5, quiet_ms: 10_000, longest_ms: 10_000 };
}

/// Decides whether a log line is written, and counts the lines that are not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogThrottle {
    policy: Policy,
    /// The times of the first and the last line of this period, written or suppressed.
    period_ms: Option<(u64, u64)>,
    written: u32,
    suppressed: u64,
}

impl LogThrottle {
    pub(crate) const fn new(policy: Policy) -> Self {
        LogThrottle { policy, period_ms: None, written: 0, suppressed: 0 }
    }

    /// Whether to write a line now: `None` to suppress it, otherwise the number of lines suppressed
    /// since the last one.
    pub(crate) fn admit(&mut self, now_ms: u64) -> Option<u64> {
        let Policy { lines_max, quiet_ms, longest_ms } = self.policy;
        let began_ms = match self.period_ms {
            Some((began_ms, last_ms))
                if now_ms < last_ms + quiet_ms && now_ms < began_ms + longest_ms =>
            {
                began_ms
            }
            _ => {
                self.written = 0;
                now_ms
            }
        };
        self.period_ms = Some((began_ms, now_ms));
        if self.written == lines_max {
            self.suppressed += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.suppressed))
    }

    /// Logs a warning unless it is suppressed. Returns whether it was logged.
    pub(crate) fn warn(&mut self, now_ms: u64, text: impl std::fmt::Display) -> bool {
        let suppressed = self.admit(now_ms);
        match suppressed {
            None => {}
            Some(0) => log::warn!("{text}"),
            Some(suppressed) => {
                log::warn!("{text} ({suppressed} more lines like this were left out)")
            }
        }
        suppressed.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_episode_has_one_line_until_it_ends_or_lasts_an_hour() {
        let Policy { quiet_ms, longest_ms, .. } = Policy::ONE_AN_EPISODE;
        let mut throttle = LogThrottle::new(Policy::ONE_AN_EPISODE);
        assert_eq!(throttle.admit(5), Some(0));
        assert_eq!(throttle.admit(5), None);
        assert_eq!(throttle.admit(50_000), None);
        assert_eq!(throttle.admit(50_000 + quiet_ms), Some(2));
        let began_ms = 50_000 + quiet_ms;
        let mut now_ms = began_ms;
        let suppressed = loop {
            now_ms += quiet_ms / 2;
            if let Some(suppressed) = throttle.admit(now_ms) {
                break suppressed;
            }
        };
        assert_eq!((now_ms - began_ms, suppressed), (longest_ms, 2 * longest_ms / quiet_ms - 1));
    }

    #[test]
    fn a_clock_that_goes_back_does_not_suppress_lines_for_ever() {
        let mut throttle = LogThrottle::new(Policy::ONE_AN_EPISODE);
        throttle.admit(10_000_000);
        assert_eq!(throttle.admit(0), None);
        assert_eq!(throttle.admit(Policy::ONE_AN_EPISODE.quiet_ms), Some(1));
    }

    #[test]
    fn a_few_lines_are_written_and_the_others_are_counted() {
        let Policy { lines_max, longest_ms, .. } = Policy::A_FEW_CLIENTS;
        let mut throttle = LogThrottle::new(Policy::A_FEW_CLIENTS);
        (0..lines_max).for_each(|_| assert_eq!(throttle.admit(1), Some(0)));
        assert_eq!(throttle.admit(2), None);
        assert_eq!(throttle.admit(longest_ms), None);
        assert_eq!(throttle.admit(1 + longest_ms), Some(2));
        assert_eq!(throttle.admit(1 + longest_ms), Some(0));
    }
}
