//! Parses `.env` files by the rules of phpdotenv 5.
//!
//! Written by hand because the Laravel app reads the same file with phpdotenv, and both must get the
//! same key and secret; Rust's dotenv crates have other rules for quotes, escapes and `${OTHER}`.
//!
//! Two differences: a line that begins with `#` is a comment regardless of the quotes in it, and
//! the length of expanded values is limited. The meaning of the names is in `variables`.

use std::collections::BTreeMap;

/// The value of a variable, and its line.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value after quotes, escapes and `${OTHER}` are resolved; it may be empty.
    pub value: String,
    /// The line of the name, from 1.
    pub line: usize,
}

/// A syntax error. It contains no part of a value, which may be secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// The first line of the invalid entry, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// The most bytes of an expanded value: Linux passes no longer variable to a process.
pub const VALUE_BYTES_MAX: usize = 131_072;
const VALUE_TOO_LONG: &str = "the value is longer than 128 KiB after ${...} is expanded";
/// The most bytes of all expanded values: Linux passes no more variables to a process. Without a
/// limit, twenty lines with twenty `${OTHER}` each would fill the memory of any machine.
pub const VALUES_BYTES_MAX: usize = 2_097_152;
const VALUES_TOO_LONG: &str =
    "the values up to this line are longer than 2 MiB after ${...} is expanded";

/// Parses the text of a `.env` file. The last value of a repeated name counts.
///
/// `outside` returns the variables of the process, which take precedence over earlier lines when
/// `${OTHER}` is expanded; an unknown name stays as it is.
///
/// # Errors
///
/// The first entry that phpdotenv would reject, or that is too long.
pub fn parse(
    text: &str,
    outside: impl Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, Entry>, SyntaxError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    let mut rest = text.as_str();
    let mut line = 1;
    let mut values_bytes = 0;
    while !rest.is_empty() {
        let refused = |reason| SyntaxError { line, reason };
        let length = rest.find('\n').unwrap_or(rest.len());
        let this_line = &rest[..length];
        let mut taken = length;
        if !is_blank_or_comment(this_line) {
            match this_line.split_once('=') {
                // A name without `=` removes the value, like `unset`.
                None => {
                    entries.remove(name(this_line).map_err(refused)?);
                }
                Some((before, _)) => {
                    let name = name(before).map_err(refused)?;
                    let start = before.len() + 1;
                    let raw = value(&rest[start..]).map_err(refused)?;
                    taken = start + raw.length;
                    let known = |other: &str| {
                        outside(other).or_else(|| entries.get(other).map(|e| e.value.clone()))
                    };
                    let value = raw.resolved(known).map_err(refused)?;
                    values_bytes += value.len();
                    if values_bytes > VALUES_BYTES_MAX {
                        return Err(refused(VALUES_TOO_LONG));
                    }
                    entries.insert(name.to_owned(), Entry { value, line });
                }
            }
        }
        line += rest[..taken].matches('\n').count() + 1;
        rest = rest.get(taken + 1..).unwrap_or("");
    }
    Ok(entries)
}

fn is_blank_or_comment(line: &str) -> bool {
    let line = line.trim_matches(is_space);
    line.is_empty() || line.starts_with('#')
}

/// The name in the text before `=`, without `export` and quotes.
fn name(text: &str) -> Result<&str, &'static str> {
    let mut name = text.trim_matches(is_space);
    if name.is_empty() {
        return Err("no name before the equals sign");
    }
    if let Some(exported) = name.strip_prefix("export")
        && exported.starts_with(is_space)
    {
        name = exported.trim_start_matches(is_space);
    }
    for quote in ['"', '\''] {
        if let Some(inner) = name.strip_prefix(quote).and_then(|n| n.strip_suffix(quote)) {
            name = inner;
        }
    }
    if !name.is_empty() && name.chars().all(is_name_character) {
        Ok(name)
    } else {
        Err("a name may contain only letters, digits, underscores and dots")
    }
}

/// A value without quotes and escapes, before variables are expanded.
struct Raw {
    text: String,
    /// The positions of each `$` that may start a `${OTHER}`: neither escaped nor in single quotes.
    dollars: Vec<usize>,
    /// The length of the source that was read, in bytes.
    length: usize,
}

