//! The table of commands and flags, and the help generated from it. A test compares the OPTIONS of
//! `man/reverb.1` with it. The parser accepts every flag in it; `args` puts the values into structs.

mod apps;
mod entry;
#[cfg(feature = "console")]
mod terminal;

use entry::{CONFIG, ENV, RUNNING};
pub use entry::{CommandEntry, Flag};

/// All commands, in the order of the help.
pub const COMMANDS: &[CommandEntry] = &[
    CommandEntry {
        name: "start",
        argument: None,
        about: "Serve WebSocket clients and the HTTP API until stopped.",
        own_flags: &[
            Flag {
                name: "--host",
                value: Some("HOST"),
                about: "The addresses to listen on, and paths of Unix sockets, separated by commas. \
                        Default: 0.0.0.0, or 127.0.0.1 if no app is configured.",
            },
            Flag {
                name: "--port",
                value: Some("PORT"),
                about: "The port to listen on; 0 lets the system choose. Default: 8080.",
            },
            Flag {
                name: "--path",
                value: Some("PREFIX"),
                about: "A prefix of the path of every URL. Default: none.",
            },
            Flag {
                name: "--hostname",
                value: Some("NAME"),
                about: "The public host name. If Herd or Valet have a certificate for it, TLS is on. \
                        Default: none.",
            },
            Flag {
                name: "--metrics",
                value: Some("ADDRESS"),
                about: "Serve metrics for Prometheus at this address, or at this port of 127.0.0.1. \
                        Default: none.",
            },
            Flag {
                name: "--console",
                value: Some("ADDRESS"),
                about: "Serve the console at this address, port of 127.0.0.1 or path of a Unix \
                        socket. Default: none.",
            },
            Flag { name: "--debug", value: None, about: "Log every message of every connection." },
            Flag {
                name: "--stop-with-stdin",
                value: None,
                about: "Stop when standard input ends, for example a pipe to a parent process.",
            },
        ],
        shared_flags: &[CONFIG, ENV],
    },
    CommandEntry {
        name: "restart",
        argument: None,
        about: "Stop the running server, so that its process manager starts it again.",
        own_flags: &[],
        shared_flags: RUNNING,
    },
    CommandEntry {
        name: "reload",
        argument: None,
        about: "Switch to the new binary and configuration; clients stay connected.",
        own_flags: &[],
        shared_flags: RUNNING,
    },
    CommandEntry {
        name: "check",
        argument: None,
        about: "Check the setup, from the .env file to the connection of a browser.",
        own_flags: &[Flag {
            name: "--health",
            value: None,
            about: "Only ask the running server whether it accepts clients.",
        }],
        shared_flags: RUNNING,
    },
    CommandEntry {
        name: "console",
        argument: None,
        about: "Print the address of the console and the token that opens it.",
        own_flags: &[],
        shared_flags: RUNNING,
    },
    CommandEntry {
        name: "install",
        argument: None,
        about: "Add missing entries to .env, and let artisan start this server.",
        own_flags: &[
            Flag {
                name: "--config",
                value: Some("FILE"),
                about: "Also write a reverb.json with every key. It must not exist yet.",
            },
            Flag {
                name: "--env",
                value: Some("FILE"),
                about: "The environment file to add to, or a name: staging stands for .env.staging. \
                        Default: .env, or .env.APP_ENV if APP_ENV is set and the file exists.",
            },
            Flag {
                name: "--from-soketi",
                value: Some("FILE"),
                about: "Convert this configuration of soketi instead: JSON, or an environment file.",
            },
            Flag {
                name: "--remove",
                value: None,
                about: "Remove the provider for artisan and the hand-over instead; .env stays.",
            },
        ],
        shared_flags: &[],
    },
    apps::APPS,
    #[cfg(feature = "console")]
    terminal::TAIL,
    #[cfg(feature = "console")]
    terminal::TOP,
    #[cfg(feature = "console")]
    terminal::PUBLISH,
    #[cfg(feature = "console")]
    terminal::SUBSCRIBE,
    #[cfg(feature = "console")]
    terminal::KICK,
    CommandEntry {
        name: "completions",
        argument: Some("SHELL"),
        about: "Print the completion script for bash, zsh or fish.",
        own_flags: &[],
        shared_flags: &[],
    },
    CommandEntry {
        name: "help",
        argument: Some("[COMMAND]"),
        about: "Explain a command and its flags.",
        own_flags: &[],
        shared_flags: &[],
    },
];

