//! Whether a running server reads the hand-over of artisan. The file stays when the server ends, so
//! the next server may be one that `reverb start` has started, which reads the `.env`.
//!
//! The flags of the server's process, in `/proc`, name the file.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::processes;
use crate::config::{Server, Sources, load};

/// The sources that the running server reads, and the hand-over that it does not read, if there is
/// one. Without a running server, a hand-over counts.
pub(super) fn sources_in_use(found: Sources) -> (Sources, Option<PathBuf>) {
    let variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let Some(file) = found.hand_over(&variables) else { return (found, None) };
    let without = Sources { finds_hand_over: false, ..found.clone() };
    // The server may listen where the hand-over says, or where the `.env` says. A hand-over that
    // cannot be read says nothing.
    let is_read = [&found, &without].into_iter().find_map(|sources| {
        let (server, _) = load::server(sources, variables.clone()).ok()?;
        is_read_at(&server, &file)
    });
    match is_read {
        Some(false) => (without, Some(file)),
        Some(true) | None => (found, None),
    }
}

/// Whether a server that listens there reads the hand-over; `None` if no server is found there.
fn is_read_at(server: &Server, file: &Path) -> Option<bool> {
    let servers = processes::servers(&processes::listening_at(server));
    let answers: Vec<bool> = servers.into_iter().filter_map(|id| reads(id, file)).collect();
    (!answers.is_empty()).then(|| answers.contains(&true))
}

/// Whether the flags of a process name this configuration file; `None` if they are not readable.
pub(super) fn reads(process: i32, file: &Path) -> Option<bool> {
    let arguments = fs::read(format!("/proc/{process}/cmdline")).ok()?;
    let arguments = arguments.split(|byte| *byte == 0).map(OsStr::from_bytes);
    let Some(named) = config_file(arguments) else { return Some(false) };
    // The path may be relative to the folder of the process, and contain links.
    let folder = fs::read_link(format!("/proc/{process}/cwd")).unwrap_or_default();
    let real = |path: &Path| fs::canonicalize(path).unwrap_or(path.to_owned());
    Some(real(&folder.join(named)) == real(file))
}

/// The value of `--config` in a command line.
fn config_file<'a>(mut arguments: impl Iterator<Item = &'a OsStr>) -> Option<&'a Path> {
    let flag = b"--config";
    let argument = arguments.find(|argument| {
        let rest = argument.as_bytes().strip_prefix(flag);
        rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'=')
    })?;
    match argument.as_bytes().strip_prefix(b"--config=") {
        Some(value) => Some(Path::new(OsStr::from_bytes(value))),
        None => arguments.next().map(Path::new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_file_is_found_in_a_command_line() {
        for (line, file) in [
            ("reverb start", None),
            ("reverb start --config a.json --debug", Some("a.json")),
            ("reverb start --port=1 --config=a.json", Some("a.json")),
            ("reverb start --configuration a.json", None),
            ("reverb start --config", None),
        ] {
            let found = config_file(line.split(' ').map(OsStr::new));
            assert_eq!(found, file.map(Path::new), "{line}");
        }
    }
}
