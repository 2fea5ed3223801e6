//! The envelopes of this node, in order, until all other nodes have acknowledged them; limited in
//! bytes and in age. Written envelopes can be retransmitted while new ones are written. When to
//! write them is decided in `write`.

use std::collections::VecDeque;
use std::ops::Range;

use crate::proto::snapshot::{Codec, DecodeError, DecodeResult};
use crate::proto::websocket::Frame;

/// Envelopes with consecutive numbers.
pub(in crate::hub) struct Queue {
    entries: VecDeque<Entry>,
    /// The number of the first entry.
    first: u64,
    /// The number of the next envelope to write for the first time.
    next_written: u64,
    /// The numbers that are yet to be retransmitted.
    retransmit: Range<u64>,
    bytes: usize,
    unwritten_bytes: usize,
    bytes_max: usize,
    age_max_ms: u64,
    /// The peak of `bytes` since the last release of much memory, which sets `has_shrunk`.
    bytes_peak: usize,
    has_shrunk: bool,
}

struct Entry {
    frame: Frame,
    at_ms: u64,
}

impl Queue {
    pub(in crate::hub) fn new(bytes_max: usize, age_max_ms: u64) -> Self {
        Queue {
            entries: VecDeque::new(),
            first: 0,
            next_written: 0,
            retransmit: 0..0,
            bytes: 0,
            unwritten_bytes: 0,
            bytes_max,
            age_max_ms,
            bytes_peak: 0,
            has_shrunk: false,
        }
    }

    /// Encodes or decodes the envelopes.
    pub(in crate::hub) fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        c.number(&mut self.first)?;
        c.number(&mut self.next_written)?;
        let count = c.count(self.entries.len())?;
        self.entries.resize_with(count, || Entry { frame: Frame::from(&[][..]), at_ms: 0 });
        for entry in &mut self.entries {
            c.frame(&mut entry.frame)?;
            c.number(&mut entry.at_ms)?;
        }
        let written = self.next_written.checked_sub(self.first);
        let written = written.and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= count);
        let written = written.ok_or(DecodeError)?;
        self.bytes = self.entries.iter().map(|entry| entry.frame.len()).sum();
        self.unwritten_bytes =
            self.entries.iter().skip(written).map(|entry| entry.frame.len()).sum();
        Ok(())
    }

    /// The number of the next envelope to be queued.
    pub(in crate::hub) fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// The first envelope that can be retransmitted, and the next to write for the first time.
    pub(in crate::hub) fn range(&self) -> (u64, u64) {
        (self.first, self.next_written)
    }

    /// Bytes of the envelopes that were never written.
    pub(in crate::hub) fn unwritten_bytes(&self) -> usize {
        self.unwritten_bytes
    }

    /// Appends an envelope. Returns how many unwritten envelopes were dropped to make room.
    pub(in crate::hub) fn push(&mut self, frame: Frame, now_ms: u64) -> u64 {
        self.bytes += frame.len();
        self.bytes_peak = self.bytes_peak.max(self.bytes);
        self.unwritten_bytes += frame.len();
        self.entries.push_back(Entry { frame, at_ms: now_ms });
        let mut dropped = 0;
        // The newest envelope is kept, however long it is.
        while self.bytes > self.bytes_max && self.entries.len() > 1 {
            dropped += u64::from(self.drop_first());
        }
        dropped
    }

    /// Takes the next envelope to write for the first time.
    pub(in crate::hub) fn take(&mut self) -> Option<Frame> {
        let at = usize::try_from(self.next_written - self.first).ok()?;
        let frame = Frame::clone(&self.entries.get(at)?.frame);
        self.next_written += 1;
        self.unwritten_bytes -= frame.len();
        Some(frame)
    }

    /// The text of a written envelope, if it is still kept.
    pub(in crate::hub) fn text(&self, number: u64) -> Option<Frame> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let is_written = number < self.next_written;
        self.entries.get(at).filter(|_| is_written).map(|entry| Frame::clone(&entry.frame))
    }

    /// Marks all written envelopes from this number on for retransmission, if still kept.
    pub(in crate::hub) fn retransmit(&mut self, from: u64) {
        self.retransmit = from.max(self.first)..self.next_written;
    }

    /// The numbers that are yet to be retransmitted.
    pub(in crate::hub) fn retransmissions(&self) -> Range<u64> {
        self.retransmit.start.max(self.first)..self.retransmit.end
    }

    /// Takes the next envelope to retransmit.
    pub(in crate::hub) fn take_retransmission(&mut self) -> Option<Frame> {
        let number = self.retransmissions().next()?;
        self.retransmit.start = number + 1;
        let at = usize::try_from(number - self.first).ok()?;
        Some(Frame::clone(&self.entries.get(at)?.frame))
    }

    /// Drops the written envelopes before this number: all nodes have received them.
    pub(in crate::hub) fn drop_before(&mut self, next: u64) {
        while self.first < next.min(self.next_written) {
            self.drop_first();
        }
        self.shrink();
    }

    /// Drops envelopes that are too old. Returns how many of them were never written.
    pub(in crate::hub) fn expire(&mut self, now_ms: u64) -> u64 {
        let mut dropped = 0;
        while self.entries.front().is_some_and(|entry| now_ms > entry.at_ms + self.age_max_ms) {
            dropped += u64::from(self.drop_first());
        }
        self.shrink();
        dropped
    }

    /// Frees the memory of a backlog that built up while Redis was not connected.
    fn shrink(&mut self) {
        if self.entries.capacity() > 4 * self.entries.len().max(64) {
            self.entries.shrink_to(2 * self.entries.len());
        }
        if self.bytes_peak > TRIM_BYTES_MIN && self.bytes < self.bytes_peak / 4 {
            (self.bytes_peak, self.has_shrunk) = (self.bytes, true);
        }
    }

    /// Whether much memory was freed since the last call, so that the allocator should return it to
    /// the system.
    pub(in crate::hub) fn take_has_shrunk(&mut self) -> bool {
        std::mem::take(&mut self.has_shrunk)
    }

    /// Drops the oldest envelope. Returns whether it was never written.
    fn drop_first(&mut self) -> bool {
        let Some(entry) = self.entries.pop_front() else { return false };
        self.bytes -= entry.frame.len();
        self.first += 1;
        let unwritten = self.first > self.next_written;
        if unwritten {
            self.unwritten_bytes -= entry.frame.len();
            self.next_written = self.first;
        }
        unwritten
    }
}

