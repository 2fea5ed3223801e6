//! Counters of events since the start. The code that handles an event increments a field here;
//! metrics and log lines read it. Nothing here is formatted, looked up by name or reset.
//!
//! A counter is one line in [`counters!`]: its field, its metric and its description. The macro
//! also generates the list of numbers that a snapshot contains, so that no counter is left out.

use std::time::Duration;

use super::routes;
use crate::config::LimitKind;

/// A struct of counters. Each field has the metric's name and description after it; the name is
/// empty for a counter that is no metric.
macro_rules! counters {
    (
        $(#[$about:meta])*
        pub struct $name:ident {
            $($(#[$doc:meta])* $field:ident: $metric:literal, $help:literal;)*
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct $name {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl $name {
            /// All counters in the order of their fields, for a snapshot.
            pub(in crate::hub) fn numbers(&mut self) -> [&mut u64; [$($metric),*].len()] {
                [$(&mut self.$field),*]
            }

            /// The metric's name, description and value of each counter, in the same order.
            pub(in crate::hub) fn metrics(
                &self,
            ) -> [(&'static str, &'static str, u64); [$($metric),*].len()] {
                [$(($metric, $help, self.$field)),*]
            }
        }
    };
}
pub(in crate::hub) use counters;

/// The counters of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters {
    /// The counters of each app, in the order of the configuration.
    pub apps: Vec<AppCounters>,
    /// How often each limit was exceeded, in the order of [`LimitKind::ALL`].
    pub limits_exceeded: [u64; LimitKind::ALL.len()],
    /// Counters without an app and without a label.
    pub process: ProcessCounters,
    /// Close frames sent, by code.
    pub closes: CounterVec<{ CLOSE_CODES.len() }>,
    /// Requests answered: for each route, in the order of the table of routes, by status.
    pub requests: [CounterVec<{ STATUSES.len() }>; routes::NAMES.len()],
    /// How long turns of the loop took.
    pub turns: Histogram,
}

impl Counters {
    /// Counters at zero, for this many apps.
    pub(crate) fn new(apps: usize) -> Self {
        Counters {
            apps: vec![AppCounters::default(); apps],
            limits_exceeded: [0; LimitKind::ALL.len()],
            process: ProcessCounters::default(),
            closes: CounterVec::new(&CLOSE_CODES),
            requests: [CounterVec::new(&STATUSES); routes::NAMES.len()],
            turns: Histogram::default(),
        }
    }

    /// All counters but those of apps, in a fixed order, for a snapshot.
    pub(super) fn numbers(&mut self) -> impl Iterator<Item = &mut u64> {
        // Every field is named: a new one does not compile until it is listed here.
        let Counters { apps: _, limits_exceeded, process, closes, requests, turns } = self;
        let requests = requests.iter_mut().flat_map(CounterVec::numbers);
        let turns = turns.times.iter_mut().chain([&mut turns.sum_us]);
        let by_label = closes.numbers().chain(requests);
        limits_exceeded.iter_mut().chain(process.numbers()).chain(by_label).chain(turns)
    }
}

counters! {
    /// The counters without an app and without a label.
    pub struct ProcessCounters {
        /// Frames that were not queued for a client because it reads too slowly.
        frames_dropped: "reverb_frames_dropped_total",
            "Messages and answers dropped because a client reads too slowly.";
        /// TLS handshakes and sessions that failed.
        tls_failures: "reverb_tls_failures_total", "TLS handshakes and sessions that failed.";
        /// Attempts to accept a connection that failed for lack of descriptors or memory.
        accept_failures: "reverb_accept_failures_total",
            "Attempts to accept a connection that failed for lack of descriptors or memory.";
        /// Events that were compressed, each once for all of its subscribers.
        events_compressed: "reverb_events_compressed_total", "Events compressed, each once.";
        /// Bytes of the frames of these events before compression.
        compression_bytes_in: "reverb_compression_input_bytes_total",
            "Bytes of events before they were compressed.";
        /// Bytes of their compressed frames.
        compression_bytes_out: "reverb_compression_output_bytes_total",
            "Bytes of events after they were compressed.";
        /// Compressed messages received from clients.
        messages_decompressed: "reverb_messages_decompressed_total",
            "Compressed messages received from clients.";
    }
}

counters! {
    /// The counters of one app. Messages are WebSocket text messages; bytes are those of WebSocket
    /// frames, headers and control frames included.
    pub struct AppCounters {
        /// WebSocket connections accepted.
        connections_opened: "reverb_connections_opened_total", "WebSocket connections accepted.";
        /// Messages received from clients.
        messages_in: "reverb_messages_received_total", "Messages received from clients.";
        /// Messages received from clients and handled without an error.
        messages_handled: "", "";
        /// Bytes received from clients.
        bytes_in: "reverb_received_bytes_total", "Bytes of frames received from clients.";
        /// Messages queued for clients: one for each client that receives it.
        messages_out: "reverb_messages_sent_total", "Messages sent to clients, one per client.";
        /// Bytes queued for clients.
        bytes_out: "reverb_sent_bytes_total", "Bytes of frames sent to clients.";
        /// Client events delivered.
        client_events: "reverb_client_events_total", "Client events delivered.";
        /// Lines of feeds that were dropped because a viewer reads too slowly.
        feed_lines_dropped: "reverb_feed_lines_dropped_total",
            "Lines of feeds dropped because a viewer reads too slowly.";
        /// Events published through the API: one for each of an event's channels.
        api_events: "reverb_api_events_total", "Events published through the API, by channel.";
    }
}

impl AppCounters {
    /// A frame was queued for this many clients.
    pub(crate) fn sent(&mut self, messages: u64, frame_len: usize) {
        self.messages_out += messages;
        self.bytes_out += messages * frame_len as u64;
    }
}

/// A counter for each of a few known numbers, and one for all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CounterVec<const N: usize> {
    known: &'static [u16; N],
    times: [u64; N],
    /// The count of all other numbers.
    pub others: u64,
}

impl<const N: usize> CounterVec<N> {
    const fn new(known: &'static [u16; N]) -> Self {
        CounterVec { known, times: [0; N], others: 0 }
    }

    /// Increments the count of this number.
    pub(crate) fn count(&mut self, number: u16) {
        match self.known.iter().position(|known| *known == number) {
            Some(at) => self.times[at] += 1,
            None => self.others += 1,
        }
    }

    fn numbers(&mut self) -> impl Iterator<Item = &mut u64> {
        self.times.iter_mut().chain([&mut self.others])
    }

    /// Each known number and its count.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u64)> {
        self.known.iter().copied().zip(self.times)
    }
}

/// Durations of turns, by upper bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Histogram {
    times: [u64; TURN_BOUNDS.len() + 1],
    /// The sum of all durations, in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// Counts a turn that took this long.
    pub fn count(&mut self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let at = TURN_BOUNDS.iter().position(|(bound_us, _)| us <= *bound_us);
        self.times[at.unwrap_or(TURN_BOUNDS.len())] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// Each bound in seconds, and the number of turns that took no longer; the last has all turns.
    pub fn by_bound(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let bounds = TURN_BOUNDS.iter().map(|(_, text)| *text).chain(["+Inf"]);
        bounds.zip(self.times).scan(0, |sum, (bound, times)| {
            *sum += times;
            Some((bound, *sum))
        })
    }
}

/// The upper bounds of the histogram, in microseconds, and in seconds as text. Users notice a delay
/// of a tenth of a second, but not of a millisecond.
pub(super) const TURN_BOUNDS: [(u64, &str); 6] = [
    (1_000, "0.001"),
    (5_000, "0.005"),
    (25_000, "0.025"),
    (100_000, "0.1"),
    (500_000, "0.5"),
    (2_500_000, "2.5"),
];

/// The close codes with a counter of their own: the codes of RFC 6455 and of Pusher that the server
/// sends.
pub(super) const CLOSE_CODES: [u16; 14] =
    [1000, 1001, 1002, 1003, 1007, 1009, 4001, 4004, 4005, 4009, 4100, 4200, 4201, 4301];

/// The statuses with a counter of their own.
pub(super) const STATUSES: [u16; 14] =
    [200, 400, 401, 403, 404, 405, 408, 413, 422, 426, 429, 431, 501, 503];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_numbers_have_a_count_each_and_the_others_one() {
        let mut closes = Counters::new(0).closes;
        [4201, 1000, 4201, 3999].into_iter().for_each(|code| closes.count(code));
        let times = |wanted| closes.iter().find(|(code, _)| *code == wanted).unwrap().1;
        assert_eq!((times(4201), times(1000), times(4100), closes.others), (2, 1, 0, 1));
    }
}
