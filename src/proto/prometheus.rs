//! Figures to text, in Prometheus' exposition format, version 0.0.4. Which figures there are is
//! decided elsewhere.

use std::fmt::{Display, Write};

/// The media type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A text that is being written, family by family.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
    family: &'static str,
}

/// What the samples of a family are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows; its name ends in `_total`.
    Counter,
    /// It comes and goes.
    Gauge,
    /// Counts by upper bound.
    Histogram,
}

impl Exposition {
    /// Begins a family of samples. `help` is a sentence without line breaks or backslashes.
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

    /// A family of one sample.
    pub fn single(&mut self, name: &'static str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(&[], value);
    }

    /// One sample of the family that was begun last.
    pub fn sample(&mut self, labels: &[(&str, &dyn Display)], value: impl Display) {
        self.part("", labels, value);
    }

    /// The same of a histogram, with `_bucket`, `_sum` or `_count` behind its name.
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
    fn labels_are_escaped_and_families_explained() {
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
