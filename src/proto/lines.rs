//! Splits bytes that arrive in pieces into lines, within a limit. What a line contains is not known
//! here.

/// The lines of a stream of bytes.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// Up to where there is no further line end.
    searched: usize,
}

/// A line is longer than [`LINE_BYTES_MAX`].
#[derive(Debug, PartialEq, Eq)]
pub struct LineTooLong;

impl Lines {
    /// Adds bytes after those before.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.searched -= std::mem::take(&mut self.start);
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole line, without its end; bytes that are not UTF-8 are replaced. `None` if more
    /// bytes are needed.
    ///
    /// # Errors
    ///
    /// The line is too long; there is no next one.
    pub fn next_line(&mut self) -> Result<Option<String>, LineTooLong> {
        let end = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n');
        let len = end.map_or(self.bytes.len(), |at| self.searched + at) - self.start;
        if len > LINE_BYTES_MAX {
            return Err(LineTooLong);
        }
        self.searched = self.start + len;
        let Some(_) = end else { return Ok(None) };
        let line = String::from_utf8_lossy(&self.bytes[self.start..self.searched]).into_owned();
        self.searched += 1;
        self.start = self.searched;
        Ok(Some(line))
    }
}

/// The most bytes of a line. A line of the feed has at most `limits.feed_queue_bytes`, by default 384
/// KiB, and nearly all have less than 2 KiB.
pub const LINE_BYTES_MAX: usize = 1_048_576;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_wherever_they_are_split() {
        let text = "one\n\ntwo\r\nthree";
        for piece in 1..=text.len() {
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            for piece in text.as_bytes().chunks(piece) {
                lines.push(piece);
                while let Some(line) = lines.next_line().unwrap() {
                    found.push(line);
                }
            }
            assert_eq!(found, ["one", "", "two\r"], "in pieces of {piece}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_an_error_before_its_end() {
        let mut lines = Lines::default();
        lines.push(&vec![b'x'; LINE_BYTES_MAX]);
        assert_eq!(lines.next_line(), Ok(None));
        lines.push(b"x");
        assert_eq!(lines.next_line(), Err(LineTooLong));
    }
}
