//! The folder of the small files that commands read from a running server, and only its user may
//! read: the token of its console, and, on systems without `/proc`, the file with its addresses.
//!
//! The folder is `RUNTIME_DIRECTORY` (of systemd), `reverb` in `XDG_RUNTIME_DIR`, or
//! `/tmp/reverb-UID`: the first that the server can use.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The folders that a server of this user with these variables may use, best first.
pub(super) fn candidates(variable: impl Fn(&str) -> Option<OsString>, user: u32) -> Vec<PathBuf> {
    let absolute = |path: PathBuf| Some(path).filter(|path| path.is_absolute());
    // systemd separates several directories with colons.
    let systemd = variable("RUNTIME_DIRECTORY").and_then(|list| {
        let first = list.into_vec().split(|byte| *byte == b':').next()?.to_vec();
        absolute(OsString::from_vec(first).into())
    });
    let session = variable("XDG_RUNTIME_DIR").and_then(|path| absolute(path.into()));
    let session = session.map(|path| path.join("reverb"));
    let temporary = Path::new(TEMPORARY).join(format!("{PREFIX}{user}"));
    systemd.into_iter().chain(session).chain([temporary]).collect()
}

/// The folders that this process may use, best first.
pub(super) fn own_candidates() -> Vec<PathBuf> {
    candidates(|name| std::env::var_os(name), own_user())
}

/// The folders whose files this user may read, each with its user: those that this process may use, and
/// those in `/tmp` of all users, which root may read.
pub(super) fn readable() -> Vec<(PathBuf, u32)> {
    let user = own_user();
    let mut folders: Vec<_> = own_candidates().into_iter().map(|path| (path, user)).collect();
    let temporary = fs::read_dir(TEMPORARY).into_iter().flatten().filter_map(Result::ok);
    folders.extend(temporary.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let theirs: u32 = name.strip_prefix(PREFIX)?.parse().ok()?;
        Some((entry.path(), theirs)).filter(|_| theirs != user)
    }));
    folders
}

/// The user of this process.
pub(super) fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Writes a file in the first of these folders that this user can use, in place of one with the same
/// name. Returns its path, and the file.
///
/// # Errors
///
/// No folder can be used; the text names the last one.
pub(super) fn write(folders: &[PathBuf], name: &str, text: &[u8]) -> io::Result<(PathBuf, File)> {
    let mut last = io::Error::other("there is no folder for it");
    for folder in folders {
        let path = folder.join(name);
        match write_in(folder, &path, text) {
            Ok(file) => return Ok((path, file)),
            Err(error) => {
                last = io::Error::new(error.kind(), format!("{}: {error}", path.display()));
            }
        }
    }
    Err(last)
}

fn write_in(folder: &Path, path: &Path, text: &[u8]) -> io::Result<File> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if !is_of(folder, own_user())? {
        return Err(io::Error::other("the folder belongs to another user"));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // `create_new` does not follow a link.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    Ok(file)
}

/// Opens a file that a server of this user has created in this folder; `None` if there is none.
///
/// # Errors
///
/// The folder or the file cannot be read, for lack of permission.
pub(super) fn open(folder: &Path, name: &str, user: u32) -> io::Result<Option<File>> {
    match is_of(folder, user) {
        Ok(true) => {}
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => return Ok(None),
    }
    // Neither a link nor a pipe, which would block, in the folder of a user who is not this one.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(folder.join(name));
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    // The file of another user must not show another address.
    Ok((file.metadata()?.uid() == user).then_some(file))
}

/// Whether this is a folder of this user. Others may create it in `/tmp` first, with links or pipes
/// in it.
fn is_of(folder: &Path, user: u32) -> io::Result<bool> {
    let found = fs::symlink_metadata(folder)?;
    Ok(found.is_dir() && found.uid() == user)
}

/// The folder in which each user may have one, with this prefix before the user's number.
const TEMPORARY: &str = "/tmp";
const PREFIX: &str = "reverb-";

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
            candidates(variable, 7).into_iter().map(|path| path.display().to_string()).collect()
        };
        let all: Vec<String> =
            of(&[("RUNTIME_DIRECTORY", "/run/reverb:/run/b"), ("XDG_RUNTIME_DIR", "/run/user/7")]);
        assert_eq!(all, ["/run/reverb", "/run/user/7/reverb", "/tmp/reverb-7"]);
        let few: Vec<String> = of(&[("RUNTIME_DIRECTORY", "relative"), ("XDG_RUNTIME_DIR", "")]);
        assert_eq!(few, ["/tmp/reverb-7"]);
    }
}