/// Releases of less memory are not reported: it is soon used again.
const TRIM_BYTES_MIN: usize = 4_194_304;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(len: usize) -> Frame {
        vec![b'x'; len].into()
    }

    fn written(next: impl FnMut() -> Option<Frame>) -> Vec<usize> {
        std::iter::from_fn(next).map(|frame| frame.len()).collect()
    }

    #[test]
    fn written_envelopes_can_be_retransmitted() {
        let mut queue = Queue::new(1_000, 1_000);
        (1..=5).for_each(|len| _ = queue.push(frame(len), 0));
        assert_eq!(queue.unwritten_bytes(), 15);
        assert_eq!(written(|| queue.take()), [1, 2, 3, 4, 5]);
        assert_eq!((queue.range(), queue.unwritten_bytes()), ((0, 5), 0));
        queue.push(frame(6), 0);
        queue.drop_before(2);
        queue.retransmit(0);
        assert_eq!(
            (queue.retransmissions(), queue.range(), queue.unwritten_bytes()),
            (2..5, (2, 5), 6)
        );
        assert_eq!(queue.take_retransmission().unwrap().len(), 3);
        queue.drop_before(4);
        assert_eq!(written(|| queue.take_retransmission()), [5]);
        assert_eq!(written(|| queue.take()), [6]);
        queue.retransmit(5);
        queue.drop_before(9);
        assert_eq!(written(|| queue.take_retransmission()), [0; 0]);
        assert_eq!((queue.range(), queue.next(), queue.bytes), ((6, 6), 6, 0));
    }

    /// With 32 bits alone, the difference between the first two numbers would be 0.
    #[test]
    fn more_written_envelopes_than_there_are_is_not_a_state() {
        let mut state = Codec::writer();
        for mut number in [1, (1 << 32) + 1, 0] {
            state.number(&mut number).unwrap();
        }
        let mut codec = Codec::reader(state.into_bytes());
        assert_eq!(Queue::new(1_000, 1_000).snapshot(&mut codec), Err(DecodeError));
    }

    #[test]
    fn a_dropped_retransmission_does_not_count_as_unwritten() {
        let mut queue = Queue::new(100, 1_000);
        (0..10).for_each(|_| _ = queue.push(frame(10), 0));
        assert_eq!(written(|| queue.take()).len(), 10);
        queue.retransmit(0);
        assert_eq!(queue.push(frame(50), 1), 0);
        assert_eq!((queue.retransmissions(), queue.expire(1_001)), (5..10, 0));
        assert_eq!(queue.expire(1_002), 1);
    }

    #[test]
    fn the_memory_of_a_backlog_is_freed() {
        let mut queue = Queue::new(10_000_000, 1_000);
        (0..10_000).for_each(|_| _ = queue.push(frame(10), 0));
        assert_eq!(written(|| queue.take()).len(), 10_000);
        queue.drop_before(9_990);
        assert!(queue.entries.capacity() < 1_000, "{}", queue.entries.capacity());
        assert!(!queue.take_has_shrunk(), "too little to report");
        (0..10).for_each(|_| _ = queue.push(frame(500_000), 0));
        assert_eq!(written(|| queue.take()).len(), 10);
        queue.drop_before(10_010);
        assert!(queue.take_has_shrunk() && !queue.take_has_shrunk());
    }

    #[test]
    fn the_oldest_envelopes_are_dropped_by_bytes_and_by_age() {
        let mut queue = Queue::new(100, 1_000);
        assert_eq!(queue.push(frame(60), 0), 0);
        queue.take();
        assert_eq!(queue.push(frame(60), 1), 0);
        assert_eq!((queue.range(), queue.unwritten_bytes()), ((1, 1), 60));
        assert_eq!(queue.push(frame(60), 2), 1);
        assert_eq!(queue.push(frame(500), 3), 1);
        assert_eq!((queue.range(), queue.unwritten_bytes()), ((3, 3), 500));
        assert_eq!(queue.expire(1_003), 0);
        assert_eq!(queue.expire(1_004), 1);
        assert_eq!((queue.range(), queue.bytes, queue.unwritten_bytes()), ((4, 4), 0, 0));
    }
}
