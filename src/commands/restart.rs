//! `reverb restart`: gracefully stops the running server on this host and port, so that its process
//! manager (Supervisor, systemd) starts it again.
//!
//! `processes` finds the server. Only the server's user, or root, can find and stop it.

use std::io::Write;

use super::processes::{self, Process};
use super::{Failure, hand_over};
use crate::args::RestartArgs;
use crate::config::{self, Artisan};
use crate::net::sys;

/// Requests a stop of the running server, and reports that to `out`.
///
/// # Errors
///
/// No server listens on this host and port; another program listens there; the server belongs to
/// another user.
pub fn run(args: &RestartArgs, out: &mut impl Write) -> Result<(), Failure> {
    let (at, processes, _) = running(args)?;
    for process in processes {
        sys::send_signal(process, libc::SIGTERM)
            .map_err(|error| Failure::at_work(format!("cannot stop process {process}: {error}")))?;
        let text = format!("Stopping the server on {at} (process {process}).");
        writeln!(out, "{text}").map_err(Failure::at_work)?;
    }
    Ok(())
}

/// The address of the server, its processes (several if they share a port), and what a Laravel app
/// has handed over, if that is what the server reads.
///
/// # Errors
///
/// Those of [`run`].
pub(super) fn running(args: &RestartArgs) -> Result<(String, Vec<i32>, Option<Artisan>), Failure> {
    let (sources, _) = hand_over::sources_in_use(args.sources());
    let (server, artisan) = config::load::server(&sources, std::env::vars_os())?;
    let at = format!("{}:{}", server.host, server.port);
    let found = processes::listening_at(&server);
    let found = found.map_err(|e| Failure::at_work(format!("{at}: {e}")))?;
    let servers = found.servers();
    match found.processes.first() {
        _ if !servers.is_empty() => {}
        Some(Process { id, name, .. }) => {
            let text = format!("{name} (process {id}) listens on {at}, not reverb");
            return Err(Failure::at_work(text));
        }
        None if found.is_open => {
            let mut text =
                format!("the server on {at} belongs to another user; run this as that user");
            if !sys::HAS_PROC {
                text.push_str(", with the RUNTIME_DIRECTORY and XDG_RUNTIME_DIR of the server");
            }
            return Err(Failure::at_work(text));
        }
        None => return Err(Failure::at_work(format!("no server listens on {at}"))),
    }
    Ok((at, servers, artisan))
}
