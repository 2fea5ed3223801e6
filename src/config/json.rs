//! Reads `reverb.json`: Laravel's `config/reverb.php` as JSON with the same keys, and a few more.
//!
//! Written by hand because an error must name the full path of a key and suggest a known one, empty
//! PHP arrays stand for objects, and settings share one table with the variables; serde's derived
//! parsers offer none of this. The values of a setting are in `settings`, precedence in `load`.

mod secrets;

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::app_draft::AppDraft;
use super::settings::{APP, SERVER, Setting};
use super::soketi;
use super::values;
use super::{App, Artisan, Config, Error, Findings, Limits, Tls, Webhook, json_text, tls};
use crate::nearest::did_you_mean;

/// Applies a file to the server and its limits, and returns its apps, if any. `source` names the
/// file in errors.
///
/// # Errors
///
/// The first error: invalid syntax, a repeated key, an invalid value, an app without credentials or
/// with the id or key of another app. An unknown key is a finding, because Laravel ignores it too.
pub fn read(
    source: &str,
    text: &str,
    config: &mut Config,
    findings: &mut Findings,
) -> Result<Vec<App>, Error> {
    check_export(source, text)?;
    read_over(source, text, None, config, findings)
}

/// As [`read`]. The app with the id of `environment` has the settings of `environment` where the file
/// has none: `config/reverb.php` of a Laravel app does not have all settings of this server.
///
/// # Errors
///
/// Those of [`read`].
pub fn read_over(
    source: &str,
    text: &str,
    environment: Option<&AppDraft>,
    config: &mut Config,
    findings: &mut Findings,
) -> Result<Vec<App>, Error> {
    let tree = json_text::parse(source, text)?;
    let mut reader = Reader { source, environment, findings };
    let root = reader.object("", &tree)?;
    // `artisan` is read in a file of that name.
    if !cfg!(feature = "laravel") && root.contains_key("artisan") {
        return Err(reader.error("artisan", Artisan::MISSING));
    }
    reader.known("", root, &["default", "servers", "apps", "artisan"]);
    reader.servers(root, config)?;
    match root.get("apps") {
        None => Ok(Vec::new()),
        Some(apps) => reader.apps(apps),
    }
}

/// Returns the apps of a file with one app, or with a list of apps, each as in `apps.apps` of a
/// `reverb.json`. `source` names the file in errors.
///
/// # Errors
///
/// Those of [`read`].
pub fn read_apps(source: &str, text: &str, findings: &mut Findings) -> Result<Vec<App>, Error> {
    let tree = json_text::parse(source, text)?;
    let mut reader = Reader { source, environment: None, findings };
    match &tree {
        Value::Array(list) => {
            let list = list.iter().enumerate().map(|(at, value)| (format!("[{at}]"), value));
            reader.distinct_apps(list.collect())
        }
        Value::Object(_) => Ok(vec![reader.app("", &tree)?]),
        _ => Err(Error::whole(source, "must be an app or a list of apps")),
    }
}

/// The command of a Laravel app that prints its configuration as a `reverb.json`.
pub const EXPORT: &str = r#"php artisan tinker --execute='echo json_encode(config("reverb"));'"#;

/// Rejects what a failed [`EXPORT`] leaves in a file.
///
/// # Errors
///
/// The text is not that of a configuration.
pub fn check_export(source: &str, text: &str) -> Result<(), Error> {
    match failed_export(text) {
        None => Ok(()),
        Some(what) => {
            let reason = format!("{what}; export it again: {EXPORT} > {source}");
            Err(Error::whole(source, reason))
        }
    }
}

/// What a failed export has left, if the text is one.
fn failed_export(text: &str) -> Option<&'static str> {
    match text.trim_start_matches('\u{feff}').trim() {
        "" => Some("is empty"),
        "null" => Some("is null, because the Laravel app has no config/reverb.php"),
        text if text.starts_with(['{', '[']) => None,
        _ => Some("does not begin with {, so it may contain an error of artisan"),
    }
}

/// The names of all keys, except those of limits and of app options. A dot separates levels; the
/// levels above a server and an app are omitted.
pub fn keys() -> impl Iterator<Item = &'static str> {
    let settings = SERVER.iter().map(|s| s.key).chain(APP.iter().map(|s| s.key));
    let settings = settings.filter(|key| !key.is_empty());
    let others = ["default", "servers", "options", "tls", "limits", "apps", "provider", "webhooks"];
    settings.chain(others).chain(tls::KEYS.iter().copied()).chain(Webhook::KEYS)
}

