//! The sources of the configuration: which files they are, and their texts.
//!
//! The files are parsed in `json` and `artisan`; the environment file is chosen in `env_file`.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::artisan::HAND_OVER;
use super::env_file::ENV_FILE;
use super::{Error, json};

/// The configuration file without `--config`, if it exists.
const CONFIG_FILE: &str = "reverb.json";

/// The sources of the configuration: files and flags.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--config`; it must exist. Without it, `reverb.json` if it exists.
    pub config_file: Option<PathBuf>,
    /// Whether the hand-over of a Laravel app counts as well, if there is no other configuration
    /// file. A server reads it only if `config_file` names it, as artisan does, because an old one
    /// may be left.
    pub finds_hand_over: bool,
    /// `--env`: a file, which must exist, or the name of an environment. Without it, that of the
    /// hand-over, or [`ENV_FILE`] or that of `APP_ENV`, if it exists.
    pub env_file: Option<PathBuf>,
    /// The directory to which paths are relative; empty for the working directory.
    pub working_dir: PathBuf,
    /// `--host`.
    pub host: Option<String>,
    /// `--port`.
    pub port: Option<u16>,
    /// `--path`.
    pub path: Option<String>,
    /// `--hostname`.
    pub hostname: Option<String>,
    /// `--metrics`.
    pub metrics: Option<String>,
    /// `--console`.
    pub console: Option<String>,
}

impl Sources {
    /// The hand-over that counts, if there is one: no configuration file is named, and there is none
    /// in the working directory.
    pub fn hand_over(&self, process_env: &[(OsString, OsString)]) -> Option<PathBuf> {
        // A build without this part rejects a hand-over, which an earlier build may have left.
        let counts = cfg!(feature = "laravel") && self.finds_hand_over;
        if !counts || self.config_file.is_some() || self.working_dir.join(CONFIG_FILE).exists() {
            return None;
        }
        let folder = process_env.iter().find(|(name, _)| name == "LARAVEL_STORAGE_PATH");
        let folder = folder.and_then(|(_, value)| value.to_str()).unwrap_or("storage");
        let env_file = self.env_file.as_deref().unwrap_or(Path::new(ENV_FILE));
        let storage = self.working_dir.join(env_file).with_file_name(folder);
        Some(storage.join(HAND_OVER)).filter(|file| file.exists())
    }

    /// The path and text of the configuration file, if there is one.
    pub(super) fn config_file(
        &self,
        process_env: &[(OsString, OsString)],
    ) -> Result<Option<(PathBuf, String)>, Error> {
        let found = match self.hand_over(process_env) {
            Some(hand_over) => read(hand_over, false)?,
            None => {
                let named = self.config_file.as_deref();
                let file = self.working_dir.join(named.unwrap_or(Path::new(CONFIG_FILE)));
                read(file, named.is_some())?
            }
        };
        let Some((file, text)) = found else { return Ok(None) };
        let text = String::from_utf8(text);
        let text = text.map_err(|_| Error::whole(file.display(), "is not UTF-8"))?;
        json::check_export(&file.display().to_string(), &text)?;
        Ok(Some((file, text)))
    }
}

/// The path and contents of a file; `None` if it does not exist and need not.
pub(super) fn read(path: PathBuf, must_exist: bool) -> Result<Option<(PathBuf, Vec<u8>)>, Error> {
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some((path, bytes))),
        Err(error) if error.kind() == ErrorKind::NotFound && !must_exist => Ok(None),
        Err(error) => Err(Error::whole(path.display(), format_args!("cannot be read: {error}"))),
    }
}
