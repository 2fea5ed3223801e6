//! Encodes and decodes the state that a process passes to its successor.
//!
//! Each type has one method for both directions, so that they cannot disagree: with a writing
//! [`Codec`] it encodes the value, with a reading one it overwrites the value. The bytes contain
//! neither names nor types, so reader and writer must have the same version, which the caller checks.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::websocket::Frame;

/// The bytes end too early, or no writer of this version produces them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeError;

/// The result of encoding or decoding a value.
pub type DecodeResult = Result<(), DecodeError>;

/// Encodes values to bytes, or decodes them.
#[derive(Default)]
pub struct Codec {
    bytes: Vec<u8>,
    /// The position of a reader; `None` for a writer.
    at: Option<usize>,
    /// The frames so far, in order: a frame that many outboxes share is encoded once.
    frames: Vec<Frame>,
    /// The index in `frames` by address. `frames` keeps them alive, so no address is reused.
    indexes: BTreeMap<usize, u64>,
}

impl Codec {
    /// A codec that encodes.
    pub fn writer() -> Self {
        Codec::default()
    }

    /// A codec that decodes these bytes.
    pub fn reader(bytes: Vec<u8>) -> Self {
        Codec { bytes, at: Some(0), ..Codec::default() }
    }

    /// Whether the codec decodes.
    pub fn reads(&self) -> bool {
        self.at.is_some()
    }

    /// The encoded bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Checks that a reader has read all bytes.
    ///
    /// # Errors
    ///
    /// Bytes are left, or the codec is a writer.
    pub fn end(&self) -> DecodeResult {
        if self.at == Some(self.bytes.len()) { Ok(()) } else { Err(DecodeError) }
    }

    /// A number: seven bits in each byte, the lowest first; the eighth bit says that more follow.
    ///
    /// # Errors
    ///
    /// The bytes are incomplete or invalid, here and in the following methods.
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

    /// A boolean.
    pub fn flag(&mut self, flag: &mut bool) -> DecodeResult {
        let mut number = u64::from(*flag);
        self.number(&mut number)?;
        *flag = number == 1;
        if number > 1 { Err(DecodeError) } else { Ok(()) }
    }

    /// The number of the following elements, each of which takes at least one byte.
    pub fn count(&mut self, len: usize) -> Result<usize, DecodeError> {
        let mut count = len as u64;
        self.number(&mut count)?;
        let left = self.at.map_or(count, |at| (self.bytes.len() - at) as u64);
        if count > left { Err(DecodeError) } else { Ok(count as usize) }
    }

    /// Encodes these bytes and returns them, or returns the decoded ones.
    fn slice(&mut self, bytes: &[u8]) -> Result<&[u8], DecodeError> {
        let len = self.count(bytes.len())?;
        let from = self.at.unwrap_or(self.bytes.len());
        match &mut self.at {
            Some(at) => *at += len,
            None => self.bytes.extend_from_slice(bytes),
        }
        self.bytes.get(from..from + len).ok_or(DecodeError)
    }

    /// A byte string.
    pub fn bytes(&mut self, bytes: &mut Vec<u8>) -> DecodeResult {
        let read = self.slice(bytes)?;
        if *bytes != read {
            *bytes = read.to_vec();
        }
        Ok(())
    }

    /// A text of any string type.
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
        let address = frame.as_ptr() as usize;
        let mut index = self.indexes.get(&address).copied().unwrap_or(next);
        self.number(&mut index)?;
        if index < next {
            *frame = Rc::clone(&self.frames[index as usize]);
            return Ok(());
        }
        let reads = self.reads();
        let read = self.slice(frame)?;
        if reads {
            *frame = Rc::from(read);
        } else {
            self.indexes.insert(address, next);
        }
        self.frames.push(Rc::clone(frame));
        if index == next { Ok(()) } else { Err(DecodeError) }
    }

    /// An optional value.
    pub fn option<V: Default>(
        &mut self,
        value: &mut Option<V>,
        code_value: impl Fn(&mut Self, &mut V) -> DecodeResult,
    ) -> DecodeResult {
        let mut is_some = value.is_some();
        self.flag(&mut is_some)?;
        match is_some {
            true => code_value(self, value.get_or_insert_default()),
            false => Ok(()),
        }
    }

    /// A list.
    pub fn list<V: Default>(
        &mut self,
        list: &mut Vec<V>,
        code_value: impl Fn(&mut Self, &mut V) -> DecodeResult,
    ) -> DecodeResult {
        let count = self.count(list.len())?;
        list.resize_with(count, V::default);
        list.iter_mut().try_for_each(|value| code_value(self, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Encodes or decodes one value of each kind.
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
    fn decoding_restores_the_values_and_fails_on_every_truncation() {
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
        assert!(Rc::ptr_eq(&read.2[0], &read.2[2]), "a shared frame stays shared");

        for len in 0..bytes.len() {
            let mut reader = Codec::reader(bytes[..len].to_vec());
            let mut read = ([0; 4], String::new(), Vec::new());
            let decoded = code_all(&mut reader, &mut read.0, &mut read.1, &mut read.2);
            assert_eq!(decoded, Err(DecodeError), "{len}");
        }
    }

    #[test]
    fn an_impossible_count_is_rejected_before_allocation() {
        let mut writer = Codec::writer();
        writer.number(&mut { u64::MAX >> 1 }).unwrap();
        let mut reader = Codec::reader(writer.into_bytes());
        let mut list: Vec<u64> = Vec::new();
        assert_eq!(reader.list(&mut list, Codec::number), Err(DecodeError));
        assert_eq!(list.capacity(), 0);
    }
}