/// The finding about an application provider of the Laravel app.
pub const CUSTOM_PROVIDER: &str = "the server does not run the PHP code of an application provider; \
                                   it serves the apps in apps.apps, or else the app of the \
                                   REVERB_APP_ variables";

/// The keys of `options` other than `tls`: settings of PHP's sockets, without effect here.
const PHP_SOCKET_OPTIONS: &[&str] = &["tcp", "unix", "dns", "timeout", "happy_eyeballs"];

/// An empty PHP array, which may stand for an empty object.
static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);

struct Reader<'a> {
    source: &'a str,
    /// The app in the environment, if its settings count.
    environment: Option<&'a AppDraft>,
    findings: &'a mut Findings,
}

impl Reader<'_> {
    fn servers(&mut self, root: &Map<String, Value>, config: &mut Config) -> Result<(), Error> {
        let default = match root.get("default") {
            None | Some(Value::Null) => "reverb",
            Some(Value::String(name)) => name,
            Some(_) => return Err(self.error("default", "must be text")),
        };
        let servers = match root.get("servers") {
            None => &EMPTY,
            Some(servers) => self.object("servers", servers)?,
        };
        // A file may have apps only.
        let has_no_servers = servers.is_empty() && default == "reverb";
        if !has_no_servers && !servers.contains_key(default) {
            let reason = format!("servers has no entry {}", values::shown(default));
            return Err(self.error("default", reason));
        }
        for (name, server) in servers {
            if name == default {
                self.server(name, server, config)?;
            } else {
                // Unused servers are checked as well, because `default` may change.
                self.server(name, server, &mut Config::default())?;
            }
        }
        Ok(())
    }

    fn server(&mut self, name: &str, server: &Value, config: &mut Config) -> Result<(), Error> {
        let path = format!("servers.{name}");
        let server = self.object(&path, server)?;
        self.apply(SERVER, &path, "", server, &["options", "limits"], config)?;
        if let Some(options) = server.get("options") {
            self.options(&format!("{path}.options"), options, &mut config.server.tls)?;
        }
        if let Some(limits) = server.get("limits") {
            self.limits(&format!("{path}.limits"), limits, &mut config.limits)?;
        }
        Ok(())
    }

    fn options(&mut self, path: &str, options: &Value, tls: &mut Tls) -> Result<(), Error> {
        for (key, value) in self.object(path, options)? {
            let path = join(path, key);
            match key.as_str() {
                "tls" => self.tls(&path, value, tls)?,
                key if PHP_SOCKET_OPTIONS.contains(&key) => {
                    self.note(&path, "has no effect: it is an option of PHP's sockets");
                }
                key => self.unknown(&path, key, ["tls"]),
            }
        }
        Ok(())
    }

    fn tls(&mut self, path: &str, options: &Value, tls: &mut Tls) -> Result<(), Error> {
        let options = self.object(path, options)?;
        let key_path = |key: &str| if key.is_empty() { path.to_owned() } else { join(path, key) };
        match tls.read(options) {
            Ok(_) if !cfg!(feature = "tls") && *tls != Tls::default() => {
                Err(self.error(path, Tls::MISSING))
            }
            Ok(remarks) => {
                remarks.mistakes.iter().for_each(|(key, text)| self.warn(&key_path(key), text));
                remarks.others.iter().for_each(|(key, text)| self.note(&key_path(key), text));
                Ok(())
            }
            Err((key, reason)) => Err(self.error(&key_path(key), reason)),
        }
    }

    fn limits(&mut self, path: &str, object: &Value, limits: &mut Limits) -> Result<(), Error> {
        for (key, value) in self.object(path, object)? {
            let path = join(path, key);
            if !Limits::NAMES.contains(&key.as_str()) {
                self.unknown(&path, key, Limits::NAMES.iter().copied());
                continue;
            }
            let text = match value {
                Value::Null => continue,
                Value::Number(number) => number.to_string(),
                Value::String(text) if text.is_empty() => continue,
                Value::String(text) => text.clone(),
                _ => return Err(self.error(&path, "must be a whole number")),
            };
            values::whole(&text, &(0..=u64::MAX))
                .and_then(|number| limits.set(key, number))
                .map_err(|reason| self.error(&path, reason))?;
        }
        Ok(())
    }

    fn apps(&mut self, apps: &Value) -> Result<Vec<App>, Error> {
        let apps = self.object("apps", apps)?;
        self.known("apps", apps, &["provider", "apps"]);
        match apps.get("provider") {
            None | Some(Value::Null) => {}
            Some(Value::String(name)) if name == "config" || name.is_empty() => {}
            Some(Value::String(_)) => {
                self.warn("apps.provider", CUSTOM_PROVIDER);
            }
            Some(_) => return Err(self.error("apps.provider", "must be text")),
        }
        // PHP prints an array whose keys are not 0, 1, 2 … as an object.
        let list: Vec<(String, &Value)> = match apps.get("apps") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(list)) => {
                list.iter().enumerate().map(|(i, v)| (format!("apps.apps[{i}]"), v)).collect()
            }
            Some(Value::Object(named)) => {
                named.iter().map(|(key, v)| (join("apps.apps", key), v)).collect()
            }
            Some(_) => return Err(self.error("apps.apps", "must be a list")),
        };
        if list.is_empty() && apps.contains_key("apps") {
            let text =
                "is empty, so the server serves the app of the REVERB_APP_ variables, if any";
            self.note("apps.apps", text);
        }
        self.distinct_apps(list)
    }

    /// Reads apps. No two may have the same id or key.
    fn distinct_apps(&mut self, list: Vec<(String, &Value)>) -> Result<Vec<App>, Error> {
        let mut apps = Vec::with_capacity(list.len());
        let mut seen = HashMap::new();
        for (path, value) in list {
            let app = self.app(&path, value)?;
            for (key, own) in [("app_id", &app.id), ("key", &app.key)] {
                if let Some(other) = seen.insert((key, own.clone()), path.clone()) {
                    return Err(self.error(&join(&path, key), format!("is the same as in {other}")));
                }
            }
            apps.push(app);
        }
        Ok(apps)
    }

    fn app(&mut self, path: &str, value: &Value) -> Result<App, Error> {
        let object = self.object(path, value)?;
        secrets::check(object).map_err(|why| self.error(&join(path, "secrets"), why))?;
        let mut draft = AppDraft::new();
        self.app_settings(path, object, &mut draft)?;
        if let Some(app) = self.environment.filter(|it| it.app.id == draft.app.id) {
            // The file has precedence. Its unknown keys are findings already.
            draft = app.clone();
            let known = self.findings.warnings.len();
            let notes = self.findings.notes.len();
            self.app_settings(path, object, &mut draft)?;
            self.findings.warnings.truncate(known);
            self.findings.notes.truncate(notes);
        }
        if let Some(webhooks) = object.get("webhooks") {
            draft.app.webhooks = self.webhooks(&join(path, "webhooks"), webhooks)?;
        }
        for (key, credential) in draft.credentials() {
            if credential.is_empty() {
                return Err(self.error(&join(path, key), self.is_missing(key)));
            }
        }
        if draft.app.allowed_origins.is_empty() {
            self.warn(
                &join(path, "allowed_origins"),
                "is empty, so no browser can connect; use [\"*\"] to allow all",
            );
        }
        Ok(draft.finish())
    }

    /// Applies the settings of an app, including those with the names of soketi.
    fn app_settings(
        &mut self,
        path: &str,
        object: &Map<String, Value>,
        draft: &mut AppDraft,
    ) -> Result<(), Error> {
        let mut own = object.clone();
        own.retain(|key, _| soketi::find(key).is_none());
        self.apply(APP, path, "", &own, &["webhooks"], draft)?;
        for (key, value) in object {
            let Some(alias) = soketi::find(key) else { continue };
            let at = |reason: String| self.error(&join(path, key), reason);
            let is_set_twice = own.get(alias.ours).is_some_and(|value| !value.is_null());
            if is_set_twice && !value.is_null() {
                return Err(at(format!("{} is set as well: keep one of them", alias.ours)));
            }
            if let Some(value) = alias.value(value, &mut draft.app).map_err(at)?
                && let Some(setting) = APP.iter().find(|setting| setting.key == alias.ours)
            {
                setting.set_json(draft, &value).map_err(at)?;
            }
        }
        Ok(())
    }

    /// What is wrong with an app without this credential. In a hand-over, Laravel has read it from a
    /// variable.
    fn is_missing(&self, key: &str) -> String {
        if self.environment.is_none() {
            return "is missing".to_owned();
        }
        let variable = match key {
            "app_id" => "REVERB_APP_ID",
            "key" => "REVERB_APP_KEY",
            _ => "REVERB_APP_SECRET",
        };
        format!(
            "is missing: set {variable} in the environment file (`reverb install` does), or the \
             variable that this app reads instead"
        )
    }

    fn webhooks(&self, path: &str, webhooks: &Value) -> Result<Vec<Webhook>, Error> {
        let list = match webhooks {
            Value::Null => return Ok(Vec::new()),
            Value::Array(list) => list,
            _ => return Err(self.error(path, "must be a list of objects")),
        };
        if !cfg!(feature = "webhooks") && !list.is_empty() {
            return Err(self.error(path, Webhook::MISSING));
        }
        let entry = |(at, entry): (usize, &Value)| {
            let path = format!("{path}[{at}]");
            Webhook::read(self.object(&path, entry)?)
                .map_err(|(key, reason)| self.error(&format!("{path}.{key}"), reason))
        };
        list.iter().enumerate().map(entry).collect()
    }

    /// Applies an object to settings. `level` is the key of the object in the table of settings;
    /// `others` are further keys, which the caller handles.
    fn apply<T>(
        &mut self,
        settings: &[Setting<T>],
        path: &str,
        level: &str,
        object: &Map<String, Value>,
        others: &[&'static str],
        target: &mut T,
    ) -> Result<(), Error> {
        for (key, value) in object {
            let path = join(path, key);
            let full = join(level, key);
            if let Some(setting) = settings.iter().find(|s| s.key == full && !key.contains('.')) {
                setting.set_json(target, value).map_err(|reason| self.error(&path, reason))?;
            } else if settings.iter().any(|s| below(s.key, &full).is_some()) {
                self.apply(settings, &path, &full, self.object(&path, value)?, &[], target)?;
            } else if !others.contains(&key.as_str()) {
                let siblings = settings.iter().filter_map(|s| below(s.key, level));
                let siblings = siblings.filter_map(|key| key.split('.').next());
                self.unknown(&path, key, siblings.chain(others.iter().copied()));
            }
        }
        Ok(())
    }

    /// Reports the keys of an object other than these.
    fn known(&mut self, path: &str, object: &Map<String, Value>, keys: &[&str]) {
        for key in object.keys().filter(|key| !keys.contains(&key.as_str())) {
            self.unknown(&join(path, key), key, keys.iter().copied());
        }
    }

    fn object<'v>(&self, path: &str, value: &'v Value) -> Result<&'v Map<String, Value>, Error> {
        match value {
            Value::Object(object) => Ok(object),
            Value::Null => Ok(&EMPTY),
            Value::Array(list) if list.is_empty() => Ok(&EMPTY),
            _ => Err(self.error(path, "must be an object")),
        }
    }

    /// Reports an unknown key. One that resembles a known key is probably misspelt; any other may be
    /// a key of a later release, or of another package.
    fn unknown<'k>(&mut self, path: &str, key: &str, known: impl IntoIterator<Item = &'k str>) {
        match did_you_mean(key, known) {
            meant if meant.is_empty() => self.note(path, tls::UNKNOWN_KEY),
            meant => self.warn(path, &format!("{}{meant}", tls::UNKNOWN_KEY)),
        }
    }

    fn error(&self, path: &str, reason: impl Into<String>) -> Error {
        Error::new(self.source, path, reason)
    }

    fn warn(&mut self, path: &str, text: &str) {
        self.findings.warn(self.error(path, text).to_string());
    }

    fn note(&mut self, path: &str, text: &str) {
        self.findings.note(self.error(path, text).to_string());
    }
}

/// Joins a path and a key. A key may contain anything, so it is escaped to keep errors on one line.
fn join(path: &str, key: &str) -> String {
    let key = key.escape_debug();
    if path.is_empty() { key.to_string() } else { format!("{path}.{key}") }
}

/// The rest of a setting's key below a level; `None` if the key is elsewhere.
fn below<'k>(key: &'k str, level: &str) -> Option<&'k str> {
    if level.is_empty() {
        return Some(key).filter(|key| !key.is_empty());
    }
    key.strip_prefix(level)?.strip_prefix('.')
}

#[cfg(test)]
mod tests;