impl Raw {
    /// The value with its variables expanded.
    fn resolved(self, known: impl Fn(&str) -> Option<String>) -> Result<String, &'static str> {
        let (mut value, mut rest) = (String::new(), self.text.as_str());
        let mut push = |part: &str| {
            let fits = value.len() + part.len() <= VALUE_BYTES_MAX;
            fits.then(|| value.push_str(part)).ok_or(VALUE_TOO_LONG)
        };
        for &at in &self.dollars {
            // No name contains a `$`, so the previous variable ends before this one.
            let Some(other) = variable(&self.text[at..]) else { continue };
            let Some(expansion) = known(other) else { continue };
            let before = at + rest.len() - self.text.len();
            push(&rest[..before])?;
            push(&expansion)?;
            rest = &self.text[at + other.len() + 3..];
        }
        push(rest)?;
        Ok(value)
    }
}

/// The name in a `${OTHER}` at the beginning of the text.
fn variable(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("${")?;
    let end = inner.find(|c| !is_name_character(c))?;
    (end > 0 && inner[end..].starts_with('}')).then(|| &inner[..end])
}

/// The value at the beginning of `source`, which is the rest of the file after the equals sign.
fn value(source: &str) -> Result<Raw, &'static str> {
    let first = source.trim_start_matches(|c| c != '\n' && is_space(c));
    let indent = source.len() - first.len();
    let mut raw = Raw { text: String::new(), dollars: Vec::new(), length: indent };
    match first.chars().next() {
        Some('"') => double_quoted(first, &mut raw)?,
        Some('\'') => single_quoted(first, &mut raw)?,
        _ => unquoted(first, &mut raw),
    }
    let after = &source[raw.length..];
    let after = &after[..after.find('\n').unwrap_or(after.len())];
    if !is_blank_or_comment(after) {
        return Err("unexpected text after the value; put a value with spaces in double quotes");
    }
    raw.length += after.len();
    Ok(raw)
}

/// Reads a value in double quotes, which may have several lines.
fn double_quoted(source: &str, raw: &mut Raw) -> Result<(), &'static str> {
    let mut characters = source.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => {
                raw.length += at + 1;
                return Ok(());
            }
            '\\' => raw.text.push(match characters.next() {
                Some((_, same @ ('"' | '\\' | '$'))) => same,
                Some((_, 'n')) => '\n',
                Some((_, 'r')) => '\r',
                Some((_, 't')) => '\t',
                Some((_, 'f')) => '\x0c',
                Some((_, 'v')) => '\x0b',
                Some(_) => {
                    return Err("unknown escape; write a backslash in double quotes as \\\\");
                }
                None => break,
            }),
            _ => {
                if character == '$' {
                    raw.dollars.push(raw.text.len());
                }
                raw.text.push(character);
            }
        }
    }
    Err("missing closing double quote")
}

/// Reads a value in single quotes: everything is literal, and it ends in the same line.
fn single_quoted(source: &str, raw: &mut Raw) -> Result<(), &'static str> {
    let line = &source[1..source.find('\n').unwrap_or(source.len())];
    let (text, _) = line.split_once('\'').ok_or("missing closing single quote")?;
    raw.text.push_str(text);
    raw.length += text.len() + 2;
    Ok(())
}

/// Reads a value up to white space or `#`, which needs no space before it.
fn unquoted(source: &str, raw: &mut Raw) {
    let text = &source[..source.find(|c| c == '#' || is_space(c)).unwrap_or(source.len())];
    raw.dollars.extend(text.match_indices('$').map(|(at, _)| at));
    raw.text.push_str(text);
    raw.length += text.len();
}

fn is_name_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '.')
}

