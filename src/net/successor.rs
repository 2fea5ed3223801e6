//! The binary that replaces this process: what it is, how it is tried, and what is handed over to it.
//! The server decides when (`server/control/replace`).
//!
//! `exec` runs it by the name this process was started by, so that the process id, which a process
//! manager watches, stays the same. An environment variable names what it takes over: the clock, the
//! listening sockets, and a file in memory with the state, which names the connections.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream as StdUnixStream};
use std::os::unix::process::CommandExt;
use std::process::{self, Child, Command, Stdio};
use std::{env, str};

use mio::net::UnixStream;
use mio::{Interest, Registry};

use super::listen::Purpose;
use super::sys::{self, Inherited};
use super::token::TRIAL;

/// The command that prints whether a binary would serve with the flags that follow.
pub(crate) const TRY: &str = "successor";
/// The beginning of the line it prints. The version of the state that it reads follows.
pub(crate) const READS: &str = "reads state ";

/// The environment variable. It does not begin with `REVERB_`, as it is no setting.
const VARIABLE: &str = "_REVERB_HANDED_OVER";

/// The binary at the path this process was started from, which may have been replaced since.
pub(crate) struct Successor {
    program: OsString,
    /// The command and its flags.
    arguments: Vec<OsString>,
}

impl Successor {
    /// The program and arguments of this process; `None` if it has none.
    pub(crate) fn of_this_process() -> Option<Self> {
        let mut arguments = env::args_os();
        Some(Successor { program: arguments.next()?, arguments: arguments.collect() })
    }

    /// Executes it in place of this program. Returns the error if that fails.
    pub(super) fn execute(&self, handed: &HandedOver) -> io::Error {
        Command::new(&self.program).args(&self.arguments).env(VARIABLE, handed.to_text()).exec()
    }
}

/// What one process hands over to the next.
pub(crate) struct HandedOver {
    /// The beginning of the server's clock, in microseconds of the system's clock.
    pub clock_us: u64,
    /// The file with the state, if there is one.
    pub state: Option<RawFd>,
    /// The listening sockets, and what each is for.
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

    /// What another process has handed over to this one, if one has.
    pub(crate) fn from_environment() -> Option<Self> {
        let text = env::var(VARIABLE).ok()?;
        let mut words = text.split(' ');
        // The variable is inherited by processes that it is not meant for.
        words.next().filter(|id| *id == process::id().to_string())?;
        let clock_us = words.next()?.parse().ok()?;
        let state = words.next()?.parse().ok().filter(|state| *state >= 0);
        let listens = words.map(|word| {
            let (letter, descriptor) = word.split_at_checked(1)?;
            Some((descriptor.parse().ok()?, Purpose::from_letter(letter.chars().next()?)))
        });
        Some(HandedOver { clock_us, state, listens: listens.collect::<Option<_>>()? })
    }

    /// Reads the state from its file.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(super) fn read_state(&self, inherited: &mut Inherited) -> io::Result<Option<Vec<u8>>> {
        let Some(descriptor) = self.state else { return Ok(None) };
        let mut bytes = Vec::new();
        File::from(inherited.take(descriptor)?).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}

/// Writes a state to a file in memory, ready to be read from the beginning.
pub(super) fn state_file(state: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(sys::memory_file()?);
    file.write_all(state)?;
    file.rewind()?;
    Ok(file.into())
}

/// The new binary as a child process that prints whether it would serve.
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
                .stdin(Stdio::null())
                .stdout(Stdio::from(OwnedFd::from(theirs.try_clone()?)))
                .stderr(Stdio::from(OwnedFd::from(theirs)))
                .spawn()?;
            Ok(Trial { child, answer, text: Vec::new(), deadline_ms })
        };
        begin().map_err(|error: io::Error| format!("cannot run {program}: {error}"))
    }

    /// The version of the state that the new binary reads, or why it would not serve. `None` while
    /// it has not answered.
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
        // A child that has closed its output may still run; the server does not wait for it.
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
        // Neither has an effect on a child that was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The abstract address at which `reverb reload` waits for the result. It disappears with the
/// process that listens there.
///
/// # Errors
///
/// The system's.
pub fn outcome_address(process: u32) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("reverb-reload-{process}"))
}

/// The socket that sends `reverb reload` the result of the reload. It is open from the start, so
/// that the result can be sent even at the open-file limit.
pub(super) struct Outcome(UnixDatagram);

impl Outcome {
    pub(super) fn new() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Outcome(socket))
    }

    /// Sends that the reload succeeded, as an empty message, or why it failed.
    pub(super) fn send(&self, result: Result<(), &str>) {
        let text = result.err().unwrap_or_default();
        let sent = outcome_address(process::id())
            .and_then(|address| self.0.send_to_addr(text.as_bytes(), &address));
        // This fails if no `reverb reload` is waiting, as when a signal requested the reload.
        drop(sent);
    }
}

/// Descriptors that an `exec` leaves open, until this is dropped.
pub(super) struct Inheritable(Vec<RawFd>);

impl Inheritable {
    /// Makes an `exec` leave these descriptors open, and blocks the handled signals. The descriptors
    /// must stay open while this lives.
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
        // `exec` resets this, also when it fails.
        sys::ignore_broken_pipes();
    }
}

const NO_ANSWER: &str = "the new binary has not answered in time whether it would serve \
                         (limits.reload_check_timeout_ms)";
