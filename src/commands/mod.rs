//! The commands of the program, one file each. Each reads its configuration, does its work, and
//! reports failure in one line.

pub mod apps;
mod bridge;
mod broadcasting;
pub mod check;
pub mod console;
mod console_file;
mod file;
mod from_soketi;
mod hand_over;
pub mod install;
mod processes;
pub mod reload;
pub mod restart;
mod runtime_folder;
pub mod start;
#[cfg(feature = "console")]
pub mod terminal;

use std::fmt;

use crate::config::apps_editor::EditError;

/// Why a command failed, and its exit code.
#[derive(Debug)]
pub struct Failure {
    /// One line for standard error.
    pub text: String,
    /// 1 if the work failed, 2 if the arguments or the configuration are invalid.
    pub exit_code: u8,
}

impl Failure {
    /// A failure of the work, with exit code 1.
    pub fn at_work(text: impl fmt::Display) -> Self {
        Failure { text: text.to_string(), exit_code: 1 }
    }
}

impl From<crate::config::Error> for Failure {
    fn from(error: crate::config::Error) -> Self {
        Failure { text: error.to_string(), exit_code: 2 }
    }
}

impl From<EditError> for Failure {
    fn from(error: EditError) -> Self {
        match error {
            EditError::Invalid(error) => error.into(),
            error => Failure::at_work(error),
        }
    }
}

impl From<crate::args::UsageError> for Failure {
    fn from(error: crate::args::UsageError) -> Self {
        Failure { text: error.to_string(), exit_code: 2 }
    }
}
