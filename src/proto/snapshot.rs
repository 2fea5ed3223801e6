//! Values to bytes and back, for what one process hands to the next.
//!
//! Each type that is decoded has one method for both ways, so that what is written and what is read
//! cannot disagree: a [`Codec`] that writes takes a value down as it is, one that reads puts what
//! was taken down in its place. There are no names and no types in the bytes. Whoever reads must be
//! of the version that wrote; who looks at that is above.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::websocket::Frame;

/// The bytes end too early, or are none that a writer of this version makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeError;

/// What came of one value.
pub type DecodeResult = Result<(), DecodeError>;

/// Writes values to bytes, or reads them.
#[derive(Default)]
pub struct Codec {
    bytes: Vec<u8>,
    /// How far they were read; `None` where they are written.
    at: Option<usize>,
    /// Frames so far, in order: one that is shared by many outboxes is decoded once.
    frames: Vec<Frame>,
    /// Where each of them lies in memory, and its place among them. They are held above, so no other
    /// can come to lie there.
    places: BTreeMap<usize, u64>,
}

impl Codec {
    /// One that writes.
    pub fn writer() -> Self {
        Codec::default()
    }

    /// One that reads these bytes.
    pub fn reader(bytes: Vec<u8>) -> Self {
        Codec { bytes, at: Some(0), ..Codec::default() }
    }

