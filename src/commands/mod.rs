//! What the program does: one file a verb. Each reads what it needs, does it, and says in one line
//! why it could not.

pub mod check;
pub mod install;
pub mod reload;
pub mod restart;
pub mod start;

use std::fmt;

/// Why a command did not do what it was asked for, and the exit code that says so.
#[derive(Debug)]
pub struct Failure {
    /// One line for standard error.
    pub text: String,
    /// 1 for what went wrong at work, 2 for what was asked for wrongly.
    pub exit_code: u8,
}

impl Failure {
    /// Something went wrong at work.
    pub fn at_work(text: impl fmt::Display) -> Self {
        Failure { text: text.to_string(), exit_code: 1 }
    }
}

impl From<crate::config::Error> for Failure {
    fn from(error: crate::config::Error) -> Self {
        Failure { text: error.to_string(), exit_code: 2 }
    }
}

impl From<crate::args::UsageError> for Failure {
    fn from(error: crate::args::UsageError) -> Self {
        Failure { text: error.to_string(), exit_code: 2 }
    }
}
