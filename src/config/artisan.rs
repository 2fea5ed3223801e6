//! The hand-over of a Laravel app: the file that `php artisan reverb:start` writes for this server.
//! It is a `reverb.json` with the resolved `config('reverb')`, and an object `artisan` with what else
//! the server needs of the app. The provider in the app writes it; see `commands/bridge`.
//!
//! Reads the object, and compares the age of the files that Laravel reads. Which sources have
//! precedence is in `load`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::{Error, json_text};

/// Where the provider writes the hand-over, below the storage folder of the app.
pub const HAND_OVER: &str = "framework/cache/reverb.json";

/// The provider that `reverb install` adds to an app, relative to the folder of the app.
pub const PROVIDER: &str = "app/Providers/ReverbBridgeServiceProvider.php";

/// The version of the provider that this binary installs. A test compares it with that file.
pub const PROVIDER_VERSION: u64 = 1;

/// What a Laravel app hands over, except the configuration itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Artisan {
    /// The file with the hand-over.
    pub file: PathBuf,
    /// The version of the provider that wrote the hand-over.
    version: u64,
    /// The file of this provider.
    provider: PathBuf,
    /// The environment file that Laravel has chosen.
    pub environment_file: PathBuf,
    /// The storage folder of the app.
    pub storage: PathBuf,
    /// The variables of artisan's process that do not come from the environment file.
    pub environment: Vec<(String, String)>,
    /// What Laravel reads its configuration from.
    config_folder: PathBuf,
    config_cache: PathBuf,
    /// Whether Laravel has read its configuration cache instead of the other files.
    is_cached: bool,
    /// The URL of the app to which events are posted.
    pub events_url: String,
    /// Whether the app records the number of messages for Laravel Pulse.
    pub records_messages: bool,
}

impl Artisan {
    /// Why a build without the provider rejects a hand-over.
    pub const MISSING: &'static str = "this build has no part for artisan; build with the feature \
                                       laravel, or use `reverb start` with .env and reverb.json";

    /// The object `artisan` of a file; `None` if the file has none, and so is no hand-over.
    ///
    /// # Errors
    ///
    /// The text is not JSON, or a value has another type than the provider writes.
    pub fn read(file: &Path, text: &str) -> Result<Option<Self>, Error> {
        let source = file.display().to_string();
        let tree = json_text::parse(&source, text)?;
        let Some(object) = tree.get("artisan") else { return Ok(None) };
        let fields = Fields { source: &source, object: object.as_object() };
        let path = |key| fields.text(key).map(PathBuf::from);
        Ok(Some(Artisan {
            file: file.to_owned(),
            version: fields.get("version", Value::as_u64)?,
            provider: path("provider")?,
            environment_file: path("environment_file")?,
            storage: path("storage")?,
            environment: fields.get("environment", variables)?,
            config_folder: path("config_folder")?,
            config_cache: path("config_cache")?,
            is_cached: fields.get("is_cached", Value::as_bool)?,
            events_url: fields.text("events_url")?,
            records_messages: fields.get("records_messages", Value::as_bool)?,
        }))
    }

    /// The handed over variables, in the form of the environment of a process.
    pub fn variables(&self) -> impl Iterator<Item = (OsString, OsString)> + use<> {
        self.environment.clone().into_iter().map(|(name, value)| (name.into(), value.into()))
    }

    /// What errors in the configuration name as their file: the user cannot mend the hand-over.
    pub(super) fn source(&self) -> String {
        let file = self.config_folder.join("reverb.php");
        format!("{}, as artisan has resolved it", file.display())
    }

    /// The error of a hand-over without an app.
    pub(super) fn no_app(&self) -> Error {
        self.explained(Error::whole(
            self.source(),
            "config('reverb') has no app: add one to apps.apps (`php artisan reverb:install` does), \
             or, if a provider of the Laravel app returns the apps, let it return one",
        ))
    }

    /// An error in the configuration, with what to do so that a change has an effect.
    pub(super) fn explained(&self, error: Error) -> Error {
        let cached = "; run `php artisan config:cache` after the change";
        let reason = error.reason + if self.is_cached { cached } else { "" };
        Error { reason, ..error }
    }

    /// A warning if the provider has another version than this binary.
    pub fn version_warning(&self) -> Option<String> {
        let (provider, version) = (self.provider.display(), self.version);
        (cfg!(feature = "laravel") && version != PROVIDER_VERSION).then(|| {
            format!(
                "{provider}: has version {version}, and this binary needs version \
                 {PROVIDER_VERSION}; run `reverb install` in the folder of the Laravel app"
            )
        })
    }

