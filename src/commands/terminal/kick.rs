//! `reverb kick`: closes one connection, or all connections of a user.

use std::io::Write;

use super::api::{Call, encoded};
use super::endpoint::Endpoint;
use super::screen;
use crate::args::terminal::{KickArgs, KickTarget};
use crate::commands::Failure;

/// Closes the connections. Prints nothing, or the response of the server.
pub(super) fn run(
    args: &KickArgs,
    endpoint: &Endpoint,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let path = match &args.target {
        KickTarget::Socket(socket) => format!("/connections/{}/terminate", encoded(socket)),
        KickTarget::User(user) => format!("/users/{}/terminate_connections", encoded(user)),
    };
    let call = Call { method: "POST", path: &path, parameters: &[], body: b"" };
    let answer = call.send(endpoint)?;
    match args.json {
        true => screen::print(out, &screen::json_line(&answer)),
        false => Ok(()),
    }
}
