//! `reverb tail`: prints the feed of a server, a line for each happening.

use std::io::Write;

use super::endpoint::Endpoint;
use super::feed::{self, Update};
use super::line;
use super::screen::{self, Colours};
use super::watch;
use crate::args::terminal::TailArgs;
use crate::commands::Failure;

/// Prints lines until a signal, or until the reader of the output has gone.
pub(super) fn run(
    args: &TailArgs,
    endpoint: &Endpoint,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    watch::end_quietly()?;
    let colours = Colours::of_stdout();
    feed::follow(endpoint, &parameters(args), &mut |update| match update {
        Update::Line(line) if args.json => screen::print(out, &screen::json_line(line)),
        Update::Line(line) => match line::readable(line, colours) {
            Some(line) => screen::print(out, &line),
            None => Ok(()),
        },
        Update::Lost(why, wait) => {
            let wait_s = wait.as_secs();
            screen::note(&format!("{why}; lines are missing until the next attempt in {wait_s} s"));
            Ok(())
        }
    })
}

fn parameters(args: &TailArgs) -> Vec<(&'static str, &str)> {
    let given = [
        ("channels", &args.channels),
        ("events", &args.events),
        ("kinds", &args.kinds),
        ("socket_id", &args.socket),
        ("user_id", &args.user),
    ];
    let given = given.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
    given.chain(args.no_payload.then_some(("payload", "false"))).collect()
}
