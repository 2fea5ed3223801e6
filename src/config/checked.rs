//! Whether a text is a valid `reverb.json` by itself. What the other sources add is in `load`.

use super::{Config, Error, Findings, json, largest};

/// Checks the text of a `reverb.json` without the other sources. `source` names it in errors.
/// It reports no warnings and notes: the server logs them when it reads the file.
///
/// # Errors
///
/// The text is not valid.
pub fn check(source: &str, text: &str) -> Result<(), Error> {
    let mut config = Config::default();
    config.apps = json::read(source, text, &mut config, &mut Findings::default())?;
    largest::check(&config)
}
