//! The folder of apps (`apps_dir`): what its files say, and what is served when they change.
//!
//! Reads no file: `apps_files` does.

use super::{App, Error, Findings, json};

/// The apps of a file: one app, or a list of apps, each as in `apps.apps` of a `reverb.json`. `name`
/// is the name of the file in errors and findings.
///
/// # Errors
///
/// The first error, with the name and the key: invalid syntax, a repeated key, an invalid value, an
/// app without credentials, or two apps with the same id or key.
pub fn parse_file(name: &str, text: &str) -> Result<(Vec<App>, Findings), Error> {
    let mut findings = Findings::default();
    let apps = json::read_apps(name, text, &mut findings)?;
    Ok((apps, findings))
}
