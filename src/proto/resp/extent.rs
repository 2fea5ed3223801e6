//! Where a thing Redis says ends, and how long it will be, before it is kept: its lines and lengths
//! are followed, and nothing is made of it.

/// How far a thing has come.
pub(super) struct Extent {
    /// Its first byte, once it has begun.
    kind: Option<u8>,
    /// Values that are still to come of it.
    values: u64,
    at: At,
    /// Bytes of it so far.
    bytes: u64,
    /// The beginning of the text that made it too long.
    head: Vec<u8>,
}

enum At {
    /// A value begins.
    Kind,
    /// The line behind the first byte of a value; `digits` as far as it may be a number.
    Line { kind: u8, digits: Vec<u8>, ends: bool },
    /// A text, of which so many bytes are left, those of the line's end among them.
    Text { left: u64, is_shown: bool },
}

/// It is not the protocol.
pub(super) struct Garbage;

impl Extent {
    pub(super) fn new() -> Self {
        Extent { kind: None, values: 1, at: At::Kind, bytes: 0, head: Vec::new() }
    }

    /// Whether something comes that answers nothing.
    pub(super) fn is_push(&self) -> bool {
        self.kind == Some(b'>')
    }

    /// Bytes of it, with those of a text that is announced.
    pub(super) fn bytes(&self) -> u64 {
        match self.at {
            At::Text { left, .. } => self.bytes.saturating_add(left),
            _ => self.bytes,
        }
    }

    /// The beginning of the text with which it became longer than was allowed.
    pub(super) fn into_head(self) -> Vec<u8> {
        self.head
    }

    /// Follows these bytes: how many are of this thing, and whether it is whole.
    pub(super) fn follow(&mut self, bytes: &[u8], max: u64) -> Result<(usize, bool), Garbage> {
        let mut rest = bytes;
        while let Some((&first, behind)) = rest.split_first() {
            match &mut self.at {
                At::Kind => {
                    self.kind = self.kind.or(Some(first));
                    // After an error nothing more is to come; bytes that come all the same are none.
                    self.values = self.values.checked_sub(1).ok_or(Garbage)?;
                    self.at = At::Line { kind: first, digits: Vec::new(), ends: false };
                    (self.bytes, rest) = (self.bytes + 1, behind);
                    continue;
                }
                At::Line { kind, digits, ends } => {
                    let is_end = std::mem::replace(ends, first == b'\r') && first == b'\n';
                    (self.bytes, rest) = (self.bytes + 1, behind);
                    if !is_end {
                        // What is longer is no number, or one that has not been trimmed.
                        if digits.len() < DIGITS_MAX {
                            digits.push(first);
                        }
                        continue;
                    }
                    let (kind, digits) = (*kind, std::mem::take(digits));
                    self.end_line(kind, &digits, max)?;
                }
                At::Text { left, is_shown } => {
                    let taken = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    if *is_shown {
                        let room = HEAD_BYTES - self.head.len();
                        self.head.extend_from_slice(&rest[..taken.min(room)]);
                    }
                    *left -= taken as u64;
                    let is_end = *left == 0;
                    (self.bytes, rest) = (self.bytes.saturating_add(taken as u64), &rest[taken..]);
                    if is_end {
                        self.at = At::Kind;
                    }
                }
            }
            if self.values == 0 && matches!(self.at, At::Kind) {
                return Ok((bytes.len() - rest.len(), true));
            }
        }
        Ok((bytes.len(), false))
    }

    /// What follows a value's line.
    fn end_line(&mut self, kind: u8, digits: &[u8], max: u64) -> Result<(), Garbage> {
        self.at = At::Kind;
        if matches!(kind, b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(') {
            return Ok(());
        }
        let number = std::str::from_utf8(digits).ok().and_then(|text| text.trim().parse().ok());
        let number: i64 = number.ok_or(Garbage)?;
        let count = u64::try_from(number);
        let values = match kind {
            b'$' | b'!' | b'=' => {
                let len = match (count, kind) {
                    (Ok(len), _) => len,
                    // Nothing.
                    (Err(_), b'$') => return Ok(()),
                    (Err(_), _) => return Err(Garbage),
                };
                let left = len.saturating_add(2);
                let is_shown = self.bytes.saturating_add(left) > max && self.head.is_empty();
                self.at = At::Text { left, is_shown };
                return Ok(());
            }
            b'*' | b'~' | b'>' => count.unwrap_or(0),
            b'%' => count.ok().and_then(|count| count.checked_mul(2)).ok_or(Garbage)?,
            // The value that has the attributes stands behind them.
            b'|' => {
                let count = count.ok().and_then(|count| count.checked_mul(2)).ok_or(Garbage)?;
                count.checked_add(1).ok_or(Garbage)?
            }
            _ => return Err(Garbage),
        };
        self.values = self.values.saturating_add(values);
        Ok(())
    }
}

/// More than the longest number has, with some room around it.
const DIGITS_MAX: usize = 64;
/// Enough of an envelope to see which it is.
const HEAD_BYTES: usize = 128;
