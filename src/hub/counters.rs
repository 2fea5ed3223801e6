//! How often things have happened since the start: plain numbers, added to where the thing
//! happens. Whoever shows them (a metrics page, a log line) reads them; nothing here is formatted,
//! looked up by name or reset.

use std::time::Duration;

use super::routes;
use crate::config::LimitKind;

/// The numbers of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters {
    /// Those of each app, in the order of the configuration.
    pub apps: Vec<AppCounters>,
    /// How often each bound was hit, in the order of [`LimitKind::ALL`].
    pub refused: [u64; LimitKind::ALL.len()],
    /// Frames that were not put in the queue of a client because it reads too slowly.
    pub frames_left_out: u64,
    /// Close frames sent, by code.
    pub closes: CounterVec<{ CLOSE_CODES.len() }>,
    /// Requests answered: for each route, in the order of the figures, by status.
    pub requests: [CounterVec<{ ANSWERS.len() }>; routes::NAMES.len()],
    /// How long turns of the loop took.
    pub turns: Histogram,
    /// TLS handshakes and sessions that failed.
    pub tls_failures: u64,
    /// Attempts to accept a connection that failed for lack of descriptors or memory.
    pub accept_failures: u64,
}

impl Counters {
    /// All at zero, for this many apps.
    pub(crate) fn new(apps: usize) -> Self {
        Counters {
            apps: vec![AppCounters::default(); apps],
            refused: [0; LimitKind::ALL.len()],
            frames_left_out: 0,
            closes: CounterVec::new(&CLOSE_CODES),
            requests: [CounterVec::new(&ANSWERS); routes::NAMES.len()],
            turns: Histogram::default(),
            tls_failures: 0,
            accept_failures: 0,
        }
    }

    /// All but those of apps, in an order of its own.
    pub(super) fn numbers(&mut self) -> impl Iterator<Item = &mut u64> {
        let requests = self.requests.iter_mut().flat_map(CounterVec::numbers);
        let turns = self.turns.times.iter_mut().chain([&mut self.turns.sum_us]);
        let single = [&mut self.frames_left_out, &mut self.tls_failures, &mut self.accept_failures];
        let tallies = self.closes.numbers().chain(requests);
        self.refused.iter_mut().chain(single).chain(tallies).chain(turns)
    }
}

/// The numbers of one app. Messages are WebSocket text messages; bytes are those of WebSocket
/// frames, headers and control frames included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AppCounters {
    /// WebSockets the app has taken.
    pub connections_opened: u64,
    /// Messages of clients.
    pub messages_in: u64,
    /// Those of them that were handled without an error.
    pub messages_handled: u64,
    /// Bytes of clients.
    pub bytes_in: u64,
    /// Messages put in the queues of clients: one for each client that is told.
    pub messages_out: u64,
    /// Bytes put in the queues of clients.
    pub bytes_out: u64,
    /// Client events that were passed on.
    pub client_events: u64,
    /// Events published through the API: one for each of an event's channels.
    pub api_events: u64,
}

impl AppCounters {
    /// All of them.
    pub(super) fn numbers(&mut self) -> [&mut u64; 8] {
        [
            &mut self.connections_opened,
            &mut self.messages_in,
            &mut self.messages_handled,
            &mut self.bytes_in,
            &mut self.messages_out,
            &mut self.bytes_out,
            &mut self.client_events,
            &mut self.api_events,
        ]
    }

    /// A frame was put in this many queues.
    pub(crate) fn sent(&mut self, messages: u64, frame_len: usize) {
        self.messages_out += messages;
        self.bytes_out += messages * frame_len as u64;
    }
}

/// How often each of a few numbers came up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CounterVec<const N: usize> {
    known: &'static [u16; N],
    times: [u64; N],
    /// How often any other number did.
    pub others: u64,
}

impl<const N: usize> CounterVec<N> {
    const fn new(known: &'static [u16; N]) -> Self {
        CounterVec { known, times: [0; N], others: 0 }
    }

    /// This number came up once more.
    pub(crate) fn count(&mut self, number: u16) {
        match self.known.iter().position(|known| *known == number) {
            Some(at) => self.times[at] += 1,
            None => self.others += 1,
        }
    }

    fn numbers(&mut self) -> impl Iterator<Item = &mut u64> {
        self.times.iter_mut().chain([&mut self.others])
    }

    /// Each number that is told apart, and how often it came up.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u64)> {
        self.known.iter().copied().zip(self.times)
    }
}

/// How long each of many turns took, by upper bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Histogram {
    times: [u64; TURN_BOUNDS.len() + 1],
    /// All of them together, in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// A turn took this long.
    pub fn count(&mut self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let at = TURN_BOUNDS.iter().position(|(bound_us, _)| us <= *bound_us);
        self.times[at.unwrap_or(TURN_BOUNDS.len())] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// Each bound in seconds, and how many turns took no longer; the last has all of them.
    pub fn by_bound(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let bounds = TURN_BOUNDS.iter().map(|(_, text)| *text).chain(["+Inf"]);
        bounds.zip(self.times).scan(0, |sum, (bound, times)| {
            *sum += times;
            Some((bound, *sum))
        })
    }
}

/// Up to a millisecond nobody notices; from a tenth of a second on everybody does.
pub(super) const TURN_BOUNDS: [(u64, &str); 6] = [
    (1_000, "0.001"),
    (5_000, "0.005"),
    (25_000, "0.025"),
    (100_000, "0.1"),
    (500_000, "0.5"),
    (2_500_000, "2.5"),
];

/// The close codes that are told apart: those of RFC 6455 that come up, and all of Pusher's that
/// are sent.
pub(super) const CLOSE_CODES: [u16; 14] =
    [1000, 1001, 1002, 1003, 1007, 1009, 4001, 4004, 4005, 4009, 4100, 4200, 4201, 4301];

/// The statuses that are told apart.
pub(super) const ANSWERS: [u16; 14] =
    [200, 400, 401, 403, 404, 405, 408, 413, 422, 426, 429, 431, 501, 503];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_tells_known_numbers_apart_and_counts_the_others() {
        let mut closes = Counters::new(0).closes;
        [4201, 1000, 4201, 3999].into_iter().for_each(|code| closes.count(code));
        let times = |wanted| closes.iter().find(|(code, _)| *code == wanted).unwrap().1;
        assert_eq!((times(4201), times(1000), times(4100), closes.others), (2, 1, 0, 1));
    }
}
