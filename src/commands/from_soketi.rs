//! `reverb install --from-soketi`: writes the configuration of soketi as a `reverb.json`, or as files of
//! the folder of apps, and reports what became of each setting.
//!
//! The settings are read in `source`; `server` and `app` know what becomes of each; `report` keeps the
//! lines.

mod app;
mod report;
mod server;
mod source;
mod variables;

use std::env;
use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::check::files::exposure;
use super::file::{must_not_exist, replace};
use crate::args::InstallArgs;
use crate::config::apps_editor::{EditError, Folder};
use crate::config::env::Environment;
use crate::config::{Error, checked, env_file, render};
use report::Report;
use source::Source;

/// Converts the configuration in `file`, and prints a line for each setting to `out`.
///
/// # Errors
///
/// A file cannot be read or written, or one to be written exists; the settings make no valid
/// configuration.
pub(super) fn run(args: &InstallArgs, file: &Path, out: &mut impl Write) -> Result<(), Error> {
    let config_file = args.config.as_deref().unwrap_or(Path::new("reverb.json"));
    must_not_exist(config_file)?;
    let environment = environment(args)?;
    let name = file.display().to_string();
    let text = fs::read_to_string(file)
        .map_err(|error| Error::whole(&name, format_args!("cannot be read: {error}")))?;
    let mut report = Report::default();
    let variables = environment.names().filter_map(|name| Some((name, environment.text(name)?)));
    let source = Source::read(&name, &text, variables, &mut report)?;
    let mut apps = app::convert(&source, &mut report);
    let mut server = server::convert(&source, &mut apps, &mut report);
    let folder = environment.get("REVERB_APPS_DIR").map(|path| Folder::new(path.into()));
    let mut tree = json!({"servers": {"reverb": server}});
    if !apps.is_empty() {
        tree["apps"] = json!({"apps": apps});
    }
    if let Err(error) = checked::check(&name, &tree.to_string()) {
        // A request may be longer than what nodes may send each other.
        if server.remove("max_request_size").is_none() {
            return Err(error);
        }
        tree["servers"]["reverb"] = Value::Object(server);
        checked::check(&name, &tree.to_string())?;
        let why = format!("{} {}", error.key, error.reason);
        report.revoke("servers.reverb.max_request_size", &why);
    }
    let mut text = report.text();
    if let Some(folder) = &folder {
        write_apps(folder, &apps, &mut text)?;
        if let Some(tree) = tree.as_object_mut() {
            tree.remove("apps");
        }
    }
    replace(config_file, false, render::tree(&tree).as_bytes(), 0o600)
        .map_err(|error| Error::whole(config_file.display(), error))?;
    text.push_str(&format!("{}: written\n", config_file.display()));
    if let Some(exposure) = exposure(config_file) {
        text.push_str(&format!("{exposure}\n"));
    }
    out.write_all(text.as_bytes()).map_err(|error| Error::whole("standard output", error))
}

/// The variables of the process and of the environment file.
fn environment(args: &InstallArgs) -> Result<Environment, Error> {
    let app_env = env::var("APP_ENV").ok();
    let path = env_file::choose_to_write(Path::new(""), args.env.as_deref(), app_env.as_deref());
    let mut environment = Environment::new(env::vars_os())?;
    match fs::read(&path) {
        Ok(text) => environment.add_file(&path, &text)?,
        Err(_) if args.env.is_none() => {}
        Err(error) => return Err(Error::whole(path.display(), error)),
    }
    Ok(environment)
}

/// Writes a file for each app.
fn write_apps(
    folder: &Folder,
    apps: &[Map<String, Value>],
    text: &mut String,
) -> Result<(), Error> {
    let failed = |error: EditError| Error::whole(folder, error);
    let _lock = folder.lock().map_err(failed)?;
    let contents = folder.read().map_err(failed)?;
    let mut names = Vec::new();
    for app in apps {
        let value = |key: &str| app.get(key).and_then(Value::as_str).unwrap_or_default();
        let (id, key) = (value("app_id"), value("key"));
        if let Some(file) = contents.file_with(|other| other.id == id || other.key == key) {
            let reason =
                format!("has an app with the id or the key of app {id}; nothing was written");
            return Err(Error::whole(file.path.display(), reason));
        }
        let name = folder.file_of(id).map_err(failed)?;
        folder.must_not_have(&name).map_err(failed)?;
        names.push(name);
    }
    for (app, name) in apps.iter().zip(&names) {
        let tree = Value::Object(app.clone());
        folder.write_new(name, &render::tree(&tree)).map_err(failed)?;
        text.push_str(&format!("{}: written\n", folder.path_of(name)));
    }
    Ok(())
}
