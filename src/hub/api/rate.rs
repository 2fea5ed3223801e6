//! The rates at which an app may send requests to the API: their limits, and what an app has left of
//! each. `quotas` checks and charges them.

use super::super::app::App;
use super::super::token_bucket::TokenBucket;
use crate::config::LimitKind;

/// What an app may do only so often.
#[derive(Clone, Copy)]
pub(super) enum Rate {
    /// Publish events; each counts once for each channel it names.
    Events,
    /// Read.
    Reads,
}

impl Rate {
    /// The kind of its limit.
    pub(super) fn limit(self) -> LimitKind {
        match self {
            Rate::Events => LimitKind::AppBackendEvents,
            Rate::Reads => LimitKind::AppReadRequests,
        }
    }

    /// What errors call it.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Rate::Events => "events",
            Rate::Reads => "read requests",
        }
    }

    /// What an app has left of it.
    pub(super) fn tokens(self, app: &mut App) -> &mut TokenBucket {
        match self {
            Rate::Events => &mut app.event_tokens,
            Rate::Reads => &mut app.read_tokens,
        }
    }
}
