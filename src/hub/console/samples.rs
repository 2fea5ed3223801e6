//! The last ten minutes in a ring of fixed size: one sample a second.

use std::collections::VecDeque;
use std::time::Duration;

use crate::hub::connections::Connections;
use crate::hub::counters::Counters;
use crate::hub::ids::{ConnId, Now};
use crate::hub::pubsub::PubSub;
use crate::hub::routes::Route;

/// The names of the numbers of a sample, in their order.
pub(super) const COLUMNS: [&str; 14] = [
    "time_s",
    "clients",
    "channels",
    "messages_in",
    "messages_out",
    "bytes_in",
    "bytes_out",
    "api_requests",
    "api_errors",
    "api_mean_us",
    "api_max_us",
    "busy_ppm",
    "memory_bytes",
    "waiting_bytes",
];

/// A sample: the state at its time, and rates per second since the sample before it.
pub(super) type Sample = [u64; COLUMNS.len()];

/// The samples of the last ten minutes.
pub(super) struct Samples {
    ring: VecDeque<Sample>,
    /// The counters at the last sample.
    before: Totals,
    before_ms: u64,
    next_ms: u64,
    api: ApiTimes,
    /// Bytes in outboxes that the current pass has found, and the connection it has reached.
    pass: (u64, u32),
    /// Bytes in outboxes that the last whole pass has found.
    waiting_bytes: u64,
}

/// Sums over all apps since the start of the server.
#[derive(Default, Clone, Copy)]
struct Totals {
    messages_in: u64,
    messages_out: u64,
    bytes_in: u64,
    bytes_out: u64,
    api_requests: u64,
    api_errors: u64,
    busy_us: u64,
}

/// How long API requests took since the last sample: from the beginning of the turn that read the
/// request to the end of the turn, in which the response was sent.
#[derive(Default)]
struct ApiTimes {
    requests: u64,
    sum_us: u64,
    max_us: u64,
}

impl Samples {
    pub(super) fn new(now: Now) -> Self {
        Samples {
            ring: VecDeque::with_capacity(SAMPLES),
            before: Totals::default(),
            before_ms: now.ms,
            next_ms: now.ms + INTERVAL_MS,
            api: ApiTimes::default(),
            pass: (0, 0),
            waiting_bytes: 0,
        }
    }

    /// When the next sample is due.
    pub(super) fn next_ms(&self) -> u64 {
        self.next_ms
    }

    /// Counts a turn that answered this many API requests.
    pub(super) fn count_turn(&mut self, answered: u32, took: Duration) {
        if answered > 0 {
            let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            self.api.requests += u64::from(answered);
            self.api.sum_us = self.api.sum_us.saturating_add(us.saturating_mul(answered.into()));
            self.api.max_us = self.api.max_us.max(us);
        }
    }

    /// Adds a sample, if it is due.
    pub(super) fn add<T>(
        &mut self,
        connections: &Connections<T>,
        pubsub: &PubSub,
        memory_bytes: u64,
        now: Now,
    ) {
        if now.ms < self.next_ms {
            return;
        }
        self.count_waiting(connections);
        let totals = Totals::of(&connections.counters);
        let elapsed_ms = (now.ms - self.before_ms).max(1);
        let before = std::mem::replace(&mut self.before, totals);
        // The counters of a predecessor are not a rate.
        let is_first = self.ring.is_empty();
        let rate = |now: u64, before: u64| match is_first {
            true => 0,
            false => now.saturating_sub(before).saturating_mul(1_000) / elapsed_ms,
        };
        let api = std::mem::take(&mut self.api);
        let sample = [
            now.unix_s,
            pubsub.apps.iter().map(|app| u64::from(app.connections)).sum(),
            pubsub.apps.iter().map(|app| u64::from(app.listed)).sum(),
            rate(totals.messages_in, before.messages_in),
            rate(totals.messages_out, before.messages_out),
            rate(totals.bytes_in, before.bytes_in),
            rate(totals.bytes_out, before.bytes_out),
            rate(totals.api_requests, before.api_requests),
            rate(totals.api_errors, before.api_errors),
            api.sum_us.checked_div(api.requests).unwrap_or(0),
            api.max_us,
            // Microseconds a second are parts per million.
            rate(totals.busy_us, before.busy_us),
            memory_bytes,
            self.waiting_bytes,
        ];
        if self.ring.len() == SAMPLES {
            self.ring.pop_front();
        }
        self.ring.push_back(sample);
        self.before_ms = now.ms;
        self.next_ms = now.ms + INTERVAL_MS;
    }

    /// The samples after this time.
    pub(super) fn since(&self, time_s: u64) -> impl Iterator<Item = &Sample> {
        self.ring.iter().filter(move |sample| sample[0] > time_s)
    }

    /// Adds up the outboxes of the next connections. With more than [`VISITS`] connections a pass
    /// takes several samples.
    fn count_waiting<T>(&mut self, connections: &Connections<T>) {
        let end = connections.capacity() as u32;
        for _ in 0..VISITS {
            let (sum, at) = &mut self.pass;
            if *at >= end {
                self.waiting_bytes = *sum;
                self.pass = (0, 0);
                return;
            }
            *sum += connections.get(ConnId(*at)).map_or(0, |peer| peer.outbox.bytes() as u64);
            *at += 1;
        }
    }
}

impl Totals {
    fn of(counters: &Counters) -> Self {
        let mut totals = Totals { busy_us: counters.turns.sum_us, ..Totals::default() };
        for app in &counters.apps {
            totals.messages_in += app.messages_in;
            totals.messages_out += app.messages_out;
            totals.bytes_in += app.bytes_in;
            totals.bytes_out += app.bytes_out;
        }
        let of_api = counters.requests.iter().skip(Route::Events as usize);
        for answers in of_api {
            totals.api_requests += answers.others;
            for (status, times) in answers.iter() {
                totals.api_requests += times;
                totals.api_errors += if status >= 400 { times } else { 0 };
            }
        }
        totals
    }
}

/// Milliseconds between two samples.
const INTERVAL_MS: u64 = 1_000;
/// Ten minutes of samples: 67 KB.
const SAMPLES: usize = 600;
/// Connections visited for one sample, which takes half a millisecond.
const VISITS: u32 = 16_384;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::hub::Hub;

    #[test]
    fn the_ring_keeps_ten_minutes() {
        let config = Config::default();
        let at = |ms| Now { ms, unix_s: 1_000 + ms / 1_000 };
        let hub: Hub<()> = Hub::new(&config, [1; 32], at(0));
        let mut samples = Samples::new(at(0));
        samples.add(&hub.connections, &hub.pubsub, 0, at(999));
        assert_eq!(samples.since(0).count(), 0, "the first sample is not due");
        for s in 1..=700 {
            samples.count_turn(2, Duration::from_micros(s));
            samples.add(&hub.connections, &hub.pubsub, s, at(s * 1_000));
        }
        assert_eq!(samples.since(0).count(), 600);
        let last = samples.since(1_699).next().unwrap();
        assert_eq!((last[0], last[9], last[10], last[12]), (1_700, 700, 700, 700));
    }
}
