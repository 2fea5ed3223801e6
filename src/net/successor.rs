//! The binary that replaces this process: its location, the check that it can serve, and the state
//! handed over to it. When this happens is up to `server/control/replace`.
//!
//! The server executes the new binary with `exec`, so that the process id, which a process manager
//! watches, stays the same. An environment variable lists what the new binary takes over: the
//! clock, the listening sockets, and a memory file with the state, which contains the descriptors
//! of the connections.

use std::error::Error;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream as StdUnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::{env, str};

use mio::net::UnixStream;
use mio::{Interest, Registry};

use super::listen::Purpose;
use super::sys::{self, Inherited};
use super::token::TRIAL;
use crate::config::App;
use crate::config::apps_folder::parse_kept;

/// The command with which a binary checks whether it can serve with the flags that follow.
pub(crate) const TRY: &str = "successor";
/// The prefix of the line that a successful check prints, before the version of the state that the
/// binary reads.
pub(crate) const READS: &str = "reads state ";

/// The environment variable. Its name does not begin with `REVERB_`, because it is not a setting.
const VARIABLE: &str = "_REVERB_HANDED_OVER";
/// The environment variable with the file of [`HandedOver::apps`]. Binaries that do not know it, which
/// read no folder of apps, ignore it.
const APPS_VARIABLE: &str = "_REVERB_HANDED_OVER_APPS";

/// The binary at the path from which this process was started. The file may have been replaced
/// since.
pub(crate) struct Successor {
    program: OsString,
    /// The command and its flags.
    arguments: Vec<OsString>,
}

impl Successor {
    /// The program and arguments of this process; `None` if the process has no arguments, not even
    /// its name.
    pub(crate) fn of_this_process() -> Option<Self> {
        let mut arguments = env::args_os();
        Some(Successor { program: arguments.next()?, arguments: arguments.collect() })
    }

    /// Replaces this program by the successor. Returns only on failure.
    pub(super) fn execute(&self, handed: &HandedOver) -> io::Error {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env(VARIABLE, handed.to_text());
        match handed.apps {
            Some(apps) => command.env(APPS_VARIABLE, format!("{} {apps}", process::id())),
            None => command.env_remove(APPS_VARIABLE),
        };
        command.exec()
    }
}

/// The state that one process hands over to the next.
pub(crate) struct HandedOver {
    /// The start of the server's clock, in microseconds of the system's monotonic clock.
    pub clock_us: u64,
    /// The file with the state, if there is one.
    pub state: Option<RawFd>,
    /// The file with the apps that are served although their files are bad now, if there are any.
    pub apps: Option<RawFd>,
    /// The listening sockets with their purposes.
    pub(super) listens: Vec<(RawFd, Purpose)>,
}

impl HandedOver {
    fn to_text(&self) -> String {
        let state = self.state.unwrap_or(-1);
        let mut text = format!("{} {} {state}", process::id(), self.clock_us);
        for (descriptor, purpose) in &self.listens {
            text.push_str(&format!(" {}{descriptor}", purpose.letter()));
        }
        text
    }

    /// Reads the environment variable; `None` if no process has handed over to this one.
    pub(crate) fn from_environment() -> Option<Self> {
        let text = env::var(VARIABLE).ok()?;
        let mut words = text.split(' ');
        // Child processes inherit the variable as well; it is valid for this process id only.
        words.next().filter(|id| *id == process::id().to_string())?;
        let clock_us = words.next()?.parse().ok()?;
        let state = words.next()?.parse().ok().filter(|state| *state >= 0);
        let listens = words.map(|word| {
            let (letter, descriptor) = word.split_at_checked(1)?;
            Some((descriptor.parse().ok()?, Purpose::from_letter(letter.chars().next()?)))
        });
        let apps = env::var(APPS_VARIABLE).ok().and_then(|text| {
            let (id, descriptor) = text.split_once(' ')?;
            descriptor.parse().ok().filter(|_| id == process::id().to_string())
        });
        Some(HandedOver { clock_us, state, apps, listens: listens.collect::<Option<_>>()? })
    }

    /// Reads the apps that are served although their files are bad now. Without them the server still
    /// serves the others.
    pub(crate) fn read_apps(&self, inherited: &mut Inherited) -> Vec<(String, Vec<App>)> {
        let Some(descriptor) = self.apps else { return Vec::new() };
        let mut read = || -> Result<_, Box<dyn Error>> {
            let mut text = String::new();
            File::from(inherited.take(descriptor)?).read_to_string(&mut text)?;
            Ok(parse_kept(&text)?)
        };
        read().unwrap_or_else(|error| {
            log::error!("cannot read the apps that were handed over: {error}");
            Vec::new()
        })
    }

    /// Reads the state from its file.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub(super) fn read_state(&self, inherited: &mut Inherited) -> io::Result<Option<Vec<u8>>> {
        let Some(descriptor) = self.state else { return Ok(None) };
        let mut bytes = Vec::new();
        File::from(inherited.take(descriptor)?).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}

/// Writes a state to a memory file, positioned at its beginning.
pub(super) fn state_file(state: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(sys::memory_file()?);
    file.write_all(state)?;
    file.rewind()?;
    Ok(file.into())
}

/// A check of the new binary: a child process that reports whether it can serve.
pub(super) struct Trial {
    child: Child,
    answer: UnixStream,
    text: Vec<u8>,
    pub deadline_ms: u64,
}

