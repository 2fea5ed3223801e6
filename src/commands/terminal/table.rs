//! The table of `reverb top` as lines of text, for a terminal of any width or for a file.

use super::board::{Row, View};
use super::screen::{Colour, Colours, escaped};
use crate::args::terminal::Sort;

/// The size of a terminal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub columns: usize,
    pub rows: usize,
}

/// The whole table, with whole names and exact numbers.
pub(super) fn plain(title: &str, view: &View) -> Vec<String> {
    let mut lines = vec![format!("{title}, {}", summary(view)), rates(view)];
    lines.extend(view.problem.clone());
    lines.push(heads());
    lines.extend(view.rows.iter().map(|row| {
        let Row { subscribers, messages_per_s, bytes_per_s, .. } = row;
        let name = escaped(&row.channel);
        cells(&subscribers.to_string(), &fraction(*messages_per_s), &fraction(*bytes_per_s), &name)
    }));
    lines
}

/// As many channels as a terminal of this size has room for.
pub(super) fn fitted(
    title: &str,
    view: &View,
    sort: Sort,
    size: Size,
    colours: Colours,
) -> Vec<String> {
    let width = size.columns;
    let mut lines = vec![cut(title, width), cut(&summary(view), width), cut(&rates(view), width)];
    if let Some(problem) = &view.problem {
        lines.push(colours.paint(Colour::Red, &cut(&escaped(problem), width)));
    }
    lines.push(colours.paint(Colour::Cyan, &cut(&heads(), width)));
    let room = size.rows.saturating_sub(lines.len() + 1);
    let name_width = width.saturating_sub(NAME_COLUMN);
    lines.extend(view.rows.iter().take(room).map(|row| {
        let name = cut(&escaped(&row.channel), name_width);
        let [subscribers, messages, bytes] =
            [row.subscribers as f64, row.messages_per_s, row.bytes_per_s].map(short);
        cut(&cells(&subscribers, &messages, &bytes, &name), width)
    }));
    lines.resize(size.rows.saturating_sub(1).max(lines.len()), String::new());
    lines.push(colours.paint(Colour::Grey, &cut(&keys(sort), width)));
    lines.truncate(size.rows);
    lines
}

fn summary(view: &View) -> String {
    let subscribers: u64 = view.rows.iter().map(|row| row.subscribers).sum();
    let counts = [
        counted(view.nodes as u64, "node"),
        counted(view.rows.len() as u64, "channel"),
        counted(subscribers, "subscriber"),
    ];
    counts.join(", ")
}

fn rates(view: &View) -> String {
    // The sum of no numbers is a negative zero.
    let messages = 0.0 + view.rows.iter().map(|row| row.messages_per_s).sum::<f64>();
    let bytes = 0.0 + view.rows.iter().map(|row| row.bytes_per_s).sum::<f64>();
    let rates = format!("{} messages/s, {} bytes/s", fraction(messages), fraction(bytes));
    match view.dropped {
        0 => rates,
        dropped => format!("{rates}; {} missed, so rates are low", counted(dropped, "message")),
    }
}

fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

fn heads() -> String {
    cells("SUBS", "MSG/S", "BYTES/S", "CHANNEL")
}

/// The name is last, so that its width does not matter to the columns.
fn cells(subscribers: &str, messages: &str, bytes: &str, name: &str) -> String {
    format!("{subscribers:>7} {messages:>7} {bytes:>8}  {name}")
}

/// The column in which names begin.
const NAME_COLUMN: usize = 7 + 1 + 7 + 1 + 8 + 2;

/// The keys in 40 columns, with the present order in capitals.
fn keys(sort: Sort) -> String {
    let keys = [
        (Sort::Subscribers, "s subs"),
        (Sort::Messages, "m msgs"),
        (Sort::Bytes, "b bytes"),
        (Sort::Name, "n name"),
    ];
    let keys = keys.map(|(key, text)| match key == sort {
        true => text.to_ascii_uppercase(),
        false => text.to_owned(),
    });
    format!("{}  q quit", keys.join("  "))
}

