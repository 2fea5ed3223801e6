//! The program: parses the arguments, runs the command, and returns its exit code. The commands are in
//! the library.
//!
//! Exit codes: 0 for success, 1 if the work failed, 2 if the arguments or the configuration
//! are invalid.

use std::io::{self, Write};
use std::process::ExitCode;

use reverb::args::{self, Command};
#[cfg(feature = "console")]
use reverb::commands::terminal;
use reverb::commands::{Failure, apps, check, console, install, reload, restart, start};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "reverb: {}", failure.text);
            ExitCode::from(failure.exit_code)
        }
    }
}

fn run() -> Result<(), Failure> {
    let mut out = io::stdout();
    match args::parse(std::env::args_os().skip(1).collect())? {
        Command::Start(args) => start::run(&args),
        Command::Try(args) => print(&mut out, &start::try_out(&args)?),
        Command::Reload(args) => reload::run(&args, &mut out),
        Command::Restart(args) => restart::run(&args, &mut out),
        Command::Check(args) => check::run(&args, &mut out),
        Command::Health(args) => check::health(&args, &mut out),
        Command::Console(args) => console::run(&args, &mut out),
        Command::Install(args) => install::run(&args, &mut out).map_err(Failure::from),
        Command::Apps(args) => apps::run(&args, &mut out),
        #[cfg(feature = "console")]
        Command::Terminal(command) => terminal::run(&command, &mut out),
        Command::Help(text) => print(&mut out, &text),
        Command::Version => print(&mut out, &args::version()),
    }
}

/// Prints a text. A closed pipe is not an error: its reader has read enough.
fn print(out: &mut impl Write, text: &str) -> Result<(), Failure> {
    match writeln!(out, "{}", text.trim_end()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::at_work(error)),
        _ => Ok(()),
    }
}
