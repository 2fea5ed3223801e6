//! Feeds the messages card of Laravel Pulse. Every few seconds the event loop reports the number of
//! messages since the start. A thread writes the increase to Pulse's stream in Redis, so a slow
//! Redis does not block the event loop.
//!
//! If a write fails, the next report includes the same messages, so no queue is needed.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use super::redis::BlockingRedis;
use super::threads;
use crate::config::laravel::PulseStream;
use crate::config::{Config, Limits};
use crate::hub::{Counters, Now};
use crate::proto::pulse::{Direction, entry};

/// The event loop's side: makes the reports.
pub(super) struct Pulse {
    report: Slot,
    writer: Thread,
    timeout: Duration,
    interval_s: u64,
    next_ms: Option<u64>,
    /// The ids of the apps, in the order of the counters.
    app_ids: Arc<[String]>,
}

/// The latest report, until the thread takes it. A later report replaces it, as it includes it.
type Slot = Arc<Mutex<Option<Report>>>;

/// The number of messages since the start.
struct Report {
    /// The messages that each app has sent and received, in the order of `app_ids`.
    totals: Vec<[u64; 2]>,
    app_ids: Arc<[String]>,
    unix_s: u64,
    /// The longest wait for a reply from Redis.
    timeout: Duration,
}

impl Pulse {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub(super) fn start(stream: PulseStream, config: &Config) -> io::Result<Self> {
        let report = Slot::default();
        let reports = Arc::clone(&report);
        let app_ids: Arc<[String]> = config.apps.iter().map(|app| app.id.clone()).collect();
        let writer = Writer {
            app_ids: Arc::clone(&app_ids),
            written: Vec::new(),
            sample_ppm: config.server.pulse_sample_ppm.map_or(PPM, u64::from),
            timeout: timeout(&config.limits),
            stream,
            connection: None,
        };
        let thread = threads::start("pulse", Box::new(move || writer.run(&reports)))?;
        let writer = thread.thread().clone();
        let interval_s = config.server.pulse_interval_s.into();
        let timeout = timeout(&config.limits);
        Ok(Pulse { report, writer, timeout, interval_s, next_ms: None, app_ids })
    }

    /// Sets the ids of the apps, in the order of the counters.
    pub(super) fn set_apps<'a>(&mut self, ids: impl Iterator<Item = &'a str>) {
        self.app_ids = ids.map(str::to_owned).collect();
    }

    /// Applies new limits, starting with the next report.
    pub(super) fn set_limits(&mut self, limits: &Limits) {
        self.timeout = timeout(limits);
    }

    /// When to call [`Pulse::turn`] next.
    pub(super) fn next_ms(&self) -> u64 {
        self.next_ms.unwrap_or_default()
    }

    /// Reports the number of messages, if a report is due.
    pub(super) fn turn(&mut self, counters: &Counters, now: Now) {
        if now.ms < self.next_ms() {
            return;
        }
        // Reports are made at whole multiples of the interval, so that none spans two of the
        // minutes that the card shows.
        let left_s = self.interval_s - now.unix_s % self.interval_s;
        self.next_ms = Some(now.ms + left_s * 1_000);
        let totals =
            counters.apps.iter().map(|app| [app.messages_out, app.messages_handled]).collect();
        let app_ids = Arc::clone(&self.app_ids);
        let report = Report { totals, app_ids, unix_s: now.unix_s, timeout: self.timeout };
        // Neither side holds the lock for longer than a move.
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
        self.writer.unpark();
    }
}

fn timeout(limits: &Limits) -> Duration {
    Duration::from_millis(limits.redis_reply_timeout_ms.into())
}

/// The thread's side: writes the reports to Redis.
struct Writer {
    app_ids: Arc<[String]>,
    /// The totals already written to the stream, or skipped; empty before the first report.
    written: Vec<[u64; 2]>,
    sample_ppm: u64,
    timeout: Duration,
    stream: PulseStream,
    /// The connection, and the name of the stream.
    connection: Option<(BlockingRedis, String)>,
}

