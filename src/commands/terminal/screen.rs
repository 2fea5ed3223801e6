//! What may be written to a terminal: text of strangers without control characters, colours where they
//! are wanted, and a quiet end if the reader has gone.

use std::io::{self, IsTerminal, Write};

use crate::commands::Failure;
use crate::proto::shown::is_unsafe_to_show;

/// Colours of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
    Blue = 34,
    Cyan = 36,
    Grey = 90,
}

/// Whether output has colours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Colours(pub bool);

impl Colours {
    /// Colours on a terminal, unless `NO_COLOR` is set or the terminal cannot show them.
    pub(super) fn of_stdout() -> Self {
        let is_set = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Colours(io::stdout().is_terminal() && !is_set && !is_dumb)
    }

    /// A text in a colour.
    pub(super) fn paint(self, colour: Colour, text: &str) -> String {
        match self.0 {
            true => format!("\x1b[{}m{text}\x1b[0m", colour as u8),
            false => text.to_owned(),
        }
    }
}

/// A text on one line, with characters escaped that affect the display.
pub(super) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if !is_unsafe_to_show(c) => shown.push(c),
            '\n' | '\r' | '\t' => shown.extend(c.escape_default()),
            c => shown.extend(c.escape_unicode()),
        }
    }
    shown
}

/// The first characters of a text, escaped; an ellipsis follows if some are missing.
pub(super) fn shortened(text: &str, characters_max: usize) -> String {
    match text.char_indices().nth(characters_max) {
        Some((end, _)) => format!("{}…", escaped(&text[..end])),
        None => escaped(text),
    }
}

/// A JSON text on one line that means the same. Control characters are escaped: within a string JSON
/// allows some of them, and elsewhere they are white space.
pub(super) fn json_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => line.push(' '),
            c if is_unsafe_to_show(c) => line.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => line.push(c),
        }
    }
    line
}

/// Writes a line.
pub(super) fn print(out: &mut dyn Write, line: &str) -> Result<(), Failure> {
    // One write: a process that ends between two of them would print half a line.
    out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()).map_err(written)
}

/// Writes a note about the command itself to standard error.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "reverb: {text}");
}

/// The failure of a write.
pub(super) fn written(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure { text: String::new(), exit_code: 0 },
        _ => Failure::at_work(format!("cannot write the output: {error}")),
    }
}

/// The result of a command that has failed. A closed pipe is not an error: its reader has read enough.
pub(super) fn ended(failure: Failure) -> Result<(), Failure> {
    match failure.exit_code {
        0 => Ok(()),
        _ => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_strangers_cannot_affect_the_terminal() {
        let hostile = "a\x1b[2J\u{9b}31m\n\u{202e}b\u{7f}é";
        let shown = escaped(hostile);
        assert_eq!(shown, "a\\u{1b}[2J\\u{9b}31m\\n\\u{202e}b\\u{7f}é");
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("ab\ncd", 3), "ab\\n…");
    }

    #[test]
    fn a_json_line_means_what_the_text_means() {
        let text = "{\n\t\"a\": \"\u{9b}2J\u{7f}\u{202e}é\\n\"\r\n}";
        let line = json_line(text);
        assert!(line.chars().all(|c| !is_unsafe_to_show(c)), "{line:?}");
        let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(parse(&line), parse(text));
    }

    #[test]
    fn colours_are_optional() {
        assert_eq!(Colours(true).paint(Colour::Red, "x"), "\x1b[31mx\x1b[0m");
        assert_eq!(Colours(false).paint(Colour::Red, "x"), "x");
    }
}
