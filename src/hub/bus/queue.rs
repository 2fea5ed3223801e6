//! What this node has said to the others, in order, until they have all heard it: bounded in bytes
//! and in age. What was written once can be written again from any place that is still here.

use std::collections::VecDeque;

use crate::proto::carry::{Carried, Carrier, Cut};
use crate::proto::websocket::Frame;

/// Envelopes with consecutive numbers.
pub(super) struct Queue {
    said: VecDeque<Said>,
    /// The number of the first of them.
    first: u64,
    /// The number of the next to be written.
    next_written: u64,
    bytes: usize,
    unwritten_bytes: usize,
    bytes_max: usize,
    age_max_ms: u64,
}

struct Said {
    frame: Frame,
    at_ms: u64,
}

impl Queue {
    pub(super) fn new(bytes_max: usize, age_max_ms: u64) -> Self {
        Queue {
            said: VecDeque::new(),
            first: 0,
            next_written: 0,
            bytes: 0,
            unwritten_bytes: 0,
            bytes_max,
            age_max_ms,
        }
    }

    /// Writes down what is kept, or reads it.
    pub(super) fn carry(&mut self, c: &mut Carrier) -> Carried {
        c.number(&mut self.first)?;
        c.number(&mut self.next_written)?;
        let count = c.count(self.said.len())?;
        self.said.resize_with(count, || Said { frame: Frame::from(&[][..]), at_ms: 0 });
        for said in &mut self.said {
            c.frame(&mut said.frame)?;
            c.number(&mut said.at_ms)?;
        }
        let written = self.next_written.checked_sub(self.first).ok_or(Cut)? as usize;
        self.bytes = self.said.iter().map(|said| said.frame.len()).sum();
        self.unwritten_bytes = self.said.iter().skip(written).map(|said| said.frame.len()).sum();
        if written > count { Err(Cut) } else { Ok(()) }
    }

    /// The number the next envelope gets.
    pub(super) fn next(&self) -> u64 {
        self.first + self.said.len() as u64
    }

    /// The first that can be written again, and the next that was not written yet.
    pub(super) fn range(&self) -> (u64, u64) {
        (self.first, self.next_written)
    }

    /// Bytes that wait to be written.
    pub(super) fn unwritten_bytes(&self) -> usize {
        self.unwritten_bytes
    }

    /// Appends an envelope. Returns how many were never written and are dropped for it.
    pub(super) fn push(&mut self, frame: Frame, now_ms: u64) -> u64 {
        self.bytes += frame.len();
        self.unwritten_bytes += frame.len();
        self.said.push_back(Said { frame, at_ms: now_ms });
        let mut dropped = 0;
        // The newest is kept, however long it is.
        while self.bytes > self.bytes_max && self.said.len() > 1 {
            dropped += u64::from(self.drop_first());
        }
        dropped
    }

    /// The next to be written.
    pub(super) fn take(&mut self) -> Option<Frame> {
        let at = usize::try_from(self.next_written - self.first).ok()?;
        let frame = Frame::clone(&self.said.get(at)?.frame);
        self.next_written += 1;
        self.unwritten_bytes -= frame.len();
        Some(frame)
    }

    /// Has everything from this number on written again, as far as it is here.
    pub(super) fn go_back(&mut self, to: u64) {
        let to = to.max(self.first);
        while self.next_written > to {
            self.next_written -= 1;
            let at = (self.next_written - self.first) as usize;
            self.unwritten_bytes += self.said.get(at).map_or(0, |said| said.frame.len());
        }
    }

    /// Forgets what everybody has heard: what was written before this number.
    pub(super) fn forget_before(&mut self, next: u64) {
        while self.first < next.min(self.next_written) {
            self.drop_first();
        }
        if self.said.is_empty() {
            self.said = VecDeque::new();
        }
    }

    /// Forgets what is too old. Returns how many of it were never written.
    pub(super) fn expire(&mut self, now_ms: u64) -> u64 {
        let mut dropped = 0;
        while self.said.front().is_some_and(|said| now_ms > said.at_ms + self.age_max_ms) {
            dropped += u64::from(self.drop_first());
        }
        dropped
    }

    /// Drops the oldest, and says whether it was never written.
    fn drop_first(&mut self) -> bool {
        let Some(said) = self.said.pop_front() else { return false };
        self.bytes -= said.frame.len();
        self.first += 1;
        let unwritten = self.first > self.next_written;
        if unwritten {
            self.unwritten_bytes -= said.frame.len();
            self.next_written = self.first;
        }
        unwritten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(len: usize) -> Frame {
        vec![b'x'; len].into()
    }

    #[test]
    fn what_was_written_can_be_written_again() {
        let mut queue = Queue::new(1_000, 1_000);
        (1..=5).for_each(|len| _ = queue.push(frame(len), 0));
        let write = |queue: &mut Queue| {
            std::iter::from_fn(|| queue.take()).map(|frame| frame.len()).collect::<Vec<_>>()
        };
        assert_eq!((queue.unwritten_bytes(), write(&mut queue)), (15, vec![1, 2, 3, 4, 5]));
        assert_eq!((queue.range(), queue.unwritten_bytes()), ((0, 5), 0));
        queue.forget_before(2);
        queue.go_back(0);
        assert_eq!((queue.range(), queue.unwritten_bytes()), ((2, 2), 12));
        assert_eq!(write(&mut queue), [3, 4, 5]);
        queue.go_back(4);
        queue.forget_before(9);
        assert_eq!((queue.range(), write(&mut queue)), ((4, 4), vec![5]));
        queue.forget_before(9);
        assert_eq!((queue.range(), queue.next(), queue.bytes), ((5, 5), 5, 0));
    }

    #[test]
    fn the_oldest_go_when_there_is_too_much_and_when_it_is_too_late() {
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