impl Writer {
    fn run(mut self, reports: &Slot) {
        let mut is_lost = false;
        loop {
            let report = reports.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(report) = report else {
                thread::park();
                continue;
            };
            let was_lost = is_lost;
            let written = self.write(&report);
            is_lost = written.is_err();
            match written {
                Err(why) if !was_lost => {
                    log::warn!(
                        "{why}; the messages card of Pulse gets no data until Redis is back"
                    );
                }
                Ok(()) if was_lost => {
                    log::info!("Redis is back: the messages card of Pulse gets data again")
                }
                _ => {}
            }
        }
    }

    fn write(&mut self, report: &Report) -> Result<(), String> {
        if self.written.is_empty() {
            // Messages before the first report belong to an earlier minute.
            self.written =
                report.totals.iter().map(|t| t.map(|total| self.sampled(total))).collect();
        }
        if !Arc::ptr_eq(&self.app_ids, &report.app_ids) {
            let old = std::mem::replace(&mut self.app_ids, Arc::clone(&report.app_ids));
            let written: HashMap<&String, [u64; 2]> =
                old.iter().zip(self.written.drain(..)).collect();
            // The counters of an app that was added began at 0.
            let written = |id| written.get(id).copied().unwrap_or_default();
            self.written = self.app_ids.iter().map(written).collect();
        }
        if self.timeout != report.timeout {
            (self.timeout, self.connection) = (report.timeout, None);
        }
        // Redis may close an idle connection; a PING with each report keeps it open.
        let redis = self.connection.as_mut();
        if redis.is_some_and(|(redis, _)| redis.request(&[b"PING"]).is_err()) {
            self.connection = None;
        }
        for app in 0..report.totals.len().min(self.app_ids.len()) {
            for (n, direction) in [Direction::Sent, Direction::Received].into_iter().enumerate() {
                let total = self.sampled(report.totals[app][n]);
                let mut new = total.saturating_sub(self.written[app][n]);
                let mut entries = 0;
                while new > 0 && entries < ENTRIES_MAX {
                    let count = new.min(COUNT_MAX);
                    // A report at the first second of a minute covers the minute before.
                    let unix_s = report.unix_s.saturating_sub(1);
                    let entry = entry(direction, &self.app_ids[app], count as u32, unix_s);
                    self.add(&entry)?;
                    self.written[app][n] += count;
                    (new, entries) = (new - count, entries + 1);
                }
                if new > 0 {
                    log::warn!(
                        "Pulse: {new} messages are not recorded: more than {ENTRIES_MAX} entries in one \
                         report; record a smaller share (pulse_sample_rate)"
                    );
                }
                self.written[app][n] = total;
            }
        }
        Ok(())
    }

    /// The sampled share of a total. What is rounded off is part of a later report.
    fn sampled(&self, total: u64) -> u64 {
        total / PPM * self.sample_ppm + total % PPM * self.sample_ppm / PPM
    }

    fn add(&mut self, entry: &[u8]) -> Result<(), String> {
        let (mut redis, name) = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let words: [&[u8]; 8] =
            [b"XADD", name.as_bytes(), b"MAXLEN", b"~", STREAM_ENTRIES, b"*", b"data", entry];
        redis.request(&words).map_err(|why| format!("Redis {}: {why}", self.stream.target))?;
        self.connection = Some((redis, name));
        Ok(())
    }

    /// Connects, and finds out which of the possible names the stream has; the first one if it does
    /// not exist yet.
    fn connect(&self) -> Result<(BlockingRedis, String), String> {
        let mut redis = BlockingRedis::open(&self.stream.target, self.timeout)?;
        for name in &self.stream.names {
            let kind = redis.request(&[b"TYPE", name.as_bytes()]);
            let kind = kind.map_err(|why| format!("Redis {}: {why}", self.stream.target))?;
            if kind.as_deref() == Some(b"stream") {
                return Ok((redis, name.clone()));
            }
        }
        Ok((redis, self.stream.names.first().cloned().unwrap_or_default()))
    }
}

/// Parts per million.
const PPM: u64 = 1_000_000;
/// The most messages of one entry. Each takes 11 bytes: 110 KB in all.
const COUNT_MAX: u64 = 10_000;
/// The most entries of one app and direction in a report: a million messages.
const ENTRIES_MAX: u32 = 100;
/// The approximate maximum length of the stream, including entries of other cards, in case Pulse
/// does not read it. An exact maximum would cost Redis more.
const STREAM_ENTRIES: &[u8] = b"10000";
