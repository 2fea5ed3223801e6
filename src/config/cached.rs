//! The configuration that `php artisan config:cache` has stored. While the file exists, Laravel does
//! not read the `.env`, so the app may publish with other credentials than the server expects.
//!
//! The file is parsed in `php`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fs, io};

use serde_json::Value;

use super::env::Environment;
use super::{Config, Findings, json, php};

/// The cached configuration of a Laravel app.
pub struct Cached {
    file: PathBuf,
    changed: Option<SystemTime>,
    /// `None` if the file has an unknown form.
    values: Option<Value>,
}

/// The file, relative to the folder of the app, unless `APP_CONFIG_CACHE` names another.
const FILE: &str = "bootstrap/cache/config.php";
/// The file of a new app has 40 KB. A longer file than this is not read.
const FILE_BYTES_MAX: u64 = 16 << 20;

impl Cached {
    /// Reads the file of the app in this folder; `None` if the app has none.
    pub fn of_app(app: &Path, environment: &Environment) -> Option<Self> {
        let file = app.join(environment.get("APP_CONFIG_CACHE").unwrap_or(FILE));
        let metadata = fs::metadata(&file).ok().filter(fs::Metadata::is_file)?;
        let values = match metadata.len() <= FILE_BYTES_MAX {
            true => fs::read(&file),
            false => Err(io::ErrorKind::FileTooLarge.into()),
        };
        let values = values.ok().and_then(|text| php::returned(&String::from_utf8_lossy(&text)));
        Some(Cached { file, changed: metadata.modified().ok(), values })
    }

    /// The value of a key, as in Laravel's `config()`.
    fn value(&self, key: &str) -> Option<&Value> {
        key.split('.').try_fold(self.values.as_ref()?, |value, key| value.get(key))
    }

    /// A text or a number.
    fn text(&self, key: &str) -> Option<String> {
        match self.value(key)? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// The name of the default cache store.
    pub fn cache_store(&self) -> Option<String> {
        self.text("cache.default")
    }

    /// Adds what the server does not share with this configuration. `env_file` is the environment file
    /// that the server has read, if any.
    pub fn compare(
        &self,
        environment: &Environment,
        env_file: Option<&Path>,
        config: &Config,
        findings: &mut Findings,
    ) {
        let file = self.file.display();
        let changed =
            |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        if let Some(env_file) = env_file
            && changed(env_file) > self.changed
        {
            findings.warn(format!(
                "{file}: is older than {}: Laravel uses the cached values, the server the new ones; \
                 {AGAIN}",
                env_file.display()
            ));
        }
        if self.values.is_none() {
            return findings.note(format!(
                "{file}: was not compared with the other settings, because it is not in the form of \
                 `php artisan config:cache`"
            ));
        }
        if let Some((key, what)) = self.difference(environment, config) {
            findings.warn(format!("{file}: {key}: differs from {what}; {AGAIN}"));
        }
        let provider = self.text("reverb.apps.provider");
        if provider.is_some_and(|provider| provider != "config") {
            findings.warn(format!("{file}: reverb.apps.provider: {}", json::CUSTOM_PROVIDER));
        }
    }

    /// The first key whose value differs, and from what.
    fn difference(&self, environment: &Environment, config: &Config) -> Option<(String, String)> {
        let connection = |key: &str| format!("broadcasting.connections.reverb.{key}");
        if let Some(id) = self.text(&connection("app_id"))
            && !config.apps.is_empty()
        {
            let Some(app) = config.apps.iter().find(|app| app.id == id) else {
                return Some((connection("app_id"), "the ids of the server's apps".into()));
            };
            for (key, value) in [("key", &app.key), ("secret", &app.secret)] {
                if self.text(&connection(key)).is_some_and(|cached| cached != *value) {
                    let what = format!("that of the server's app {id}");
                    return Some((connection(key), what));
                }
            }
        }
        let name = self.text("reverb.default").unwrap_or("reverb".into());
        let port = format!("reverb.servers.{name}.port");
        if self.text(&port).is_some_and(|cached| cached != config.server.port.to_string()) {
            return Some((port, format!("the server's port, {}", config.server.port)));
        }
        let port = "reverb.apps.apps.0.options.port";
        let public = environment.get("REVERB_PORT")?;
        let is_other = self.text(port).is_some_and(|cached| cached != public);
        is_other.then(|| (port.to_owned(), format!("REVERB_PORT, {}", public.escape_debug())))
    }
}

/// What to do about an old file.
const AGAIN: &str = "run `php artisan config:cache` again, or `php artisan config:clear`";
