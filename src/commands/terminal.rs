//! The commands that use a running server from the terminal, with the credentials of an app: `reverb
//! tail`, `top`, `publish`, `subscribe` and `kick`. They are processes of their own, so their calls may
//! block.

mod api;
mod board;
mod endpoint;
mod feed;
mod kick;
mod line;
mod publish;
mod screen;
mod socket;
mod subscribe;
mod table;
mod tail;
mod top;
mod watch;

use std::io::Write;

use super::Failure;
use crate::args::terminal::{Action, Command};
use endpoint::Endpoint;

/// Runs a command, and prints to `out`.
///
/// # Errors
///
/// The configuration cannot be read; there is no such app; the server does not answer, or rejects the
/// request.
pub fn run(command: &Command, out: &mut dyn Write) -> Result<(), Failure> {
    let endpoint = Endpoint::of(&command.server)?;
    let result = match &command.action {
        Action::Tail(args) => tail::run(args, &endpoint, out),
        Action::Top(args) => top::run(args, endpoint, out),
        Action::Publish(args) => publish::run(args, &endpoint, out),
        Action::Subscribe(args) => subscribe::run(args, endpoint, out),
        Action::Kick(args) => kick::run(args, &endpoint, out),
    };
    result.map_or_else(screen::ended, Ok)
}
