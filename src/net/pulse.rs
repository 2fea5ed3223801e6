//! Feeds the messages card of Laravel Pulse: every few seconds the loop says how many messages there
//! were since the start, and a thread of its own, for Redis may be slow, writes what is new of them
//! into Pulse's stream.
//!
//! What could not be written is written the next time, so that the loop never waits and keeps
//! nothing.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use super::redis::BlockingRedis;
use crate::config::laravel::PulseStream;
use crate::config::{Config, Limits};
use crate::hub::{Counters, Now};
use crate::proto::pulse::{Direction, entry};

/// The end of it that is in the loop.
pub(super) struct Pulse {
    said: Slot,
    writer: Thread,
    timeout: Duration,
    interval_s: u64,
    next_ms: Option<u64>,
}

/// Where the loop leaves its last word until the thread takes it. A later one says all that it said.
type Slot = Arc<Mutex<Option<Said>>>;

/// What each app has sent and received since the start, in the order of the configuration.
struct Said {
    totals: Vec<[u64; 2]>,
    unix_s: u64,
    /// The longest wait for a reply from Redis.
    timeout: Duration,
}

impl Pulse {
    /// Begins.
    ///
    /// # Errors
    ///
    /// The system's, when it has no thread to give.
    pub(super) fn start(stream: PulseStream, config: &Config) -> io::Result<Self> {
        let said = Slot::default();
        let hears = Arc::clone(&said);
        let writer = Writer {
            app_ids: config.apps.iter().map(|app| app.id.clone()).collect(),
            written: Vec::new(),
            sample_ppm: config.server.pulse_sample_ppm.map_or(PPM, u64::from),
            timeout: timeout(&config.limits),
            stream,
            line: None,
        };
        let thread = thread::Builder::new().name("pulse".to_owned());
        let writer = thread.spawn(move || writer.run(&hears))?.thread().clone();
        let interval_s = config.server.pulse_interval_s.into();
        Ok(Pulse { said, writer, timeout: timeout(&config.limits), interval_s, next_ms: None })
    }

    /// Applies new limits from the next report on.
    pub(super) fn set_limits(&mut self, limits: &Limits) {
        self.timeout = timeout(limits);
    }

    /// When to call [`Pulse::turn`] next.
    pub(super) fn next_ms(&self) -> u64 {
        self.next_ms.unwrap_or_default()
    }

    /// Says how many messages there were, if it is time to.
    pub(super) fn turn(&mut self, counters: &Counters, now: Now) {
        if now.ms < self.next_ms() {
            return;
        }
        // At whole multiples, so that no span lies in two of the minutes the card shows.
        let left_s = self.interval_s - now.unix_s % self.interval_s;
        self.next_ms = Some(now.ms + left_s * 1_000);
        let totals =
            counters.apps.iter().map(|app| [app.messages_out, app.messages_handled]).collect();
        let said = Said { totals, unix_s: now.unix_s, timeout: self.timeout };
        // Held for no longer than it takes to put or take it.
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = Some(said);
        self.writer.unpark();
    }
}

fn timeout(limits: &Limits) -> Duration {
    Duration::from_millis(limits.redis_reply_timeout_ms.into())
}

/// The end of it that waits for Redis.
struct Writer {
    app_ids: Vec<String>,
    /// How much of that is in the stream, or left out for good; empty before the first time.
    written: Vec<[u64; 2]>,
    sample_ppm: u64,
    timeout: Duration,
    stream: PulseStream,
    /// The connection, and the name of the stream.
    line: Option<(BlockingRedis, String)>,
}

impl Writer {
    fn run(mut self, hears: &Slot) {
        let mut is_lost = false;
        loop {
            let said = hears.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(said) = said else {
                thread::park();
                continue;
            };
            let was_lost = is_lost;
            let written = self.write(&said);
            is_lost = written.is_err();
            match written {
                Err(why) if !was_lost => {
                    log::warn!("{why}; the messages card of Pulse stands still meanwhile");
                }
                Ok(()) if was_lost => log::info!("Pulse is written to again"),
                _ => {}
            }
        }
    }

    fn write(&mut self, said: &Said) -> Result<(), String> {
        if self.written.is_empty() {
            // What was before the first word is of another time.
            self.written = said.totals.iter().map(|t| t.map(|total| self.sampled(total))).collect();
        }
        if self.timeout != said.timeout {
            (self.timeout, self.line) = (said.timeout, None);
        }
        // What a quiet server leaves idle, Redis may close; and asked now and then it does not.
        if self.line.as_mut().is_some_and(|(line, _)| line.ask(&[b"PING"]).is_err()) {
            self.line = None;
        }
        for app in 0..said.totals.len().min(self.app_ids.len()) {
            for (n, direction) in [Direction::Sent, Direction::Received].into_iter().enumerate() {
                let total = self.sampled(said.totals[app][n]);
                let mut new = total.saturating_sub(self.written[app][n]);
                let mut entries = 0;
                while new > 0 && entries < ENTRIES_MAX {
                    let count = new.min(COUNT_MAX);
                    // They were before this moment, which begins the next of the card's minutes.
                    let unix_s = said.unix_s.saturating_sub(1);
                    let entry = entry(direction, &self.app_ids[app], count as u32, unix_s);
                    self.add(&entry)?;
                    self.written[app][n] += count;
                    (new, entries) = (new - count, entries + 1);
                }
                if new > 0 {
                    log::warn!(
                        "Pulse: {new} messages are left out: record a smaller share of them"
                    );
                }
                self.written[app][n] = total;
            }
        }
        Ok(())
    }

    /// The share of them that is recorded. What is left over by rounding counts the next time.
    fn sampled(&self, total: u64) -> u64 {
        total / PPM * self.sample_ppm + total % PPM * self.sample_ppm / PPM
    }

    fn add(&mut self, entry: &[u8]) -> Result<(), String> {
        let (mut line, name) = match self.line.take() {
            Some(line) => line,
            None => self.connect()?,
        };
        let words: [&[u8]; 8] =
            [b"XADD", name.as_bytes(), b"MAXLEN", b"~", STREAM_ENTRIES, b"*", b"data", entry];
        line.ask(&words).map_err(|why| format!("Redis {}: {why}", self.stream.target))?;
        self.line = Some((line, name));
        Ok(())
    }

    /// Connects, and finds out which of the names the stream has; without one it is the first.
    fn connect(&self) -> Result<(BlockingRedis, String), String> {
        let mut line = BlockingRedis::open(&self.stream.target, self.timeout)?;
        for name in &self.stream.names {
            let kind = line.ask(&[b"TYPE", name.as_bytes()]);
            let kind = kind.map_err(|why| format!("Redis {}: {why}", self.stream.target))?;
            if kind.as_deref() == Some(b"stream") {
                return Ok((line, name.clone()));
            }
        }
        Ok((line, self.stream.names.first().cloned().unwrap_or_default()))
    }
}

/// Parts per million.
const PPM: u64 = 1_000_000;
/// Messages of one entry, which has 11 bytes for each: 110 KB.
const COUNT_MAX: u64 = 10_000;
/// Entries of one app and direction at a time: a million messages.
const ENTRIES_MAX: u32 = 100;
/// Entries the stream may have, those of other cards included, should nobody take them out; about so
/// many, as that is cheaper.
const STREAM_ENTRIES: &[u8] = b"10000";