/// The flags that replace a command.
pub const GLOBAL_FLAGS: &[Flag] = &[
    Flag { name: "--help", value: None, about: "Print this help; also -h." },
    Flag {
        name: "--version",
        value: None,
        about: "Print version, commit, target and features; also -V.",
    },
];

/// The help of the program.
pub fn overview() -> String {
    let mut help = String::from(
        "A Pusher-protocol WebSocket server for Laravel.\n\n\
         Usage: reverb COMMAND [FLAGS]\n\nCommands:\n",
    );
    for command in COMMANDS {
        help.push_str(&explained(&usage_name(command), command.about));
    }
    help.push_str("\nFlags:\n");
    for flag in GLOBAL_FLAGS {
        help.push_str(&explained(&flag_name(flag), flag.about));
    }
    help.push_str("\n`reverb help COMMAND` lists the flags of a command; see also reverb(1).\n");
    help
}

/// The help of one command.
pub fn explain(command: &CommandEntry) -> String {
    let mut help = format!("{}\n\nUsage: reverb {}", command.about, usage_name(command));
    if command.flags().next().is_none() {
        help.push('\n');
        return help;
    }
    help.push_str(" [FLAGS]\n\nFlags:\n");
    for flag in command.flags() {
        help.push_str(&explained(&flag_name(flag), flag.about));
    }
    help.push_str(&explained("--help", "Print this help; also -h."));
    help
}

fn usage_name(command: &CommandEntry) -> String {
    match command.argument {
        Some(argument) => format!("{} {argument}", command.name),
        None => command.name.to_owned(),
    }
}

fn flag_name(flag: &Flag) -> String {
    match flag.value {
        Some(value) => format!("{} {value}", flag.name),
        None => flag.name.to_owned(),
    }
}

/// An entry of a list in a help text: the name, and its description in a second column.
fn explained(name: &str, about: &str) -> String {
    const COLUMN: usize = 20;
    const WIDTH: usize = 80;
    let mut entry = format!("  {name:<0$}", COLUMN - 2);
    let mut width = entry.len();
    // A name that is too long for its column has a line of its own.
    if width > COLUMN {
        entry.push_str(&format!("\n{:COLUMN$}", ""));
        width = COLUMN;
    }
    for word in about.split(' ') {
        if width + 1 + word.len() > WIDTH {
            entry.push_str(&format!("\n{:COLUMN$}", ""));
            width = COLUMN;
        }
        entry.push(' ');
        entry.push_str(word);
        width += 1 + word.len();
    }
    entry.push('\n');
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_flag_and_fits_a_terminal() {
        let mut texts = vec![overview()];
        texts.extend(COMMANDS.iter().map(explain));
        for text in &texts {
            assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        }
        for (command, text) in COMMANDS.iter().zip(&texts[1..]) {
            for flag in command.flags() {
                assert!(text.contains(&format!("  {}", flag_name(flag))), "{text}");
            }
        }
    }

    /// The list of flags as `man/reverb.1` must contain it.
    fn manual_options() -> String {
        let mut manual = String::from(".Sh OPTIONS\n");
        for command in COMMANDS.iter().filter(|command| command.flags().next().is_some()) {
            manual.push_str(&format!(".Ss reverb {}\n.Bl -tag -width Ds\n", command.name));
            for flag in command.flags() {
                manual.push_str(&format!(".It Fl {}", &flag.name[1..]));
                if let Some(value) = flag.value {
                    manual.push_str(&format!(" Ar {value}"));
                }
                // In a manual each sentence begins a line.
                manual.push_str(&format!("\n{}\n", flag.about.replace(". ", ".\n")));
            }
            manual.push_str(".El\n");
        }
        manual
    }

    #[test]
    fn the_manual_has_the_flags_of_the_table() {
        let manual = include_str!("../../man/reverb.1");
        let options = manual_options();
        assert!(manual.contains(&options), "man/reverb.1 must have this:\n{options}");
    }
}
