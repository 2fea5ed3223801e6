//! `reverb console`: prints the address of the running server's console, and the token that opens it.
//!
//! It finds the server as `reverb restart` does, and reads the file that the server has written
//! (`console_file`).

use std::io::Write;

use super::{Failure, console_file, restart};
use crate::args::RestartArgs;
use crate::config::Console;

/// Prints the address and the token to `out`.
///
/// # Errors
///
/// Those of [`restart::run`]; the server has no console; its file cannot be read.
pub fn run(args: &RestartArgs, out: &mut impl Write) -> Result<(), Failure> {
    if !cfg!(feature = "console") {
        return Err(Failure::at_work(Console::MISSING));
    }
    let (at, processes, _) = restart::running(args)?;
    let found = processes.iter().map(|process| console_file::of_process(*process));
    let opened = found.collect::<Result<Vec<_>, _>>().map_err(|error| {
        Failure::at_work(format!("cannot read the token of the server on {at}: {error}"))
    })?;
    let mut has_console = false;
    for opened in opened.into_iter().flatten() {
        has_console = true;
        let text = format!("{}\ntoken: {}", opened.url, opened.keys.token);
        writeln!(out, "{text}").map_err(Failure::at_work)?;
    }
    match has_console {
        true => Ok(()),
        false => Err(Failure::at_work(format!(
            "the server on {at} has no console: start it with --console ADDRESS, or set \
             REVERB_SERVER_CONSOLE"
        ))),
    }
}
