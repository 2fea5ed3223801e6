//! The lines that `reverb check` prints, one for each result.

use std::io::Write;

/// Prints results and counts failures.
pub(super) struct Report<'a> {
    pub out: &'a mut dyn Write,
    pub failures: u32,
}

impl Report<'_> {
    pub(super) fn fine(&mut self, text: &str) {
        self.line("ok     ", text);
    }

    /// Reports a finding that may be intended, so it does not count as a failure.
    pub(super) fn note(&mut self, text: &str) {
        self.line("note   ", text);
    }

    pub(super) fn wrong(&mut self, text: &str) {
        self.failures += 1;
        self.line("WRONG  ", text);
    }

    /// Prints a line. An error here, such as a closed pipe, is ignored: the exit code has the
    /// result.
    fn line(&mut self, mark: &str, text: &str) {
        let _ = writeln!(self.out, "{mark}{text}");
    }
}
