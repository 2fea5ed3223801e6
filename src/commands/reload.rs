//! `reverb reload`: has the server that runs on this host and port put the binary and the
//! configuration that are there now in place of its own, and waits until it says how that went.
//!
//! The server is found as `reverb restart` finds it. SIGUSR2 asks for the same, and waits for
//! nothing.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use super::{Failure, restart};
use crate::args::RestartArgs;
use crate::net::{successor, sys};

/// Asks, waits and says so on `out`.
///
/// # Errors
///
/// Those of [`restart::run`]; the server goes on as it was, and why; it says nothing.
pub fn run(args: &RestartArgs, out: &mut impl Write) -> Result<(), Failure> {
    let (at, processes) = restart::running(args)?;
    for process in processes {
        let who = format!("the server on {at} (process {process})");
        let failed = |what| move |error| Failure::at_work(format!("cannot {what}: {error}"));
        let told = successor::outcome_address(process.unsigned_abs())
            .and_then(|address| UnixDatagram::bind_addr(&address))
            .map_err(failed("wait for what becomes of it; is another reload on its way?"))?;
        told.set_read_timeout(Some(LOOK)).map_err(failed("wait for what becomes of it"))?;
        sys::send_signal(process, libc::SIGUSR2).map_err(failed("ask for it"))?;
        let (mut why_not, begin) = ([0; 1_024], Instant::now());
        let len = loop {
            match told.recv(&mut why_not) {
                Ok(len) => break len,
                Err(_) if has_ended(process) => {
                    return Err(Failure::at_work(format!("{who} has ended: see its log")));
                }
                Err(_) if begin.elapsed() > PATIENCE => {
                    let text = format!("timed out waiting for the result of {who}: see its log");
                    return Err(Failure::at_work(text));
                }
                Err(_) => {}
            }
        };
        if len > 0 {
            let why_not = String::from_utf8_lossy(&why_not[..len]);
            return Err(Failure::at_work(format!("{who} goes on as it was: {why_not}")));
        }
        writeln!(out, "Reloaded {who}.").map_err(Failure::at_work)?;
    }
    Ok(())
}

/// Whether a process has ended. A zombie, for which its parent has not waited, has ended as well.
fn has_ended(process: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"));
    stat.map_or(true, |stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")))
}

/// Longer than a reload takes by default: 10 s for the new binary to answer, and 2 + 0.25 + 3 s for
/// clients that cannot be handed over to disconnect.
const PATIENCE: Duration = Duration::from_secs(30);
/// The time between two checks that the process still runs.
const LOOK: Duration = Duration::from_millis(200);
