//! The binary that takes this process over: what it is, whether it would serve, and what is handed
//! to it. When to do so is the server's business.
//!
//! It is executed in place of this one, by the name this one was started by, so that the process
//! stays the same to whoever watches over it. What it takes over is named in a variable: the clock,
//! the listening sockets, and a file in memory with the state, which names the connections.

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

/// The command that says whether a binary would serve with the flags behind it.
pub(crate) const TRY: &str = "successor";
/// What begins the line that says so; the version of the state it reads follows.
pub(crate) const READS: &str = "reads state ";

/// The variable. It begins with no `REVERB_`, as it is no setting.
const VARIABLE: &str = "_REVERB_HANDED_OVER";

/// The binary this process was started from, or whatever is in its place by now.
pub(crate) struct Successor {
    program: OsString,
    /// The command and its flags.
    arguments: Vec<OsString>,
}

impl Successor {
    /// As the command line of this process has it; `None` if it has none.
    pub(crate) fn of_this_process() -> Option<Self> {
        let mut arguments = env::args_os();
        Some(Successor { program: arguments.next()?, arguments: arguments.collect() })
    }

    /// Executes it in place of this program. Returns why that was not possible.
    pub(super) fn execute(&self, handed: &HandedOver) -> io::Error {
        Command::new(&self.program).args(&self.arguments).env(VARIABLE, handed.to_text()).exec()
    }
}

/// What one process leaves to the next.
pub(crate) struct HandedOver {
    /// Where the clock of the server begins, in microseconds of the system's.
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

    /// What was left to this process, if something was.
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

    /// The state itself.
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

/// Puts a state in a file in memory, to be read from its beginning.
pub(super) fn state_file(state: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(sys::memory_file()?);
    file.write_all(state)?;
    file.rewind()?;
    Ok(file.into())
}

/// The successor as a child that is asked whether it would serve.
pub(super) struct Trial {
    child: Child,
    answer: UnixStream,
    text: Vec<u8>,
    pub deadline_ms: u64,
}

impl Trial {
    /// Begins it. `registry` wakes the loop when there is an answer.
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

    /// Which state it reads, once it has said so; or why it would not serve.
    pub(super) fn outcome(&mut self, now_ms: u64) -> Option<Result<String, String>> {
        let mut buffer = [0; 1_024];
        loop {
            match self.answer.read(&mut buffer) {
                Ok(0) => break,
                // A binary that says more than this is none that was meant.
                Ok(len) if self.text.len() < 65_536 => self.text.extend(&buffer[..len]),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if now_ms < self.deadline_ms => return None,
                Err(_) => {
                    return Some(Err(
                        "the new binary has not said in time whether it would serve \
                                     (limits.reload_check_timeout_ms)"
                            .to_owned(),
                    ));
                }
            }
        }
        // Whoever has closed its output and lives on is not waited for.
        let _ = self.child.kill();
        let status = self.child.wait();
        let said = String::from_utf8_lossy(&self.text);
        let line = said.lines().last().unwrap_or_default();
        Some(match status {
            Ok(status) if status.success() => match line.strip_prefix(READS) {
                Some(version) => Ok(version.to_owned()),
                None => Err(format!("what was run is no reverb: it says {line:?}")),
            },
            Ok(status) if line.is_empty() => Err(format!("the new binary has failed ({status})")),
            Ok(_) => Err(line.strip_prefix("reverb: ").unwrap_or(line).to_owned()),
            Err(error) => Err(error.to_string()),
        })
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // Both do nothing to one that has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the outcome of a reload is told: a name that vanishes with whoever waits there.
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

/// Descriptors that stay open over an `exec`, until this is dropped.
pub(super) struct Inheritable(Vec<RawFd>);

impl Inheritable {
    /// Has these stay open, which are open as long as this lives, and signals wait.
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
            // It could be set the other way, and is open.
            let _ = sys::set_inheritable(&descriptor.as_raw_fd(), false);
        }
        let _ = sys::hold_signals(false);
        // An `exec` that has failed has changed this.
        sys::ignore_broken_pipes();
    }
}