    /// Warnings about the files that Laravel reads: they are newer than the hand-over, or the
    /// configuration cache was removed, or is older than the others.
    pub fn stale(&self) -> Vec<String> {
        // Without the feature there is no hand-over, and this code need not be in the binary.
        if !cfg!(feature = "laravel") {
            return Vec::new();
        }
        let Some(written) = modified(&self.file) else { return Vec::new() };
        match modified(&self.config_cache) {
            Some(cached) if self.is_cached || cached > written => self.old_cache(cached, written),
            None if self.is_cached => vec![not_in_use(&self.config_cache, "was removed")],
            _ => {
                let newer = self.newer_than(written);
                newer.map(|file| not_in_use(&file, "was changed")).collect()
            }
        }
    }

    /// A warning if the configuration cache, which Laravel reads in place of the other files, is older
    /// than one of them or newer than the hand-over.
    fn old_cache(&self, cached: SystemTime, written: SystemTime) -> Vec<String> {
        if let Some(file) = self.newer_than(cached).next() {
            return vec![format!(
                "{}: is older than {}, so the change is not in use; run `php artisan \
                 config:cache` and `php artisan reverb:reload`",
                self.config_cache.display(),
                file.display()
            )];
        }
        let is_newer = cached > written;
        is_newer.then(|| not_in_use(&self.config_cache, "was written")).into_iter().collect()
    }

    /// The environment file and a file of the configuration, as far as they have changed since.
    fn newer_than(&self, time: SystemTime) -> impl Iterator<Item = PathBuf> {
        let files = [Some(self.environment_file.clone()), newest(&self.config_folder)];
        let is_newer = move |file: &PathBuf| modified(file).is_some_and(|changed| changed > time);
        files.into_iter().flatten().filter(is_newer)
    }
}

/// A warning about a file that has changed since the hand-over.
fn not_in_use(file: &Path, what: &str) -> String {
    format!(
        "{}: {what} since artisan handed over the configuration, and may not be in use; run `php \
         artisan reverb:reload`",
        file.display()
    )
}

/// The fields of the object.
struct Fields<'a> {
    source: &'a str,
    object: Option<&'a Map<String, Value>>,
}

impl Fields<'_> {
    fn text(&self, key: &str) -> Result<String, Error> {
        self.get(key, |value| value.as_str().map(str::to_owned))
    }

    fn get<'a, T>(&'a self, key: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<T, Error> {
        let value = self.object.and_then(|object| object.get(key)).and_then(read);
        value.ok_or_else(|| {
            let reason = "is missing or has another type than `php artisan reverb:start` writes";
            Error::new(self.source, format!("artisan.{key}"), reason)
        })
    }
}

/// An object of texts. PHP writes an empty object as an empty list.
fn variables(value: &Value) -> Option<Vec<(String, String)>> {
    if let Value::Array(list) = value {
        return list.is_empty().then(Vec::new);
    }
    let entries = value.as_object()?.iter();
    entries.map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

fn modified(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}

/// The PHP file below a folder that was changed last.
fn newest(folder: &Path) -> Option<PathBuf> {
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(_) if path.extension().is_some_and(|extension| extension == "php") => {
                    files.push(path);
                }
                _ => {}
            }
        }
        // A folder of configuration files has some dozens.
        if files.len() > FILES_MAX || folders.len() > FILES_MAX {
            break;
        }
    }
    files.into_iter().max_by_key(|file| modified(file))
}

/// The most files and folders that a check for newer ones looks at, give or take one folder.
const FILES_MAX: usize = 1_000;

#[cfg(test)]
#[cfg(feature = "laravel")]
mod tests {
    use super::*;
    use std::time::Duration;

