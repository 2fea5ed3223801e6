//! `reverb reload`: makes the running server on this host and port hand over to the present binary
//! with the present configuration, and waits for the result.
//!
//! It finds the server as `reverb restart` does. SIGUSR2 requests the same without waiting.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Failure, processes, restart};
use crate::args::RestartArgs;
use crate::config::Artisan;
use crate::net::{successor, sys};

/// Requests a reload, waits for the result and prints it to `out`.
///
/// # Errors
///
/// Those of [`restart::run`]; the server does not read the hand-over that the flags name; it rejected
/// the reload, and the text says why; it sent no result in time.
pub fn run(args: &RestartArgs, out: &mut impl Write) -> Result<(), Failure> {
    let (at, processes, artisan) = restart::running(args)?;
    if let Some(artisan) = artisan.as_ref().filter(|_| args.config.is_some()) {
        read_the_hand_over(artisan, &processes, &at)?;
    }
    for warning in artisan.iter().flat_map(Artisan::stale) {
        writeln!(out, "warning: {warning}").map_err(Failure::at_work)?;
    }
    for process in processes {
        let server = format!("the server on {at} (process {process})");
        let failed = |what| move |error| Failure::at_work(format!("cannot {what}: {error}"));
        let result = ResultSocket::bind(process, processes::outcome_folder(process).as_deref())
            .map_err(failed("wait for the result; is another `reverb reload` running?"))?;
        let result = &result.socket;
        result.set_read_timeout(Some(CHECK_INTERVAL)).map_err(failed("wait for the result"))?;
        sys::send_signal(process, libc::SIGUSR2).map_err(failed("signal the server"))?;
        let (mut why_not, begin) = ([0; 1_024], Instant::now());
        let len = loop {
            match result.recv(&mut why_not) {
                Ok(len) => break len,
                Err(_) if sys::has_ended(process) => {
                    return Err(Failure::at_work(format!("{server} has ended; see its log")));
                }
                Err(_) if begin.elapsed() > RESULT_TIMEOUT => {
                    let text = format!("timed out waiting for the reload of {server}; see its log");
                    return Err(Failure::at_work(text));
                }
                Err(_) => {}
            }
        };
        if len > 0 {
            let why_not = String::from_utf8_lossy(&why_not[..len]);
            return Err(Failure::at_work(format!("{server} was not reloaded: {why_not}")));
        }
        writeln!(out, "Reloaded {server}.").map_err(Failure::at_work)?;
    }
    Ok(())
}

/// Fails unless all servers read this hand-over: a reload applies only what a server reads.
fn read_the_hand_over(artisan: &Artisan, processes: &[i32], at: &str) -> Result<(), Failure> {
    let is_other = |process: &&i32| processes::reads(**process, &artisan.file) == Some(false);
    let Some(process) = processes.iter().find(is_other) else { return Ok(()) };
    Err(Failure::at_work(format!(
        "the server on {at} (process {process}) was not started by `php artisan reverb:start`, so it \
         does not read {}: run `reverb reload` to apply the .env and reverb.json that it reads, or \
         stop it and run `php artisan reverb:start`",
        artisan.file.display()
    )))
}

/// The socket that receives the result. If its address is a file, dropping it removes that.
struct ResultSocket {
    socket: UnixDatagram,
    file: Option<PathBuf>,
}

impl ResultSocket {
    /// `folder` is that of [`processes::outcome_folder`].
    fn bind(process: i32, folder: Option<&Path>) -> io::Result<Self> {
        let address = successor::outcome_address(process.unsigned_abs(), folder)?;
        let file = address.as_pathname().map(Path::to_owned);
        if let Some(file) = &file {
            // A command that was killed has left its file, at which nothing listens any more.
            let refused = |e: io::Error| e.kind() == io::ErrorKind::ConnectionRefused;
            if UnixDatagram::unbound()?.connect(file).is_err_and(refused) {
                fs::remove_file(file)?;
            }
        }
        let socket = UnixDatagram::bind_addr(&address)?;
        if let Some(file) = &file {
            // The server of another user must be able to send to root, and only it can reach the
            // folder.
            fs::set_permissions(file, Permissions::from_mode(0o666))?;
        }
        Ok(ResultSocket { socket, file })
    }
}

impl Drop for ResultSocket {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // This fails if the file has been removed already.
            _ = fs::remove_file(file);
        }
    }
}

/// The longest wait for a result. By default a reload takes less: at most 10 s for the check of the
/// new binary, and 2 + 0.25 + 3 s for closing the connections that cannot be handed over.
const RESULT_TIMEOUT: Duration = Duration::from_secs(30);
/// The interval between two checks that the process still runs.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_killed_command_does_not_prevent_the_next_one() {
        let process = std::process::id().cast_signed();
        let folder = std::env::temp_dir().join(format!("reverb-result-{process}"));
        fs::create_dir(&folder).unwrap();
        let path = folder.join(format!("reverb-reload-{process}"));
        // A socket that is dropped leaves its file, as a crash does.
        drop(UnixDatagram::bind(&path).unwrap());
        let socket = ResultSocket::bind(process, Some(&folder)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
        let second = ResultSocket::bind(process, Some(&folder)).err().unwrap();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        drop(socket);
        assert!(!path.exists());
        fs::remove_dir(folder).unwrap();
    }
}
