//! Encodes metrics in the text format of Prometheus, version 0.0.4. Which metrics exist is decided in
//! the hub.
//!
//! Written by hand because the client crates keep their own registry of atomic counters, while the
//! hub has plain numbers; the format itself takes forty lines.

use std::fmt::{Display, Write};

/// The media type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Builds the text, one metric family after the other.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
    family: &'static str,
}

/// The type of a metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A number that only increases; its name ends in `_total`.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// Numbers of observations by upper bound.
    Histogram,
}

impl Exposition {
    /// Starts a family. `help` is a sentence without line breaks and backslashes.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.family = name;
        // Writing to a String cannot fail, here and below.
        _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Adds a family with a single sample.
    pub fn single(&mut self, name: &'static str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(&[], value);
    }

    /// Adds a sample to the current family.
    pub fn sample(&mut self, labels: &[(&str, &dyn Display)], value: impl Display) {
        self.part("", labels, value);
    }

    /// Adds a sample of a histogram; `suffix` is `_bucket`, `_sum` or `_count`.
    pub fn part(&mut self, suffix: &str, labels: &[(&str, &dyn Display)], value: impl Display) {
        _ = write!(self.text, "{}{suffix}", self.family);
        for (at, (name, label)) in labels.iter().enumerate() {
            let label = label.to_string();
            let label = label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            _ = write!(self.text, "{}{name}=\"{label}\"", if at == 0 { '{' } else { ',' });
        }
        _ = writeln!(self.text, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// The text.
    pub fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_families_have_a_help_text() {
        let mut figures = Exposition::default();
        figures.family("a_total", Kind::Counter, "What it is.");
        figures.sample(&[("app", &"x\\\"\n"), ("code", &4200)], 7);
        figures.single("b", Kind::Gauge, "And this.", 0.5);
        let text = "# HELP a_total What it is.\n# TYPE a_total counter\n\
                    a_total{app=\"x\\\\\\\"\\n\",code=\"4200\"} 7\n\
                    # HELP b And this.\n# TYPE b gauge\nb 0.5\n";
        assert_eq!(figures.finish(), text);
    }
}