/// A number with one digit after the point, if it has a fraction.
fn fraction(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// A number in at most seven characters.
fn short(number: f64) -> String {
    match number {
        ..1_000.0 => fraction(number),
        ..100_000.0 => format!("{number:.0}"),
        ..9_999_950.0 => format!("{:.1}k", number / 1_000.0),
        ..9_999_950_000.0 => format!("{:.1}M", number / 1_000_000.0),
        _ => format!("{:.1}G", number / 1_000_000_000.0),
    }
}

/// As much of a text as this many columns have room for, with an ellipsis at the end if some is missing.
fn cut(text: &str, columns_max: usize) -> String {
    let width: usize = text.chars().map(columns).sum();
    if width <= columns_max {
        return text.to_owned();
    }
    let (mut cut, mut used) = (String::new(), 1);
    for c in text.chars() {
        used += columns(c);
        if used > columns_max {
            break;
        }
        cut.push(c);
    }
    if columns_max > 0 {
        cut.push('…');
    }
    cut
}

/// The columns of a character, or more: scripts with wide characters, and emoji, have two. A library
/// would know each character exactly; too many columns only cut a name early.
fn columns(c: char) -> usize {
    match u32::from(c) {
        0x1100..=0x115F | 0x2300..=0x27BF | 0x2B00..=0x2BFF | 0x2E80..=0xA4CF => 2,
        0xAC00..=0xD7A3 | 0xF900..=0xFAFF | 0xFE30..=0xFE6F | 0xFF00..=0xFF60 => 2,
        0xFFE0..=0xFFE6 | 0x1F000..=0x1FAFF | 0x20000..=0x3FFFD => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        let row = |channel: &str, subscribers, messages_per_s, bytes_per_s| Row {
            channel: channel.to_owned(),
            subscribers,
            messages_per_s,
            bytes_per_s,
        };
        let rows = vec![
            row(&"x".repeat(200), 1_234_567, 0.5, 123_456.0),
            row("漢字漢字漢字漢字漢字漢字", 2, 0.0, 0.0),
            row("a\u{1b}[2J", 1, 1.0, 10.0),
        ];
        View { rows, nodes: 1, ..View::default() }
    }

    #[test]
    fn the_plain_table_has_whole_names_and_exact_numbers() {
        let lines = plain("app 1 at http://a", &view());
        let name = "x".repeat(200);
        assert_eq!(lines[0], "app 1 at http://a, 1 node, 3 channels, 1234570 subscribers");
        assert_eq!(lines[1], "1.5 messages/s, 123466 bytes/s");
        assert_eq!(lines[2], "   SUBS   MSG/S  BYTES/S  CHANNEL");
        assert_eq!(lines[3], format!("1234567     0.5   123456  {name}"));
        assert_eq!(lines[5], "      1       1       10  a\\u{1b}[2J");
    }

    #[test]
    fn an_app_without_channels_has_zeros() {
        let view = View { nodes: 2, dropped: 1, ..View::default() };
        let lines = plain("t", &view);
        assert_eq!(lines[0], "t, 2 nodes, 0 channels, 0 subscribers");
        assert_eq!(lines[1], "0 messages/s, 0 bytes/s; 1 message missed, so rates are low");
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let mut view = view();
        view.problem = Some("the connection has ended; this is a long text about it".into());
        view.dropped = 12;
        let width = |line: &str| line.chars().map(columns).sum::<usize>();
        for columns in 40..120 {
            let size = Size { columns, rows: 24 };
            let title = "reverb top, app 1 at https://ws.example.com:8443/prefix";
            let lines = fitted(title, &view, Sort::Bytes, size, Colours(false));
            assert_eq!(lines.len(), 24);
            assert!(lines.iter().all(|line| width(line) <= columns), "{columns}: {lines:#?}");
            assert_eq!(lines[23], "s subs  m msgs  B BYTES  n name  q quit");
        }
        let size = Size { columns: 40, rows: 24 };
        let lines = fitted("t", &view, Sort::Bytes, size, Colours(false));
        assert_eq!(lines[5], format!("1234.6k     0.5   123.5k  {}…", "x".repeat(13)));
        assert_eq!(lines[6], "      2       0        0  漢字漢字漢字…");
    }

    #[test]
    fn a_low_terminal_has_fewer_channels() {
        let size = Size { columns: 80, rows: 6 };
        let lines = fitted("t", &view(), Sort::Name, size, Colours(false));
        assert_eq!(lines.len(), 6);
        assert!(lines[4].ends_with('…') && lines[5].contains("N NAME"), "{lines:#?}");
        for rows in 1..6 {
            let size = Size { columns: 80, rows };
            assert_eq!(fitted("t", &view(), Sort::Name, size, Colours(false)).len(), rows);
        }
    }

    #[test]
    fn numbers_are_short() {
        let numbers = [0.0, 0.25, 999.9, 1_000.4, 99_999.0, 100_000.0, 1e8, 1e12];
        let short = numbers.map(short);
        assert_eq!(short, ["0", "0.2", "999.9", "1000", "99999", "100.0k", "100.0M", "1000.0G"]);
    }
}
