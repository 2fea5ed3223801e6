//! References to the pages of section 7 resolve: comments cite "protocol section 14.2", reasons in
//! the recorded scenarios begin with "14.2:" or "D12:", and `man/reverb-protocol.7` has these
//! numbers. `man/reverb-monitoring.7` has every metric.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const PAGE: &str = include_str!("../man/reverb-protocol.7");
const MONITORING: &str = include_str!("../man/reverb-monitoring.7");
const METRICS: &str = include_str!("../src/hub/metrics.rs");
const COUNTERS: &str = include_str!("../src/hub/counters.rs");
const WEBHOOKS: [&str; 2] =
    [include_str!("../src/hub/webhooks/mod.rs"), include_str!("../src/hub/webhooks/metrics.rs")];
const SCENARIOS: &str = include_str!("golden/scenarios.jsonl");

/// The section numbers of the page, such as `14`, `14.2` and `D12`.
fn numbers() -> BTreeSet<String> {
    let number = |line: &str| {
        let heading = [".Sh ", ".Ss ", ".It "].iter().find_map(|start| line.strip_prefix(start))?;
        let word = heading.split_whitespace().next()?.trim_start_matches("\\&");
        let word = word.trim_end_matches('.');
        (is_section(word) || is_difference(word)).then(|| word.to_owned())
    };
    PAGE.lines().filter_map(number).collect()
}

/// Whether this is `14` or `14.2`.
fn is_section(word: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    word.len() <= 5 && word.split('.').count() <= 2 && word.split('.').all(is_number)
}

/// Whether this is `D12`.
fn is_difference(word: &str) -> bool {
    word.strip_prefix('D').is_some_and(|number| is_section(number) && !number.contains('.'))
}

/// The text joined into one line: a citation may be broken over two.
fn joined(text: &str) -> String {
    let mark = |word: &&str| !["//!", "///", "//", "#", "*", ".Xr"].contains(word);
    text.split_whitespace().filter(mark).collect::<Vec<_>>().join(" ")
}

/// The numbers that follow `phrase`: one, or several with commas and `and` between them.
fn cited(text: &str, phrase: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices(phrase) {
        let mut words = text[at + phrase.len()..].split(' ').filter(|word| !word.is_empty());
        if phrase.ends_with("section") && text[at + phrase.len()..].starts_with('s') {
            words.next();
        }
        for word in words {
            let number = word.trim_end_matches(|c: char| !c.is_ascii_digit());
            if !is_section(number) {
                if ["and", "to"].contains(&word) {
                    continue;
                }
                break;
            }
            found.push(number.to_owned());
            if number == word || word.ends_with(',') {
                continue;
            }
            break;
        }
    }
    found
}

/// All text files in a folder of the repository.
fn texts(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(ROOT).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("node_modules") {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.push((path, text));
            }
        }
    }
    found
}

#[test]
fn every_cited_section_exists() {
    let numbers = numbers();
    let (mut wrong, mut count) = (Vec::new(), 0);
    let files = ["src", "tests", "man"].into_iter().flat_map(texts);
    for (path, text) in files.filter(|(path, _)| !path.ends_with("tests/references.rs")) {
        let text = joined(&text);
        let mut cites = cited(&text, "protocol section");
        cites.extend(cited(&text, "reverb-protocol 7 section"));
        if path.ends_with("man/reverb-protocol.7") {
            cites.extend(cited(&text, " section"));
        }
        count += cites.len();
        let missing = cites.iter().filter(|number| !numbers.contains(*number));
        wrong.extend(missing.map(|number| format!("{}: section {number}", path.display())));
        if text.contains(concat!("observed", " section")) {
            wrong.push(format!("{}: cites a document that is not here", path.display()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(count > 30, "only {count} citations were found");
}

#[test]
fn every_reason_of_a_recording_exists() {
    let numbers = numbers();
    let mut count = 0;
    for line in SCENARIOS.lines().filter(|line| !line.is_empty()) {
        let line: Value = serde_json::from_str(line).unwrap();
        let Some(why) = line["why"].as_str() else { continue };
        let words = why.split([' ', ':', ',', ';']);
        let cites: Vec<&str> = words.filter(|word| is_difference(word)).collect();
        let begin = why.split_once(": ").map(|(begin, _)| begin).filter(|begin| is_section(begin));
        for number in cites.into_iter().chain(begin) {
            assert!(numbers.contains(number), "man/reverb-protocol.7 has no {number}: {why}");
            count += 1;
        }
    }
    assert!(count > 200, "only {count} citations were found");
}

#[test]
fn differences_are_numbered_without_a_gap() {
    let numbers = numbers();
    for number in 1..=31 {
        assert!(numbers.contains(&format!("D{number}")), "man/reverb-protocol.7 has no D{number}");
    }
    for number in 1..=18 {
        assert!(numbers.contains(&number.to_string()), "man/reverb-protocol.7 has no {number}");
    }
}

#[test]
fn the_page_on_monitoring_has_every_metric_and_no_other() {
    let is_metric = |text: &&str| {
        let is_name = text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        is_name && (text.starts_with("reverb_") || text.starts_with("process_"))
    };
    let sources = METRICS.split('"').chain(COUNTERS.split('"'));
    let sources = sources.chain(WEBHOOKS.iter().flat_map(|source| source.split('"')));
    let served: BTreeSet<&str> = sources.filter(is_metric).collect();
    let entries = MONITORING.lines().filter_map(|line| line.strip_prefix(".It Cm "));
    let described: BTreeSet<&str> = entries.filter(is_metric).collect();
    assert_eq!(served, described);
    assert!(served.len() > 20, "{served:?}");
    let labels = METRICS.split("&[(\"").skip(1).filter_map(|rest| rest.split('"').next());
    for label in labels.filter(|label| *label != "le") {
        let is_described = MONITORING
            .lines()
            .any(|line| line.trim_end_matches([' ', ';', '.', ':', ',']) == format!(".Cm {label}"));
        assert!(is_described, "man/reverb-monitoring.7 has no label {label}");
    }
}

#[test]
fn the_parser_finds_every_form_of_citation() {
    for (text, expected) in [
        ("//! (protocol sections\n//! 6.2, 11.1 and 14.1), compared", &["6.2", "11.1", "14.1"][..]),
        ("/// it is (protocol section 13).", &["13"]),
        ("sections 1 to 7 of the suite", &[]),
        ("protocol sections 14.2 and 14.3.", &["14.2", "14.3"]),
        ("protocol section 4.3 explains", &["4.3"]),
    ] {
        assert_eq!(cited(&joined(text), "protocol section"), expected, "{text}");
    }
    assert!(is_difference("D12") && !is_difference("Data") && !is_difference("D"));
}
