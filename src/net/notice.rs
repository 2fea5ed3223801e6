//! Lines of the log that a stranger can cause: a few in ten seconds, the others counted.

use std::net::SocketAddr;

/// How often something was said of late.
#[derive(Default)]
pub(super) struct Notice {
    since_ms: u64,
    said: u32,
    unsaid: u32,
}

impl Notice {
    /// Logs a warning about a connection, unless there were many just now.
    pub(super) fn warn(&mut self, address: Option<SocketAddr>, text: &str, now_ms: u64) {
        let Some(unsaid) = self.allow(now_ms) else { return };
        let address = address.map_or("a client".to_owned(), |address| address.to_string());
        match unsaid {
            0 => log::warn!("{address}: {text}"),
            _ => log::warn!("{address}: {text} ({unsaid} more lines like this were left out)"),
        }
    }

    /// Whether to say it; how often it was not said since the last time.
    fn allow(&mut self, now_ms: u64) -> Option<u32> {
        if now_ms >= self.since_ms + WINDOW_MS {
            (self.since_ms, self.said) = (now_ms, 0);
        }
        if self.said == LINES_MAX {
            self.unsaid = self.unsaid.saturating_add(1);
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.unsaid))
    }
}

const WINDOW_MS: u64 = 10_000;
/// Enough to see that several clients fail, and in which ways.
const LINES_MAX: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_too_often_is_counted_and_told_later() {
        let mut notice = Notice::default();
        for _ in 0..LINES_MAX {
            assert_eq!(notice.allow(1), Some(0));
        }
        assert_eq!(notice.allow(2), None);
        assert_eq!(notice.allow(WINDOW_MS - 1), None);
        assert_eq!(notice.allow(WINDOW_MS), Some(2));
        assert_eq!(notice.allow(WINDOW_MS), Some(0));
    }
}
