//! The file with the token of a running server's console, which only the server's user can read. Its
//! name has the process id, so that `reverb console` finds it, and a reload finds its own. Its folder
//! is that of `runtime_folder`.

use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process;

use super::{processes, runtime_folder};
use crate::hub::ConsoleKeys;
use crate::net::sys;

/// The contents of the file.
pub(super) struct Opened {
    pub url: String,
    pub keys: ConsoleKeys,
}

/// The file of this process. It is removed when this value is dropped, which does not happen when
/// the process executes its successor.
pub(super) struct ConsoleFile(PathBuf);

impl Drop for ConsoleFile {
    fn drop(&mut self) {
        // This fails if the file has been removed already.
        _ = fs::remove_file(&self.0);
    }
}

/// The keys of this server's console: those that its predecessor, the same process, has written, or
/// new ones. `token` is that of the configuration.
///
/// # Errors
///
/// The system has no random numbers.
pub(super) fn keys(token: Option<&str>, is_successor: bool) -> io::Result<ConsoleKeys> {
    let before = match is_successor {
        true => {
            let folders = runtime_folder::own_candidates();
            read(&folders, process::id(), runtime_folder::own_user())
        }
        false => Ok(None),
    };
    let before = before.ok().flatten().map(|opened| opened.keys);
    let random = || sys::random_seed().map(|seed| base16ct::lower::encode_string(&seed[..16]));
    Ok(match (token, before) {
        (None, Some(keys)) => keys,
        // A new token ends the sessions of the one before.
        (Some(token), Some(keys)) if token == keys.token => keys,
        (Some(token), _) => ConsoleKeys { token: token.to_owned(), session: random()? },
        (None, None) => ConsoleKeys { token: random()?, session: random()? },
    })
}

/// Writes the file of this process.
///
/// # Errors
///
/// No folder can be used; the text names the last one.
pub(super) fn write(url: &str, keys: &ConsoleKeys) -> io::Result<ConsoleFile> {
    let text = format!("{url}\n{}\n{}\n", keys.token, keys.session);
    let folders = runtime_folder::own_candidates();
    let (path, _) = runtime_folder::write(&folders, &name_of(process::id()), text.as_bytes())?;
    Ok(ConsoleFile(path))
}

/// Removes the file that the predecessor of this process has written, if there is one.
pub(super) fn remove() {
    for folder in runtime_folder::own_candidates() {
        // This fails if there is none.
        _ = fs::remove_file(folder.join(name_of(process::id())));
    }
}

/// The file of another process, or `None` if it has none.
///
/// # Errors
///
/// The folders of the process or the file cannot be read, for lack of permission.
pub(super) fn of_process(process: i32) -> io::Result<Option<Opened>> {
    let (folders, user) = processes::runtime_folders(process)?;
    read(&folders, process.unsigned_abs(), user)
}

fn read(folders: &[PathBuf], id: u32, user: u32) -> io::Result<Option<Opened>> {
    for folder in folders {
        let Some(file) = runtime_folder::open(folder, &name_of(id), user)? else { continue };
        let mut text = String::new();
        file.take(BYTES_MAX).read_to_string(&mut text)?;
        let mut lines = text.lines().map(str::to_owned);
        if let (Some(url), Some(token), Some(session)) = (lines.next(), lines.next(), lines.next())
        {
            return Ok(Some(Opened { url, keys: ConsoleKeys { token, session } }));
        }
    }
    Ok(None)
}

fn name_of(process: u32) -> String {
    format!("console-{process}")
}

/// The most bytes of the file: a URL or the path of a socket, a token of at most 1,024 bytes, and a
/// session.
const BYTES_MAX: u64 = 16_384;
