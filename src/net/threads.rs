//! Starts the threads for what would block the event loop. What they do is in the files that start
//! them.

use std::io;
use std::thread::{Builder, JoinHandle};

/// What a thread does.
type Run = Box<dyn FnOnce() + Send>;

/// Starts a thread, which ends by itself. In a box, so that the code that starts a thread is in the
/// binary once.
pub(super) fn start(name: &str, run: Run) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.to_owned()).spawn(run)
}
