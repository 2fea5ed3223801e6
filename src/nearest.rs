//! Suggests the name that a mistyped one was meant to be: of a flag, a command, a key, a variable.
//!
//! Suggestions appear in error texts only. A mistyped name is never accepted.

/// The known name nearest to `word`, if one is near enough to have been meant.
///
/// A name is near enough with up to one slip per three characters (a character missing, added or
/// replaced, or two swapped), and at most three slips. Of several equally near names it is the first.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(LONGEST + 1).collect();
    if word.len() > LONGEST {
        return None;
    }
    let allowed = (word.len() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|name| (slips(&word, &name.chars().collect::<Vec<_>>()), name))
        .filter(|(slips, _)| *slips <= allowed)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, name)| name)
}

/// What to append to an error text: `; did you mean X?`, or nothing.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(word, known) {
        Some(name) => format!("; did you mean {name}?"),
        None => String::new(),
    }
}

/// No known name is longer. A comparison costs the product of the lengths.
const LONGEST: usize = 64;

/// The number of slips between two words. Only the last three rows of the table are kept.
fn slips(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = previous[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(previous[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut previous, row);
    }
    previous[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[&str] = &["--host", "--port", "--path", "--hostname", "--debug"];

    #[test]
    fn swapped_letters_are_one_slip() {
        assert_eq!(nearest("--prot", FLAGS.iter().copied()), Some("--port"));
    }

    #[test]
    fn a_letter_too_few_or_too_many_is_one_slip() {
        assert_eq!(nearest("--hostnme", FLAGS.iter().copied()), Some("--hostname"));
        assert_eq!(nearest("--debugg", FLAGS.iter().copied()), Some("--debug"));
    }

    #[test]
    fn a_word_far_from_all_names_has_no_suggestion() {
        assert_eq!(nearest("--workers", FLAGS.iter().copied()), None);
        assert_eq!(nearest("", FLAGS.iter().copied()), None);
        assert_eq!(nearest(&"x".repeat(100_000), FLAGS.iter().copied()), None);
    }

    #[test]
    fn the_count_is_that_of_single_edits() {
        let count = |a: &str, b: &str| {
            slips(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>())
        };
        assert_eq!(count("kitten", "sitting"), 3);
        assert_eq!(count("", "abc"), 3);
        assert_eq!(count("abc", ""), 3);
        assert_eq!(count("ab", "ba"), 1);
    }

    #[test]
    fn the_suggestion_reads_as_the_end_of_a_sentence() {
        assert_eq!(did_you_mean("--prot", FLAGS.iter().copied()), "; did you mean --port?");
        assert_eq!(did_you_mean("--workers", FLAGS.iter().copied()), "");
    }
}
