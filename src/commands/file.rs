//! Writes the files of a Laravel app: whole or not at all, with the owner and the mode that they had.
//! What is written is up to the commands.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

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

/// Writes a new file. With `exists`, it gets the owner and the mode of `model`.
pub(super) fn write_like(
    model: &Path,
    exists: bool,
    path: &Path,
    text: &[u8],
    mode: u32,
) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    if exists {
        let model = fs::metadata(model)?;
        let own = file.metadata()?;
        if (model.uid(), model.gid()) != (own.uid(), own.gid()) {
            fchown(&file, Some(model.uid()), Some(model.gid()))?;
        }
        file.set_permissions(Permissions::from_mode(model.mode() & 0o7777))?;
    }
    file.write_all(text)?;
    file.sync_all()
}
