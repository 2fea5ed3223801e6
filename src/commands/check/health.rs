//! `reverb check --health`: one question to the running server, as the health check of a container asks
//! it. The other checks are not for this: they take longer and report what is no fault of the server.

use std::io::Write;

use super::laravel::Place;
use super::probe::Probe;
use crate::args::RestartArgs;
use crate::commands::{Failure, hand_over};
use crate::config;

/// Requests `/ready` from the server on this machine, at the first of its addresses.
///
/// # Errors
///
/// The configuration cannot be read; no server answers; it stops.
pub fn health(args: &RestartArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let (sources, _) = hand_over::sources_in_use(args.sources());
    let (server, _) = config::load::server(&sources, std::env::vars_os())?;
    if server.tls.verify_peer {
        return Err(Failure::at_work(
            "the server requires client certificates: request /ready at its address for metrics instead",
        ));
    }
    let place = Place::local(server.local_hosts().next().unwrap_or_default(), &server);
    match Probe::local(&place).status_of("/ready") {
        Ok(200) => {
            // Whoever does not read the line has the exit code.
            let _ = writeln!(out, "{place} accepts clients");
            Ok(())
        }
        Ok(503) => Err(Failure::at_work(format!("{place} is stopping, and accepts no clients"))),
        Ok(status) => Err(Failure::at_work(format!(
            "{place} answers with status {status}, so it is not reverb: see --host and --port"
        ))),
        Err(error) => Err(Failure::at_work(format!("{place}: {error}"))),
    }
}
