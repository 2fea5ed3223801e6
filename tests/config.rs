//! The manual's description of the configuration, compared with the code, and its examples.
//!
//! Single values and errors are tested next to the code that reads them.

use std::path::PathBuf;

use reverb::args::{COMMANDS, GLOBAL_FLAGS};
use reverb::config::{Config, Findings, Limits, json, variables};

const COMMAND_MANUAL: &str = include_str!("../man/reverb.1");
const FILE_MANUAL: &str = include_str!("../man/reverb.json.5");

/// Whether a manual has an entry that begins with these words, or lists them in one.
fn has_entry(manual: &str, macro_name: &str, name: &str) -> bool {
    let begin = format!(".It {macro_name} ");
    manual
        .lines()
        .filter_map(|line| line.strip_prefix(&begin))
        .any(|entry| entry.split([' ', ',']).any(|word| word == name))
}

#[test]
fn the_manual_has_every_command_and_flag() {
    for command in COMMANDS {
        assert!(COMMAND_MANUAL.contains(&format!("\n.Cm {}\n", command.name)), "{}", command.name);
        assert!(has_entry(COMMAND_MANUAL, "Cm", command.name), "{}", command.name);
        for flag in command.flags() {
            assert!(has_entry(COMMAND_MANUAL, "Fl", &flag.name[1..]), "{}", flag.name);
        }
    }
    for flag in GLOBAL_FLAGS {
        assert!(COMMAND_MANUAL.contains(&format!(".Fl {}", &flag.name[1..])), "{}", flag.name);
    }
}

#[test]
fn the_manual_has_every_variable() {
    for name in variables::names().filter(|name| !name.starts_with("REVERB_LIMIT_")) {
        assert!(has_entry(COMMAND_MANUAL, "Ev", &name), "{name}");
    }
    assert!(has_entry(COMMAND_MANUAL, "Ev", "REVERB_LIMIT_"));
}

#[test]
fn the_manual_has_no_unknown_variable() {
    let entries = COMMAND_MANUAL.lines().filter_map(|line| line.strip_prefix(".It Ev "));
    // Variables of Laravel are no settings of the server.
    let is_setting =
        |name: &&str| !name.starts_with("REVERB_LIMIT_") && !name.starts_with("LARAVEL_");
    for name in entries.filter(is_setting) {
        assert!(variables::names().any(|known| known == name), "{name}");
    }
}

#[test]
fn the_manual_has_every_key_of_the_file() {
    for key in json::keys() {
        // Headings stand for the outer levels.
        let inner = ["scaling.", "compression."].map(|outer| key.strip_prefix(outer));
        let key = inner.into_iter().flatten().next().unwrap_or(key);
        let is_there = has_entry(FILE_MANUAL, "Cm", key)
            || FILE_MANUAL.contains(&format!("\n.Cm {key} ,\n"))
            || FILE_MANUAL.contains(&format!("\n.Cm {key}\n"))
            || FILE_MANUAL.contains(&format!("\n.Cm {key} ."));
        assert!(is_there, "{key}");
    }
}

#[test]
fn the_manual_has_every_limit_with_its_default() {
    let limits = Limits::default();
    for name in Limits::NAMES {
        let value = limits.value(name).unwrap();
        let entry = format!(".It Cm {name}\nDefault: {value}.\n");
        assert!(FILE_MANUAL.contains(&entry), "man/reverb.json.5 must have:\n{entry}");
        for bound in [0, u64::MAX] {
            let Err(reason) = Limits::default().set(name, bound) else { continue };
            let words: Vec<&str> = reason.split(' ').collect();
            let [.., least, _, most] = words.as_slice() else { panic!("{reason}") };
            let range = format!("{entry}From {least} to {most}.\n");
            assert!(FILE_MANUAL.contains(&range), "man/reverb.json.5 must have:\n{range}");
        }
    }
}

#[test]
fn the_example_of_the_manual_is_a_configuration() {
    let start = FILE_MANUAL.find("\n{\n").unwrap() + 1;
    let end = start + FILE_MANUAL[start..].find("\n.Ed").unwrap();
    let mut config = Config::default();
    let mut findings = Findings::default();
    let apps = json::read("example", &FILE_MANUAL[start..end], &mut config, &mut findings);
    assert_eq!(apps.unwrap().len(), 2);
    assert_eq!(config.limits.presence_members, 100);
    assert_eq!(findings, Findings::default());
}

#[test]
fn the_manuals_pass_the_lint_of_mandoc() {
    let man = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("man");
    let pages = std::fs::read_dir(&man).unwrap().map(|entry| entry.unwrap().file_name());
    // mandoc finds the pages they refer to only from the directory they are in.
    let lint = std::process::Command::new("mandoc")
        .arg("-Tlint")
        .args(pages)
        .current_dir(man)
        .output()
        .expect("mandoc is installed, as the tests require");
    let output = String::from_utf8_lossy(&lint.stdout).into_owned();
    assert!(lint.status.success() && output.is_empty(), "{output}");
}
