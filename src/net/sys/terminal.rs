//! The size of a terminal, and its mode in which each key arrives at once. What is drawn is not known
//! here.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// The columns and rows of a terminal; `None` if the file is none, or its size is not known.
pub fn terminal_size(file: &impl AsFd) -> Option<(u16, u16)> {
    let size = tcgetwinsize(file).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// A terminal on which each key arrives at once and is not shown. Ctrl-C still sends its signal.
/// Dropping the value restores the mode.
pub struct RawTerminal<'a> {
    file: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> RawTerminal<'a> {
    /// Changes the mode of a terminal.
    ///
    /// # Errors
    ///
    /// The file is no terminal.
    pub fn of(file: BorrowedFd<'a>) -> io::Result<Self> {
        let before = tcgetattr(file)?;
        let mut raw = before.clone();
        raw.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
        tcsetattr(file, OptionalActions::Now, &raw)?;
        Ok(RawTerminal { file, before })
    }
}

impl Drop for RawTerminal<'_> {
    fn drop(&mut self) {
        // This fails if the terminal was closed.
        let _ = tcsetattr(self.file, OptionalActions::Now, &self.before);
    }
}
