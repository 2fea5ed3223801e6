//! Medians and Markdown. A ratio is the median of the ratios of pairs: two values measured in
//! turns. The table shows whether a target was met; a missed target does not fail the run.

use std::fmt::Write;

/// One row: measured values, their reference values, and the target.
pub struct Row {
    pub what: String,
    pub ours: Vec<f64>,
    pub reference: Vec<f64>,
    /// The maximum of the ratio, or of the value if there is no reference.
    pub target: Option<f64>,
}

/// A part of the report.
pub struct Table {
    /// The measured quantity, with its unit and its reference.
    pub title: String,
    pub rows: Vec<Row>,
    /// The printed lines of a table without comparisons, the heads first.
    pub lines: Vec<Vec<String>>,
}

impl Table {
    pub fn new(title: impl Into<String>) -> Self {
        Table { title: title.into(), rows: Vec::new(), lines: Vec::new() }
    }

    /// A value without a reference.
    pub fn value(&mut self, what: impl Into<String>, ours: Vec<f64>, target: Option<f64>) {
        self.rows.push(Row { what: what.into(), ours, reference: Vec::new(), target });
    }

    /// A value compared with a reference.
    pub fn ratio(
        &mut self,
        what: impl Into<String>,
        ours: Vec<f64>,
        reference: &[f64],
        target: Option<f64>,
    ) {
        self.rows.push(Row { what: what.into(), ours, reference: reference.to_vec(), target });
    }

    /// A line as it is printed.
    pub fn line(&mut self, cells: impl IntoIterator<Item = String>) {
        self.lines.push(cells.into_iter().collect());
    }

    pub fn markdown(&self) -> String {
        let mut text = format!("\n### {}\n\n", self.title);
        for (at, cells) in self.lines.iter().enumerate() {
            let _ = writeln!(text, "| {} |", cells.join(" | "));
            if at == 0 {
                let _ = writeln!(text, "|---{}|", "|---:".repeat(cells.len() - 1));
            }
        }
        if !self.lines.is_empty() {
            return text;
        }
        text.push_str(
            "| | measured, median | compared with, median | median ratio of pairs | target | |\n",
        );
        text.push_str("|---|---:|---:|---:|---:|---|\n");
        for Row { what, ours, reference, target } in &self.rows {
            let (judged, compared, ratio) = match reference.is_empty() {
                true => (median(ours), "–".into(), "–".into()),
                false => {
                    // By pairs: values measured at about the same time are compared.
                    let pairs = ours.iter().zip(reference).map(|(ours, other)| ours / other);
                    let ratio = median(&pairs.collect::<Vec<f64>>());
                    (ratio, spread(reference), format!("{ratio:.2}"))
                }
            };
            let target_text = target.map_or("–".into(), |t| format!("≤ {}", number(t)));
            let met = target.map_or("", |target| if judged <= target { "met" } else { "missed" });
            let measured = spread(ours);
            let _ = writeln!(
                text,
                "| {what} | {measured} | {compared} | {ratio} | {target_text} | {met} |"
            );
        }
        text
    }
}

/// The middle value.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        len => (sorted[(len - 1) / 2] + sorted[len / 2]) / 2.0,
    }
}

/// The value below which this part of all values is.
pub fn percentile(values: &[u64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() as f64 * part) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).map_or(f64::NAN, |&value| value as f64)
}

/// The median, with the smallest and the largest value if there are several.
fn spread(values: &[f64]) -> String {
    let (least, most) =
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &v| (a.min(v), b.max(v)));
    match values.len() {
        0 | 1 => number(median(values)),
        _ => format!("{} ({} – {})", number(median(values)), number(least), number(most)),
    }
}

/// Three significant digits.
pub fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => {
            let digits = format!("{:.0}", value.abs());
            let mut text = String::from(if value < 0.0 { "-" } else { "" });
            for (n, digit) in digits.chars().enumerate() {
                if n > 0 && (digits.len() - n) % 3 == 0 {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
    }
}
