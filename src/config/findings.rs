//! What an operator should know about a configuration that is valid. Errors are in `error`; the
//! commands print the findings.

/// The findings about a configuration, one line each.
#[derive(Debug, Default, PartialEq)]
pub struct Findings {
    /// Likely mistakes.
    pub warnings: Vec<String>,
    /// Findings that may be intended.
    pub notes: Vec<String>,
}

impl Findings {
    /// Adds a likely mistake.
    pub fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    /// Adds other findings.
    pub fn extend(&mut self, other: Findings) {
        self.warnings.extend(other.warnings);
        self.notes.extend(other.notes);
    }

    /// Adds a finding that may be intended.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }
}
