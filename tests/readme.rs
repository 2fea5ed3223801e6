//! The README against the repository: its length, its links, the pages it names, and its table of
//! limits. Its snippets run in `tests/clients/readme.test.mjs`.

use std::fs;
use std::path::Path;

use reverb::config::{App, Limits, Server};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const README: &str = include_str!("../README.md");
/// The maximum number of words in the README, so that it stays readable.
const WORDS: usize = 2_000;

/// All texts between `open` and `close`.
fn between<'t>(text: &'t str, open: &str, close: char) -> Vec<&'t str> {
    text.split(open).skip(1).filter_map(|rest| rest.split_once(close)).map(|(it, _)| it).collect()
}

#[test]
fn the_readme_is_short() {
    let words = README.split_whitespace().count();
    assert!(words <= WORDS, "{words} words");
}

#[test]
fn every_link_leads_to_a_file() {
    let pages = [
        "README.md",
        "CHANGELOG.md",
        "src/README.md",
        "tests/README.md",
        ".github/CONTRIBUTING.md",
    ];
    for page in pages {
        let text = fs::read_to_string(Path::new(ROOT).join(page)).unwrap();
        let folder = Path::new(ROOT).join(page);
        for link in between(&text, "](", ')').into_iter().filter(|link| !link.contains("://")) {
            assert!(folder.with_file_name(link).exists(), "{page}: {link}");
        }
    }
}

#[test]
fn the_readme_names_exactly_the_pages_of_the_manual() {
    let mut pages: Vec<String> = fs::read_dir(Path::new(ROOT).join("man"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    let rows = README.lines().filter_map(|line| line.strip_prefix("| `reverb"));
    let mut named: Vec<String> = rows
        .filter_map(|row| row.split_once(")`"))
        .map(|(page, _)| format!("reverb{}", page.replace('(', ".")))
        .collect();
    named.sort();
    assert_eq!(named, pages);
}

#[test]
fn the_table_of_limits_matches_the_code() {
    let (limits, app, server) = (Limits::default(), App::new("1", "k", "s"), Server::default());
    let mut checked = 0;
    for variable in between(README, "| `REVERB_", '`') {
        let row = README.lines().find(|line| line.contains(&format!("`REVERB_{variable}`")));
        let default = row.and_then(|row| row.split('|').nth(2)).unwrap().trim();
        let value = match variable {
            "MAX_REQUEST_SIZE" => server.max_request_size as u64,
            "APP_MAX_MESSAGE_SIZE" => app.max_message_size as u64,
            _ => limits.value(&variable["LIMIT_".len()..].to_lowercase()).unwrap(),
        };
        let expected = match default.split_once(' ') {
            _ if value == 0 => continue,
            Some((number, "MiB")) => number.parse::<u64>().unwrap() << 20,
            Some((number, "bytes")) => number.replace(',', "").parse().unwrap(),
            _ => default.replace(',', "").parse().unwrap(),
        };
        assert_eq!(value, expected, "{variable}");
        checked += 1;
    }
    assert!(checked > 6, "only {checked} limits were found");
}

#[test]
fn the_readme_names_the_command_that_runs_all_tests() {
    assert!(README.contains("$ tests/run"));
    assert!(Path::new(ROOT).join("tests/run").exists());
}

#[test]
fn guides_use_the_terms_of_the_field() {
    let man = fs::read_dir(Path::new(ROOT).join("man")).unwrap();
    let pages = man.map(|entry| entry.unwrap().path());
    let guides =
        ["README.md", "CHANGELOG.md", "src/README.md", "tests/README.md", ".github/SECURITY.md"];
    for path in guides.iter().map(|guide| Path::new(ROOT).join(guide)).chain(pages) {
        let text = fs::read_to_string(&path).unwrap().to_lowercase();
        let mut words = text.split(|c: char| !c.is_alphabetic());
        let found =
            words.find(|w| ["whoever", "nobody", "somebody", "anew", "meanwhile"].contains(w));
        assert_eq!(found, None, "{}", path.display());
    }
}