impl Trial {
    /// Starts the child. The poller reports its output.
    pub(super) fn begin(
        successor: &Successor,
        registry: &Registry,
        deadline_ms: u64,
    ) -> Result<Self, String> {
        let program = successor.program.display();
        let begin = || {
            let (ours, theirs) = StdUnixStream::pair()?;
            ours.set_nonblocking(true)?;
            let mut answer = UnixStream::from_std(ours);
            registry.register(&mut answer, TRIAL, Interest::READABLE)?;
            let child = Command::new(&successor.program)
                .arg(TRY)
                .args(successor.arguments.iter().skip(1))
                .env_remove(VARIABLE)
                .env_remove(APPS_VARIABLE)
                .stdin(Stdio::null())
                .stdout(Stdio::from(OwnedFd::from(theirs.try_clone()?)))
                .stderr(Stdio::from(OwnedFd::from(theirs)))
                .spawn()?;
            Ok(Trial { child, answer, text: Vec::new(), deadline_ms })
        };
        begin().map_err(|error: io::Error| format!("cannot run {program}: {error}"))
    }

    /// The version of the state that the new binary reads, or why it cannot serve. `None` until it
    /// has reported.
    pub(super) fn outcome(&mut self, now_ms: u64) -> Option<Result<String, String>> {
        let mut buffer = [0; 1_024];
        loop {
            match self.answer.read(&mut buffer) {
                Ok(0) => break,
                // A binary that prints more than this is not this program.
                Ok(len) if self.text.len() < 65_536 => self.text.extend(&buffer[..len]),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if now_ms < self.deadline_ms => return None,
                Err(_) => {
                    return Some(Err(NO_ANSWER.to_owned()));
                }
            }
        }
        // The child may have closed its output and still run; the server does not wait for it.
        let _ = self.child.kill();
        let status = self.child.wait();
        let output = String::from_utf8_lossy(&self.text);
        let line = output.lines().last().unwrap_or_default();
        Some(match status {
            Ok(status) if status.success() => match line.strip_prefix(READS) {
                Some(version) => Ok(version.to_owned()),
                None => Err(format!("unexpected output from the new binary: {line:?}")),
            },
            Ok(status) if line.is_empty() => Err(format!("the new binary failed ({status})")),
            Ok(_) => Err(line.strip_prefix("reverb: ").unwrap_or(line).to_owned()),
            Err(error) => Err(error.to_string()),
        })
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // Both calls do nothing if the exit status was already read.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address at which `reverb reload` waits for the result. On Linux there is no `folder`: the
/// address is abstract, and disappears with the process that listens there. Elsewhere it is a file in
/// the runtime folder of the server.
///
/// # Errors
///
/// The system has no abstract addresses; the path is too long.
pub fn outcome_address(process: u32, folder: Option<&Path>) -> io::Result<SocketAddr> {
    let name = format!("reverb-reload-{process}");
    match folder {
        Some(folder) => SocketAddr::from_pathname(folder.join(name)),
        None => sys::abstract_address(&name),
    }
}

/// The socket that sends `reverb reload` the result of the reload. It is open from the start, so
/// that the result can be sent even at the open-file limit.
pub(super) struct Outcome {
    socket: UnixDatagram,
    /// The runtime folder of this server, on systems without abstract addresses.
    pub folder: Option<PathBuf>,
}

impl Outcome {
    pub(super) fn new() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Outcome { socket, folder: None })
    }

    /// Sends the result: an empty message for success, or the reason of the failure.
    pub(super) fn send(&self, result: Result<(), &str>) {
        let text = result.err().unwrap_or_default();
        let sent = outcome_address(process::id(), self.folder.as_deref())
            .and_then(|address| self.socket.send_to_addr(text.as_bytes(), &address));
        // This fails if no `reverb reload` is waiting, because a signal requested the reload.
        drop(sent);
    }
}

/// Descriptors that survive `exec` while this value exists.
pub(super) struct Inheritable(Vec<RawFd>);

impl Inheritable {
    /// Makes these descriptors survive `exec`, and blocks the handled signals. The descriptors must
    /// stay open while this value exists.
    pub(super) fn new(descriptors: Vec<RawFd>) -> io::Result<Self> {
        let inheritable = Inheritable(descriptors);
        sys::hold_signals(true)?;
        for &descriptor in &inheritable.0 {
            sys::set_inheritable(&descriptor, true)?;
        }
        Ok(inheritable)
    }
}

impl Drop for Inheritable {
    fn drop(&mut self) {
        for descriptor in &self.0 {
            // This cannot fail: the descriptor is open.
            let _ = sys::set_inheritable(&descriptor.as_raw_fd(), false);
        }
        let _ = sys::hold_signals(false);
        // `exec` resets the handling of SIGPIPE, even if it fails.
        sys::ignore_broken_pipes();
    }
}

const NO_ANSWER: &str = "the new binary has not answered in time whether it would serve \
                         (limits.reload_check_timeout_ms)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_of_a_reload_reaches_an_address_with_a_file() {
        let folder = env::temp_dir();
        let address = outcome_address(process::id(), Some(&folder)).unwrap();
        let waiting = UnixDatagram::bind_addr(&address).unwrap();
        let outcome = Outcome { folder: Some(folder), ..Outcome::new().unwrap() };
        outcome.send(Err("no"));
        std::fs::remove_file(address.as_pathname().unwrap()).unwrap();
        let mut text = [0; 9];
        assert_eq!(waiting.recv(&mut text).unwrap(), 2);
        assert_eq!(&text[..2], b"no");
    }
}
