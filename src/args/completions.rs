//! Completion scripts for shells, generated from the table of commands and flags.
//!
//! Written by hand because generators such as `clap_complete` need their own parser for the command
//! line, which is larger than this file and its parser together.

use std::fmt::Write;

use super::apps;
use super::table::{COMMANDS, CommandEntry, GLOBAL_FLAGS};

/// The supported shells; zsh uses the script of bash.
pub(super) const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// The script for a shell; `None` if it is not supported.
pub(super) fn of(shell: &str) -> Option<String> {
    match shell {
        "bash" => Some(bash()),
        "zsh" => Some(format!("autoload -U +X bashcompinit && bashcompinit\n{}", bash())),
        "fish" => Some(fish()),
        _ => None,
    }
}

fn bash() -> String {
    let names = COMMANDS.iter().map(|command| command.name);
    let first: Vec<&str> = names.chain(GLOBAL_FLAGS.iter().map(|flag| flag.name)).collect();
    let mut text = String::from("_reverb() {\n    local words\n    case ${COMP_WORDS[1]} in\n");
    // Writing to a String cannot fail, here and below.
    for command in COMMANDS {
        _ = writeln!(text, "        {}) words=\"{}\" ;;", command.name, words(command));
    }
    _ = write!(
        text,
        "    esac\n    [ \"$COMP_CWORD\" = 1 ] && words=\"{}\"\n    \
         COMPREPLY=($(compgen -W \"$words\" -- \"${{COMP_WORDS[COMP_CWORD]}}\"))\n}}\n\
         complete -o default -F _reverb reverb\n",
        first.join(" ")
    );
    text
}

/// The words that may follow a command.
fn words(command: &CommandEntry) -> String {
    let words: Vec<&str> = match command.name {
        "help" => COMMANDS.iter().map(|command| command.name).collect(),
        "completions" => SHELLS.to_vec(),
        "apps" => {
            let flags = command.flags().map(|flag| flag.name);
            apps::actions().chain(flags).chain(["--help"]).collect()
        }
        _ => command.flags().map(|flag| flag.name).chain(["--help"]).collect(),
    };
    words.join(" ")
}

fn fish() -> String {
    let mut text = String::new();
    for command in COMMANDS {
        let (name, about) = (command.name, quoted(command.about));
        _ = writeln!(text, "complete -c reverb -n __fish_use_subcommand -fa {name} -d {about}");
        let condition = format!("complete -c reverb -n '__fish_seen_subcommand_from {name}'");
        if ["help", "completions"].contains(&command.name) {
            _ = writeln!(text, "{condition} -fa '{}'", words(command));
        }
        if name == "apps" {
            let actions: Vec<&str> = apps::actions().collect();
            _ = writeln!(text, "{condition} -fa '{}'", actions.join(" "));
        }
        for flag in command.flags() {
            let takes = if flag.value.is_some() { " -r" } else { "" };
            let about = quoted(flag.about);
            _ = writeln!(text, "{condition} -l {}{takes} -d {about}", &flag.name[2..]);
        }
    }
    text
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
