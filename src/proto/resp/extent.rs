//! Finds where a value from Redis ends and how long it will be, before the value is stored. Reads
//! lines and lengths only; the parser of the `redis` crate decodes the value.

/// The progress of a value that is being received.
pub(super) struct Extent {
    /// The first byte; `None` until it has arrived.
    kind: Option<u8>,
    /// The number of values still to come: this value and the values nested in it.
    values: u64,
    at: At,
    /// The bytes received.
    bytes: u64,
    /// The beginning of the text that exceeded the limit.
    head: Vec<u8>,
}

enum At {
    /// At the first byte of a value.
    Kind,
    /// In the line after the first byte of a value; `digits` is the beginning of the line.
    Line { kind: u8, digits: Vec<u8>, ends: bool },
    /// In a text; `left` bytes are missing, including the CRLF at its end.
    Text { left: u64, is_shown: bool },
}

/// The bytes do not follow the protocol.
pub(super) struct Malformed;

impl Extent {
    pub(super) fn new() -> Self {
        Extent { kind: None, values: 1, at: At::Kind, bytes: 0, head: Vec::new() }
    }

    /// Whether the value is a push, which is not a reply.
    pub(super) fn is_push(&self) -> bool {
        self.kind == Some(b'>')
    }

    /// The bytes received, plus the missing bytes of the current text.
    pub(super) fn bytes(&self) -> u64 {
        match self.at {
            At::Text { left, .. } => self.bytes.saturating_add(left),
            _ => self.bytes,
        }
    }

    /// The beginning of the text that exceeded the limit.
    pub(super) fn into_head(self) -> Vec<u8> {
        self.head
    }

    /// Reads `bytes`. Returns how many of them belong to this value, and whether it is complete.
    pub(super) fn follow(&mut self, bytes: &[u8], max: u64) -> Result<(usize, bool), Malformed> {
        let mut rest = bytes;
        while let Some((&first, others)) = rest.split_first() {
            match &mut self.at {
                At::Kind => {
                    self.kind = self.kind.or(Some(first));
                    // No value is expected after an error, so every further byte is an error.
                    self.values = self.values.checked_sub(1).ok_or(Malformed)?;
                    self.at = At::Line { kind: first, digits: Vec::new(), ends: false };
                    (self.bytes, rest) = (self.bytes + 1, others);
                    continue;
                }
                At::Line { kind, digits, ends } => {
                    let is_end = std::mem::replace(ends, first == b'\r') && first == b'\n';
                    (self.bytes, rest) = (self.bytes + 1, others);
                    if !is_end {
                        // A longer line is not a number, or has too much white space around it.
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

    /// Determines what follows the line of a value.
    fn end_line(&mut self, kind: u8, digits: &[u8], max: u64) -> Result<(), Malformed> {
        self.at = At::Kind;
        if matches!(kind, b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(') {
            return Ok(());
        }
        let number = std::str::from_utf8(digits).ok().and_then(|text| text.trim().parse().ok());
        let number: i64 = number.ok_or(Malformed)?;
        let count = u64::try_from(number);
        let values = match kind {
            b'$' | b'!' | b'=' => {
                let len = match (count, kind) {
                    (Ok(len), _) => len,
                    // A null has a negative length.
                    (Err(_), b'$') => return Ok(()),
                    (Err(_), _) => return Err(Malformed),
                };
                let left = len.saturating_add(2);
                let is_shown = self.bytes.saturating_add(left) > max && self.head.is_empty();
                self.at = At::Text { left, is_shown };
                return Ok(());
            }
            b'*' | b'~' | b'>' => count.unwrap_or(0),
            b'%' => count.ok().and_then(|count| count.checked_mul(2)).ok_or(Malformed)?,
            // The attributes precede the value to which they belong, which counts too.
            b'|' => {
                let count = count.ok().and_then(|count| count.checked_mul(2)).ok_or(Malformed)?;
                count.checked_add(1).ok_or(Malformed)?
            }
            _ => return Err(Malformed),
        };
        self.values = self.values.saturating_add(values);
        Ok(())
    }
}

/// The most bytes stored of a line: the longest number with some white space.
const DIGITS_MAX: usize = 64;
/// The bytes kept of a skipped text: enough of an envelope for its sender and sequence number.
const HEAD_BYTES: usize = 128;
