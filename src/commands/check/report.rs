//! The lines that `reverb check` prints, one for each result.

use std::io::Write;

/// Prints the results, and counts the failures.
pub(super) struct Report<'a> {
    pub out: &'a mut dyn Write,
    pub wrong: u32,
}

impl Report<'_> {
    pub(super) fn fine(&mut self, text: &str) {
        self.line("ok     ", text);
    }

    /// Something that may be intended.
    pub(super) fn note(&mut self, text: &str) {
        self.line("note   ", text);
    }

    pub(super) fn wrong(&mut self, text: &str) {
        self.wrong += 1;
        self.line("WRONG  ", text);
    }

    /// Prints a line. A reader that closes the pipe early is no error: the exit code remains.
    pub(super) fn line(&mut self, mark: &str, text: &str) {
        let _ = writeln!(self.out, "{mark}{text}");
    }
}
