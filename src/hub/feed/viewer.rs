//! One viewer of a feed: the lines that wait for it, and how many were dropped. At most one chunk of
//! a viewer is in its outbox: while the client reads slowly, lines collect here and then are
//! dropped, and neither the outbox nor the memory of the server grows.

use super::filter::Filter;
use super::line::Line;
use crate::config::Limits;
use crate::hub::ids::ConnId;
use crate::hub::sample::Sample;
use crate::proto::websocket::Frame;

/// A viewer.
pub(super) struct Viewer {
    pub id: ConnId,
    pub filter: Filter,
    /// Whether the body is chunked. For HTTP/1.0 it is not, and closing the connection ends it.
    is_chunked: bool,
    /// Room for the size of a chunk, and the lines.
    lines: Vec<u8>,
    /// The most bytes of `lines`.
    bytes_max: usize,
    /// Whether there was no room for a line since the last chunk.
    is_full: bool,
    /// Limits the lines about events, to `events_max` in a window.
    events: Sample<WINDOW_MS>,
    events_max: u32,
    /// The earliest time of the next chunk, unless many lines wait.
    pub next_ms: u64,
    /// Lines dropped since the last chunk.
    pub dropped: u64,
    /// Whether the outbox contains a chunk that was not written completely.
    pub is_sending: bool,
    /// Whether the viewer is in the list of those with a chunk to send.
    pub is_ready: bool,
}

impl Viewer {
    pub(super) fn new(id: ConnId, filter: Filter, is_chunked: bool, limits: &Limits) -> Self {
        Viewer {
            id,
            filter,
            is_chunked,
            lines: SIZE_ROOM.to_vec(),
            bytes_max: limits.feed_queue_bytes.min(limits.outbox_bytes) as usize,
            events: Sample::default(),
            events_max: (u64::from(limits.feed_events_per_second) * WINDOW_MS / 1_000) as u32,
            is_full: false,
            next_ms: 0,
            dropped: 0,
            is_sending: false,
            is_ready: false,
        }
    }

    /// Whether a line about an event would exceed the limit of this viewer. If so, counts it as
    /// dropped.
    pub(super) fn drops_event(&mut self, now_ms: u64) -> bool {
        let is_over = !self.events.takes(self.events_max, now_ms);
        self.dropped += u64::from(is_over);
        is_over
    }

    /// Adds a line. Returns `false` if there is no room for it.
    pub(super) fn push(&mut self, line: &Line) -> bool {
        let data = if self.filter.has_payload { line.data.as_str() } else { "" };
        let len = line.head.unended().len() + data.len() + LINE_END.len();
        // After a line without room, the shorter ones after it are dropped as well: the count of
        // dropped lines follows at the end of the chunk.
        self.is_full |= self.lines.len() + len > self.bytes_max;
        if self.is_full {
            self.dropped += 1;
            return false;
        }
        if self.lines.capacity() - self.lines.len() < len {
            // Doubled as usual, but not beyond what may be used.
            let capacity = (2 * self.lines.capacity()).min(self.bytes_max).max(LEAST_CAPACITY);
            self.lines.reserve_exact(len.max(capacity - self.lines.len()));
        }
        for part in [line.head.unended(), data, LINE_END] {
            self.lines.extend_from_slice(part.as_bytes());
        }
        true
    }

    /// The earliest time of the next chunk.
    pub(super) fn due_ms(&self) -> u64 {
        let has_many = self.lines.len() >= MANY_BYTES.min(self.bytes_max / 2);
        if has_many { 0 } else { self.next_ms }
    }

    /// Whether lines wait, or the number of those that were dropped.
    pub(super) fn has_lines(&self) -> bool {
        self.lines.len() > SIZE_ROOM.len() || self.dropped > 0
    }

    /// Takes the lines that wait as a chunk; `dropped` is the line that says how many were dropped,
    /// if any.
    pub(super) fn take_chunk(&mut self, dropped: Option<&Line>) -> Frame {
        if let Some(line) = dropped {
            self.lines.extend_from_slice(line.head.unended().as_bytes());
            self.lines.extend_from_slice(LINE_END.as_bytes());
        }
        (self.dropped, self.is_full) = (0, false);
        let size = format!("{:08x}", self.lines.len() - SIZE_ROOM.len());
        self.lines[..size.len()].copy_from_slice(size.as_bytes());
        let frame = match self.is_chunked {
            true => {
                self.lines.extend_from_slice(b"\r\n");
                Frame::from(&self.lines[..])
            }
            false => Frame::from(&self.lines[SIZE_ROOM.len()..]),
        };
        self.lines.truncate(SIZE_ROOM.len());
        self.lines.shrink_to(IDLE_CAPACITY);
        frame
    }

    /// The end of the body.
    pub(super) fn end(&self) -> Option<Frame> {
        self.is_chunked.then(|| Frame::from(&b"0\r\n\r\n"[..]))
    }
}

/// A tenth of a second: a viewer sees events of each, also if far too many occur.
const WINDOW_MS: u64 = 100;
/// The size of a chunk as eight digits, which are written when the size is known.
const SIZE_ROOM: &[u8] = b"00000000\r\n";
const LINE_END: &str = "}\n";
const LEAST_CAPACITY: usize = 4_096;
/// With this many bytes the next chunk is not delayed.
const MANY_BYTES: usize = 65_536;
/// The capacity that a viewer keeps after a burst.
const IDLE_CAPACITY: usize = 65_536;