    const OBJECT: &str = r#"{"version":1,"provider":"/app/P.php","environment_file":"/app/.env",
        "config_folder":"/app/config","config_cache":"/app/config.php","is_cached":false,
        "storage":"/app/storage","events_url":"http://app/reverb/events",
        "records_messages":true,"flags":{},"environment":{"REVERB_X":"1"},"later":[]}"#;

    fn read(object: &str) -> Result<Option<Artisan>, String> {
        let text = format!("{{\"apps\":{{}},\"artisan\":{object}}}");
        Artisan::read(Path::new("h.json"), &text).map_err(|error| error.to_string())
    }

    #[test]
    fn the_object_of_the_provider_is_read() {
        let artisan = read(OBJECT).unwrap().unwrap();
        assert_eq!(artisan.environment, [("REVERB_X".to_owned(), "1".to_owned())]);
        assert_eq!(artisan.storage, Path::new("/app/storage"));
        assert!(artisan.records_messages && !artisan.is_cached);
        let empty = OBJECT.replace(r#"{"REVERB_X":"1"}"#, "[]");
        assert!(read(&empty).unwrap().unwrap().environment.is_empty());
        assert_eq!(Artisan::read(Path::new("h.json"), "{}"), Ok(None));
    }

    #[test]
    fn an_object_of_another_form_is_an_error_that_names_the_key() {
        for (old, new, key) in [
            ("\"version\":1", "\"version\":\"1\"", "version"),
            ("\"is_cached\":false,", "", "is_cached"),
            (r#"{"REVERB_X":"1"}"#, r#"{"REVERB_X":1}"#, "environment"),
        ] {
            let refused = read(&OBJECT.replace(old, new)).unwrap_err();
            assert!(
                refused.starts_with(&format!("h.json: artisan.{key}: is missing")),
                "{refused}"
            );
        }
        assert!(read("[]").unwrap_err().starts_with("h.json: artisan.version: "));
    }

    #[test]
    fn another_version_of_the_provider_is_a_warning() {
        let artisan = read(OBJECT).unwrap().unwrap();
        assert_eq!(artisan.version_warning(), None);
        let older = Artisan { version: 0, ..artisan };
        let warning = older.version_warning().unwrap();
        assert!(warning.starts_with("/app/P.php: has version 0"), "{warning}");
        assert!(warning.contains("`reverb install`"), "{warning}");
    }

    #[test]
    fn files_newer_than_the_hand_over_are_warnings() {
        let folder = std::env::temp_dir().join(format!("reverb-artisan-{}", std::process::id()));
        fs::create_dir_all(folder.join("config/nested")).unwrap();
        let now = SystemTime::now();
        let touch = |name: &str, seconds: u64| {
            let file = fs::File::create(folder.join(name)).unwrap();
            file.set_modified(now + Duration::from_secs(seconds)).unwrap();
        };
        let names = ["h.json", ".env", "config/a.php", "config/nested/b.php", "config.php"];
        names.iter().for_each(|name| touch(name, 0));
        let mut artisan = Artisan {
            file: folder.join("h.json"),
            environment_file: folder.join(".env"),
            config_folder: folder.join("config"),
            config_cache: folder.join("config.php"),
            ..Artisan::default()
        };
        assert_eq!(artisan.stale(), [""; 0]);
        for name in &names[1..] {
            touch(name, 1);
            let [warning] = &artisan.stale()[..] else { panic!("{name}: {:?}", artisan.stale()) };
            assert!(warning.contains(name), "{warning}");
            assert!(warning.ends_with("run `php artisan reverb:reload`"), "{warning}");
            touch(name, 0);
        }
        artisan.is_cached = true;
        assert_eq!(artisan.stale(), [""; 0]);
        let one = |artisan: &Artisan| {
            let [warning] = &artisan.stale()[..] else { panic!("{:?}", artisan.stale()) };
            warning.clone()
        };
        // Laravel reads the cache, so the other files count only when it is written again.
        let again = "run `php artisan config:cache` and `php artisan reverb:reload`";
        for name in [".env", "config/a.php"] {
            touch(name, 1);
            let warning = one(&artisan);
            assert!(warning.contains("config.php: is older than ") && warning.contains(name));
            assert!(warning.ends_with(again), "{warning}");
            // The hand-over was written after the change, from the old cache.
            touch("h.json", 2);
            assert_eq!(one(&artisan), warning);
            touch("h.json", 0);
            touch(name, 0);
        }
        touch("config.php", 1);
        touch(".env", 1);
        assert!(one(&artisan).contains("config.php: was written since"));
        fs::remove_file(&artisan.config_cache).unwrap();
        let warning = one(&artisan);
        assert!(warning.contains("config.php: was removed since"), "{warning}");
        assert!(warning.ends_with("run `php artisan reverb:reload`"), "{warning}");
        fs::remove_dir_all(folder).unwrap();
    }
}
