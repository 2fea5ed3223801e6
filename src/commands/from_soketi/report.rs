//! What became of each setting of soketi: a line for each, without its value, which may be a secret.

/// The lines, in the order of the settings.
#[derive(Default)]
pub(super) struct Report {
    lines: Vec<String>,
}

impl Report {
    /// A setting has become one of this server.
    pub(super) fn mapped(&mut self, from: &str, to: &str) {
        self.lines.push(format!("mapped      {} -> {to}", from.escape_debug()));
    }

    /// A setting has become nothing.
    pub(super) fn not_mapped(&mut self, from: &str, why: &str) {
        self.lines.push(format!("not mapped  {}: {why}", from.escape_debug()));
    }

    /// What was mapped to this setting has become nothing after all.
    pub(super) fn revoke(&mut self, to: &str, why: &str) {
        for line in &mut self.lines {
            let mapped = line.strip_prefix("mapped      ").and_then(|rest| rest.split_once(" -> "));
            if let Some((from, _)) = mapped.filter(|(_, found)| *found == to) {
                *line = format!("not mapped  {from}: {why}");
            }
        }
    }

    /// Something else that the operator should know.
    pub(super) fn note(&mut self, text: &str) {
        self.lines.push(format!("note        {text}"));
    }

    /// All lines.
    pub(super) fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }
}
