//! The state of each URL of webhooks, for the console.

use super::Webhooks;

/// The state of a URL of webhooks.
pub(in crate::hub) struct EndpointState {
    /// Without user info and query, which may be secret.
    pub url: String,
    pub batches_waiting: usize,
    pub bytes_waiting: usize,
    /// Attempts that have failed since the last that succeeded.
    pub failures: u32,
    /// Milliseconds until the next attempt, after a failure.
    pub retry_in_ms: Option<u64>,
}

impl Webhooks {
    /// The URLs, by id.
    pub(in crate::hub) fn states(&self) -> Vec<EndpointState> {
        let states = self.endpoints.iter().map(|endpoint| EndpointState {
            url: endpoint.url.to_string(),
            batches_waiting: endpoint.queue.len(),
            bytes_waiting: endpoint.bytes,
            failures: endpoint.failures,
            retry_in_ms: endpoint.retry_ms.map(|at| at.saturating_sub(self.now.ms)),
        });
        states.collect()
    }
}