fn is_space(character: char) -> bool {
    character.is_ascii_whitespace() || character == '\x0b'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> String {
        let entries = parse(text, |_| None).unwrap();
        assert_eq!(entries.len(), 1, "{:?}", entries.keys());
        entries.into_values().next().unwrap().value
    }

    fn reason(text: &str) -> (usize, &'static str) {
        match parse(text, |_| None) {
            Ok(_) => panic!("{text:?} was accepted"),
            Err(error) => (error.line, error.reason),
        }
    }

    #[test]
    fn a_plain_value_ends_at_white_space_or_a_hash() {
        assert_eq!(one("A=b"), "b");
        assert_eq!(one("  A  =  b  "), "b");
        assert_eq!(one("A=b # why"), "b");
        assert_eq!(one("A=b#why"), "b");
        assert_eq!(one("A=a\"b'c\\n"), "a\"b'c\\n");
        assert_eq!(one("A=x=y"), "x=y");
    }

    #[test]
    fn an_empty_value_is_an_empty_value() {
        for text in ["A=", "A= ", "A=\"\"", "A=''", "A=#x", "A= # x", "A=\n"] {
            assert_eq!(one(text), "", "{text:?}");
        }
    }

    #[test]
    fn single_quotes_are_literal() {
        assert_eq!(one(r"A='a #$ \n \ ${B} ' # why"), r"a #$ \n \ ${B} ");
    }

    #[test]
    fn double_quotes_have_escapes() {
        assert_eq!(one(r#"A="a\n\r\t\f\v\\\"\$ # b" # why"#), "a\n\r\t\x0c\x0b\\\"$ # b");
    }

    #[test]
    fn a_double_quoted_value_may_have_several_lines() {
        let entries = parse("A=\"one\r\ntwo\n\" # why\nB=c", |_| None).unwrap();
        assert_eq!(entries["A"].value, "one\ntwo\n");
        assert_eq!((entries["B"].value.as_str(), entries["B"].line), ("c", 4));
    }

    #[test]
    fn comments_blank_lines_export_and_the_byte_order_mark_are_ignored() {
        let text = "\u{feff}# A=\"x\n\n   # more\nexport B=c\r\n'D'=e\r\"F\"=g\n";
        let entries = parse(text, |_| None).unwrap();
        let read: Vec<_> =
            entries.iter().map(|(n, e)| (n.as_str(), e.value.as_str(), e.line)).collect();
        assert_eq!(read, [("B", "c", 4), ("D", "e", 5), ("F", "g", 6)]);
    }

    #[test]
    fn a_variable_comes_from_the_process_or_else_from_an_earlier_line() {
        let outside = |name: &str| (name == "OUT").then(|| "outside".to_owned());
        let text = "OUT=inside\nIN=1\nA=${OUT}-${IN}\nB=\"${IN} ${LATER} $IN\"\nC=\"\\${IN}\"\n\
                    LATER=2";
        let entries = parse(text, outside).unwrap();
        assert_eq!(entries["A"].value, "outside-1");
        assert_eq!(entries["B"].value, "1 ${LATER} $IN");
        assert_eq!(entries["C"].value, "${IN}");
    }

    #[test]
    fn an_expanded_value_is_not_expanded_again() {
        let entries = parse("A='${B}'\nB=1\nC=${A}", |_| None).unwrap();
        assert_eq!(entries["C"].value, "${B}");
    }

    #[test]
    fn the_last_value_counts_and_a_bare_name_removes_it() {
        assert_eq!(one("A=1\nA=2"), "2");
        assert!(parse("A=1\nA\n", |_| None).unwrap().is_empty());
    }

    #[test]
    fn errors_have_a_line_and_no_value() {
        let faults = [
            ("A=1\n=secret", 2, "no name before the equals sign"),
            ("A B=secret", 1, "a name may contain only letters, digits, underscores and dots"),
            ("\n\nA=\"secret", 3, "missing closing double quote"),
            ("A=\"secret\\", 1, "missing closing double quote"),
            ("A='secret\nB=1'", 1, "missing closing single quote"),
            ("A=\"se\\cret\"", 1, "unknown escape; write a backslash in double quotes as \\\\"),
            (
                "A=my secret",
                1,
                "unexpected text after the value; put a value with spaces in double quotes",
            ),
            (
                "A=\"my\"secret",
                1,
                "unexpected text after the value; put a value with spaces in double quotes",
            ),
        ];
        for (text, line, message) in faults {
            assert_eq!(reason(text), (line, message), "{text:?}");
            assert!(!message.contains("secret"));
        }
    }

    #[test]
    fn expanded_values_are_limited_each_and_together() {
        let doubled = |lines: usize| {
            let more = (0..lines).map(|n| format!("A{}=${{A{n}}}${{A{n}}}\n", n + 1));
            "A0=xxxxxxxx\n".to_owned() + &more.collect::<String>()
        };
        let longest = parse(&doubled(14), |_| None).unwrap();
        assert_eq!(longest["A14"].value.len(), VALUE_BYTES_MAX);
        assert_eq!(reason(&doubled(15)), (16, VALUE_TOO_LONG));
        let text = doubled(14) + &"B=${A14}\n".repeat(20);
        assert_eq!(reason(&text), (30, VALUES_TOO_LONG));
        // The first value that is too long ends the expansion.
        let text =
            format!("A0=xxxxxxxx\n{}", "A0=${A0}${A0}${A0}${A0}${A0}${A0}${A0}\n".repeat(99));
        assert_eq!(reason(&text), (6, VALUE_TOO_LONG));
    }

    #[test]
    fn multibyte_characters_are_preserved() {
        assert_eq!(one("A=\"Größe ${X} é\""), "Größe ${X} é");
        assert_eq!(one("A=ü$é#x"), "ü$é");
    }
}
