//! The file with the token of a running server's console, which only the server's user can read. Its
//! name has the process id, so that `reverb console` finds it, and a reload finds its own.
//!
//! The folder is `RUNTIME_DIRECTORY` (of systemd), `reverb` in `XDG_RUNTIME_DIR`, or
//! `/tmp/reverb-UID`: the first that the server can use.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;

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
            let folders = folders(|name| std::env::var_os(name), own_user());
            read(&folders, Path::new("/"), process::id(), own_user())
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
    let user = own_user();
    let mut last = io::Error::other("there is no folder for it");
    for folder in folders(|name| std::env::var_os(name), user) {
        let file = folder.join(name_of(process::id()));
        match write_in(&folder, &file, &text, user) {
            Ok(()) => return Ok(ConsoleFile(file)),
            Err(error) => {
                last = io::Error::new(error.kind(), format!("{}: {error}", file.display()));
            }
        }
    }
    Err(last)
}

/// Removes the file that the predecessor of this process has written, if there is one.
pub(super) fn remove() {
    for folder in folders(|name| std::env::var_os(name), own_user()) {
        // This fails if there is none.
        _ = fs::remove_file(folder.join(name_of(process::id())));
    }
}

fn write_in(folder: &Path, file: &Path, text: &str, user: u32) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // Others may create files in /tmp first.
    let found = fs::symlink_metadata(folder)?;
    if !found.is_dir() || found.uid() != user {
        return Err(io::Error::other("the folder belongs to another user"));
    }
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // `create_new` does not follow a link.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    file.write_all(text.as_bytes())
}

/// The file of another process, or `None` if it has none.
///
/// # Errors
///
/// The environment of the process or the file cannot be read, for lack of permission.
pub(super) fn of_process(process: i32) -> io::Result<Option<Opened>> {
    let own = PathBuf::from(format!("/proc/{process}"));
    let environment = fs::read(own.join("environ"))?;
    let user = fs::metadata(&own)?.uid();
    let variable = |name: &str| {
        let mut variables = environment.split(|byte| *byte == 0);
        let value = variables.find_map(|it| it.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
        value.map(|value| OsString::from_vec(value.to_vec()))
    };
    // With PrivateTmp= of systemd, the server has another /tmp.
    let root = own.join("root");
    let id = u32::try_from(process).unwrap_or_default();
    read(&folders(variable, user), &root, id, user)
}

fn read(folders: &[PathBuf], root: &Path, id: u32, user: u32) -> io::Result<Option<Opened>> {
    for folder in folders {
        let folder = root.join(folder.strip_prefix("/").unwrap_or(folder));
        // Others may create the folder in /tmp first, with links or pipes in it.
        match fs::symlink_metadata(&folder) {
            Ok(found) if found.is_dir() && found.uid() == user => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => continue,
        }
        let file = match File::open(folder.join(name_of(id))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        // The file of another user in /tmp must not show another address.
        if file.metadata()?.uid() != user {
            continue;
        }
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

/// The folders in which the file may be, with these variables of the server.
fn folders(variable: impl Fn(&str) -> Option<OsString>, user: u32) -> Vec<PathBuf> {
    let absolute = |path: PathBuf| Some(path).filter(|path| path.is_absolute());
    // systemd separates several directories with colons.
    let systemd = variable("RUNTIME_DIRECTORY").and_then(|list| {
        let first = list.into_vec().split(|byte| *byte == b':').next()?.to_vec();
        absolute(OsString::from_vec(first).into())
    });
    let session = variable("XDG_RUNTIME_DIR").and_then(|path| absolute(path.into()));
    let session = session.map(|path| path.join("reverb"));
    let temporary = PathBuf::from(format!("/tmp/reverb-{user}"));
    systemd.into_iter().chain(session).chain([temporary]).collect()
}

fn name_of(process: u32) -> String {
    format!("console-{process}")
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The most bytes of the file: a URL or the path of a socket, a token of at most 1,024 bytes, and a
/// session.
const BYTES_MAX: u64 = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_that_of_the_service_manager_first() {
        let of = |variables: &[(&str, &str)]| {
            let variable = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            };
            folders(variable, 7).into_iter().map(|path| path.display().to_string()).collect()
        };
        let all: Vec<String> =
            of(&[("RUNTIME_DIRECTORY", "/run/reverb:/run/b"), ("XDG_RUNTIME_DIR", "/run/user/7")]);
        assert_eq!(all, ["/run/reverb", "/run/user/7/reverb", "/tmp/reverb-7"]);
        let few: Vec<String> = of(&[("RUNTIME_DIRECTORY", "relative"), ("XDG_RUNTIME_DIR", "")]);
        assert_eq!(few, ["/tmp/reverb-7"]);
    }
}
