//! Writes files of a Laravel app and of the configuration: whole or not at all, with the owner and the
//! mode that they had. What is written is up to the commands.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::config::Error;
use crate::config::apps_editor::write_like;

/// Fails if a file exists.
pub(super) fn must_not_exist(path: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(Error::whole(path.display(), "exists already; it was not changed")),
        Err(_) => Ok(()),
    }
}

/// Replaces the contents of a file in one step, so that no reader sees a part of them. A new file
/// gets this mode.
pub(super) fn replace(path: &Path, exists: bool, text: &[u8], mode: u32) -> io::Result<()> {
    // Deployment tools make .env a link; the link stays, its target is replaced.
    let path = if exists { fs::canonicalize(path)? } else { path.to_owned() };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".reverb-{}", std::process::id()));
    let temporary: PathBuf = path.with_file_name(name);
    let written = write_like(&path, exists, &temporary, text, mode)
        .and_then(|()| fs::rename(&temporary, &path));
    if written.is_err() {
        // The first error is the one to report.
        _ = fs::remove_file(&temporary);
    }
    written
}
