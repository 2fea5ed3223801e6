//! The output of one connection: whole frames, shared with other outboxes, and how much of the
//! first frame was written. The owner of the socket takes slices and reports how many bytes it
//! wrote; this file knows no socket.

use std::collections::VecDeque;
use std::io::IoSlice;

use crate::proto::snapshot::{Codec, DecodeError, DecodeResult};
use crate::proto::websocket::Frame;

/// A queue of frames. Most connections have none or one waiting: the first frame needs no further
/// memory, and the memory of the others is freed when they are written.
#[derive(Debug, Default)]
pub struct Outbox {
    first: Option<Frame>,
    rest: VecDeque<Frame>,
    /// Bytes of the first frame that were written; `0 <= sent < first.len()`.
    sent: usize,
    /// Bytes that wait, of all frames.
    bytes: usize,
}

impl Outbox {
    /// Appends a frame.
    pub fn push(&mut self, frame: Frame) {
        if frame.is_empty() {
            return;
        }
        self.bytes += frame.len();
        match self.first {
            None => self.first = Some(frame),
            Some(_) => self.rest.push_back(frame),
        }
    }

    /// The waiting bytes, if they are in one frame.
    pub fn only(&self) -> Option<&[u8]> {
        self.first.as_ref().filter(|_| self.rest.is_empty()).map(|first| &first[self.sent..])
    }

    /// Fills `slices` with the waiting bytes, from the front. Stops after the slice that reaches
    /// `bytes_max`. Returns how many slices it filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>], bytes_max: usize) -> usize {
        let Some(first) = &self.first else { return 0 };
        let frames = std::iter::once(&first[self.sent..]).chain(self.rest.iter().map(|f| &f[..]));
        let (mut filled, mut bytes) = (0, 0);
        for (slice, frame) in slices.iter_mut().zip(frames) {
            if bytes >= bytes_max {
                break;
            }
            *slice = IoSlice::new(frame);
            bytes += frame.len();
            filled += 1;
        }
        filled
    }

    /// Removes the first `written` bytes.
    pub fn consume(&mut self, written: usize) {
        debug_assert!(written <= self.bytes);
        if written == self.bytes && self.rest.capacity() == 0 {
            // A single frame was written whole. This is the usual case: it happens to every
            // subscriber of every event.
            (self.first, self.sent, self.bytes) = (None, 0, 0);
            return;
        }
        self.bytes = self.bytes.saturating_sub(written);
        self.sent += written;
        while let Some(first) = &self.first {
            if self.sent < first.len() {
                return;
            }
            self.sent -= first.len();
            self.first = self.rest.pop_front();
        }
        self.sent = 0;
        // Free the capacity that a burst has left in every connection it reached.
        self.rest = VecDeque::new();
    }

    /// Discards all frames.
    pub fn clear(&mut self) {
        *self = Outbox::default();
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The size that counts against the limit: the bytes, and the overhead of each frame. A pong of
    /// two bytes takes more than two.
    pub fn weight(&self) -> usize {
        self.bytes + self.frames() * FRAME_COST
    }

    /// The number of frames that wait.
    pub fn frames(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Encodes or decodes the frames.
    pub(super) fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        c.int(&mut self.sent)?;
        let mut count = c.count(usize::from(self.first.is_some()) + self.rest.len())?;
        if !c.reads() {
            return self.first.iter_mut().chain(&mut self.rest).try_for_each(|f| c.frame(f));
        }
        while count > 0 {
            let mut frame = Frame::from(&[][..]);
            c.frame(&mut frame)?;
            self.push(frame);
            count -= 1;
        }
        self.bytes = self.bytes.checked_sub(self.sent).ok_or(DecodeError)?;
        if self.is_sound() { Ok(()) } else { Err(DecodeError) }
    }

    /// Whether the counts match the frames.
    pub(super) fn is_sound(&self) -> bool {
        let first = self.first.as_ref().map_or(0, |frame| frame.len());
        let rest: usize = self.rest.iter().map(|frame| frame.len()).sum();
        self.sent <= first && self.bytes == first - self.sent + rest
    }
}

/// The overhead of a frame: its queue entry (16 bytes), and its reference counts and allocation
/// (about 48).
const FRAME_COST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// The oracle is a plain string of bytes.
    #[test]
    fn an_outbox_yields_the_bytes_of_its_frames_in_order() {
        let (mut outbox, mut oracle, mut state) = (Outbox::default(), Vec::new(), 1_u32);
        let mut random = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as usize
        };
        for _ in 0..20_000 {
            if random() % 2 == 0 {
                let frame: Vec<u8> = (0..random() % 50).map(|_| random() as u8).collect();
                oracle.extend_from_slice(&frame);
                outbox.push(frame.into());
            } else {
                let mut slices = [IoSlice::new(&[]); 4];
                let filled = outbox.slices(&mut slices, 1 + random() % 100);
                let bytes: Vec<u8> = slices[..filled].iter().flat_map(|s| s.to_vec()).collect();
                assert_eq!(bytes, oracle[..bytes.len()]);
                let written = random() % (bytes.len() + 1);
                outbox.consume(written);
                oracle.drain(..written);
            }
            assert_eq!(outbox.bytes(), oracle.len());
            assert_eq!(outbox.is_empty(), oracle.is_empty());
        }
    }

    #[test]
    fn the_capacity_of_a_burst_is_freed() {
        let mut outbox = Outbox::default();
        (0..1_000).for_each(|_| outbox.push(Frame::from(&b"x"[..])));
        outbox.consume(1_000);
        assert_eq!(outbox.rest.capacity(), 0);
    }
}
