//! Waits for the Redis servers of the benchmarks, whose code is that of the tests.

#[path = "../support/until.rs"]
mod until;

use std::time::Duration;

pub use until::until;

/// The longest time to wait before a benchmark fails.
pub const DEADLINE: Duration = Duration::from_secs(30);
