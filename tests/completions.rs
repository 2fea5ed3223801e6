//! Shell completions, run in the shells themselves.

use std::process::{Command, Output};

fn reverb(args: &[&str]) -> Output {
    Command::new(crate::support::binary()).args(args).output().unwrap()
}

/// The completions that bash offers for these words, of which the last is being typed.
fn offered(words: &[&str]) -> Vec<String> {
    let script = String::from_utf8(reverb(&["completions", "bash"]).stdout).unwrap();
    let line = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let ask = format!(
        "{script}\nCOMP_WORDS=({line}); COMP_CWORD={}; _reverb; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.len() - 1
    );
    let output = Command::new("bash").args(["--norc", "-euc", &ask]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_offers_commands_and_the_flags_of_each() {
    assert_eq!(offered(&["reverb", "re"]), ["restart", "reload"]);
    assert_eq!(offered(&["reverb", "--v"]), ["--version"]);
    assert_eq!(offered(&["reverb", "start", "--ho"]), ["--host", "--hostname"]);
    assert_eq!(
        offered(&["reverb", "install", "--"]),
        ["--config", "--env", "--from-soketi", "--remove", "--help"]
    );
    assert_eq!(offered(&["reverb", "help", "in"]), ["install"]);
    assert_eq!(offered(&["reverb", "completions", "f"]), ["fish"]);
}

#[test]
fn other_shells_are_supported_and_unknown_ones_rejected() {
    let zsh = String::from_utf8(reverb(&["completions", "zsh"]).stdout).unwrap();
    assert!(zsh.starts_with("autoload") && zsh.contains("bashcompinit"), "{zsh}");
    let fish = String::from_utf8(reverb(&["completions", "fish"]).stdout).unwrap();
    assert!(fish.lines().all(|line| line.starts_with("complete -c reverb -n ")), "{fish}");
    assert!(fish.contains("-l host -r -d '") && fish.contains("-l debug -d '"), "{fish}");
    for wrong in [&["completions"][..], &["completions", "tcsh"]] {
        let output = reverb(wrong);
        assert_eq!(output.status.code(), Some(2));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("bash, zsh or fish"), "{error}");
    }
}