    /// Whether it reads.
    pub fn reads(&self) -> bool {
        self.at.is_some()
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Whether all there is was read.
    ///
    /// # Errors
    ///
    /// It was not.
    pub fn end(&self) -> DecodeResult {
        if self.at == Some(self.bytes.len()) { Ok(()) } else { Err(DecodeError) }
    }

    /// A number: seven bits a byte, the lowest first, and the eighth says that more follow.
    ///
    /// # Errors
    ///
    /// As all of these: the bytes end too early, or are not what this is written as.
    pub fn number(&mut self, number: &mut u64) -> DecodeResult {
        let Some(at) = &mut self.at else {
            let mut left = *number;
            while left > 0x7F {
                self.bytes.push(left as u8 | 0x80);
                left >>= 7;
            }
            self.bytes.push(left as u8);
            return Ok(());
        };
        *number = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(*at).ok_or(DecodeError)?;
            *at += 1;
            *number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(());
            }
        }
        Err(DecodeError)
    }

    /// A number of another type.
    pub fn int<N: Copy + TryInto<u64> + TryFrom<u64>>(&mut self, int: &mut N) -> DecodeResult {
        let mut number = (*int).try_into().map_err(|_| DecodeError)?;
        self.number(&mut number)?;
        *int = number.try_into().map_err(|_| DecodeError)?;
        Ok(())
    }

    /// Yes or no.
    pub fn flag(&mut self, flag: &mut bool) -> DecodeResult {
        let mut number = u64::from(*flag);
        self.number(&mut number)?;
        *flag = number == 1;
        if number > 1 { Err(DecodeError) } else { Ok(()) }
    }

    /// How many of something follow, each of which takes a byte at least.
    pub fn count(&mut self, len: usize) -> Result<usize, DecodeError> {
        let mut count = len as u64;
        self.number(&mut count)?;
        let left = self.at.map_or(count, |at| (self.bytes.len() - at) as u64);
        if count > left { Err(DecodeError) } else { Ok(count as usize) }
    }

    /// Bytes to be written, or those that are read.
    fn slice(&mut self, bytes: &[u8]) -> Result<&[u8], DecodeError> {
        let len = self.count(bytes.len())?;
        let from = self.at.unwrap_or(self.bytes.len());
        match &mut self.at {
            Some(at) => *at += len,
            None => self.bytes.extend_from_slice(bytes),
        }
        self.bytes.get(from..from + len).ok_or(DecodeError)
    }

    /// Bytes.
    pub fn bytes(&mut self, bytes: &mut Vec<u8>) -> DecodeResult {
        let read = self.slice(bytes)?;
        if *bytes != read {
            *bytes = read.to_vec();
        }
        Ok(())
    }

    /// A text, of whichever kind.
    pub fn text<S: AsRef<str> + for<'a> From<&'a str>>(&mut self, text: &mut S) -> DecodeResult {
        let reads = self.reads();
        let read =
            std::str::from_utf8(self.slice(text.as_ref().as_bytes())?).map_err(|_| DecodeError)?;
        if reads {
            *text = S::from(read);
        }
        Ok(())
    }

    /// A frame, which may be shared.
    pub fn frame(&mut self, frame: &mut Frame) -> DecodeResult {
        let next = self.frames.len() as u64;
        let lies_at = frame.as_ptr() as usize;
        let mut place = self.places.get(&lies_at).copied().unwrap_or(next);
        self.number(&mut place)?;
        if place < next {
            *frame = Rc::clone(&self.frames[place as usize]);
            return Ok(());
        }
        let reads = self.reads();
        let read = self.slice(frame)?;
        if reads {
            *frame = Rc::from(read);
        } else {
            self.places.insert(lies_at, next);
        }
        self.frames.push(Rc::clone(frame));
        if place == next { Ok(()) } else { Err(DecodeError) }
    }

    /// What may not be there.
    pub fn option<V: Default>(
        &mut self,
        value: &mut Option<V>,
        coder: impl Fn(&mut Self, &mut V) -> DecodeResult,
    ) -> DecodeResult {
        let mut is_there = value.is_some();
        self.flag(&mut is_there)?;
        match is_there {
            true => coder(self, value.get_or_insert_default()),
            false => Ok(()),
        }
    }

    /// Any number of something.
    pub fn list<V: Default>(
        &mut self,
        list: &mut Vec<V>,
        coder: impl Fn(&mut Self, &mut V) -> DecodeResult,
    ) -> DecodeResult {
        let count = self.count(list.len())?;
        list.resize_with(count, V::default);
        list.iter_mut().try_for_each(|value| coder(self, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Carries one of each.
    fn all(c: &mut Codec, numbers: &mut [u64; 4], text: &mut String, frames: &mut Vec<Frame>) {
        code_all(c, numbers, text, frames).unwrap();
    }

    fn code_all(
        c: &mut Codec,
        numbers: &mut [u64; 4],
        text: &mut String,
        frames: &mut Vec<Frame>,
    ) -> DecodeResult {
        numbers.iter_mut().try_for_each(|number| c.number(number))?;
        c.text(text)?;
        let mut count = frames.len() as u64;
        c.number(&mut count)?;
        frames.resize(count as usize, Frame::from(&[][..]));
        frames.iter_mut().try_for_each(|frame| c.frame(frame))
    }

    #[test]
    fn what_was_written_is_read_and_every_cut_is_an_error() {
        let shared: Frame = b"shared".as_slice().into();
        let frames = vec![Rc::clone(&shared), b"own".as_slice().into(), Rc::clone(&shared)];
        let numbers = [0, 127, 128, u64::MAX];
        let mut writer = Codec::writer();
        all(&mut writer, &mut numbers.clone(), &mut "täxt".into(), &mut frames.clone());
        let bytes = writer.into_bytes();

        let mut reader = Codec::reader(bytes.clone());
        let mut read = ([0; 4], String::new(), Vec::new());
        all(&mut reader, &mut read.0, &mut read.1, &mut read.2);
        assert_eq!(reader.end(), Ok(()));
        assert_eq!((read.0, &*read.1, &read.2), (numbers, "täxt", &frames));
        assert!(Rc::ptr_eq(&read.2[0], &read.2[2]), "a frame that was shared still is");

        for len in 0..bytes.len() {
            let mut reader = Codec::reader(bytes[..len].to_vec());
            let mut read = ([0; 4], String::new(), Vec::new());
            let decoded = code_all(&mut reader, &mut read.0, &mut read.1, &mut read.2);
            assert_eq!(decoded, Err(DecodeError), "{len}");
        }
    }

    #[test]
    fn a_count_that_cannot_be_is_refused_before_room_is_made_for_it() {
        let mut writer = Codec::writer();
        writer.number(&mut { u64::MAX >> 1 }).unwrap();
        let mut reader = Codec::reader(writer.into_bytes());
        let mut list: Vec<u64> = Vec::new();
        assert_eq!(reader.list(&mut list, Codec::number), Err(DecodeError));
        assert_eq!(list.capacity(), 0);
    }
}
