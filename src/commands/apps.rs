//! `reverb apps`: lists the apps of a server, and edits those in the files of its folder. A running
//! server gets SIGHUP, so that it applies the change at once.
//!
//! What the server has is in `configured`, the files are in `config/apps_editor`, their JSON in `edit`, the list in
//! `list`, the signal in `signal`.

mod configured;
mod edit;
mod list;
mod signal;

use std::io::Write;

use serde_json::{Map, Value, json};

use super::{Failure, hand_over};
use crate::args::apps::{Action, AddArgs, AppsArgs};
use crate::config::apps_editor::{AppFile, Contents, Folder};
use crate::config::load;
use crate::config::{App, Error, credentials, render};
use configured::Configured;

/// Runs the command, and prints the result to `out`.
///
/// # Errors
///
/// The configuration is invalid or names no folder; a file cannot be read or written; there is no such
/// app, or there is one already; with `list`, a file of the folder is invalid.
pub fn run(args: &AppsArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let (sources, _) = hand_over::sources_in_use(args.running.sources());
    let configured = Configured { loaded: load::written(&sources, std::env::vars_os())? };
    let mut result = match &args.action {
        Action::List { secrets } => {
            return list::run(&configured, *secrets, args.json, out);
        }
        Action::Add(add) => configured.add(add)?,
        Action::Rotate { id, secret } => configured.rotate(id, secret.as_deref())?,
        Action::FinishRotation(id) => configured.finish_rotation(id)?,
        Action::Enable(id) => configured.set_enabled(id, true)?,
        Action::Disable(id) => configured.set_enabled(id, false)?,
        Action::Remove(id) => configured.remove(id)?,
    };
    let mut processes = Vec::new();
    if result.is_changed && !args.no_signal {
        let notice = signal::send(&configured.loaded.config.server);
        result.text.push_str(&format!("{}\n", notice.text));
        processes = notice.processes;
    }
    result.fields["changed"] = result.is_changed.into();
    result.fields["signalled"] = processes.into();
    let text = if args.json { format!("{}\n", result.fields) } else { result.text };
    out.write_all(text.as_bytes()).map_err(Failure::at_work)
}

/// What an action has done.
struct Outcome {
    is_changed: bool,
    /// For people: whole lines.
    text: String,
    /// For programs: an object.
    fields: Value,
}

impl Outcome {
    fn new(is_changed: bool, text: String, fields: Value) -> Self {
        Outcome { is_changed, text: text + "\n", fields }
    }
}

impl Configured {
    fn add(&self, add: &AddArgs) -> Result<Outcome, Failure> {
        let folder = self.folder_to_edit()?;
        let _lock = folder.lock()?;
        let contents = folder.read()?;
        let app = self.credentials(add, &contents)?;
        let (tree, app, notes) = edit::new_app(&app, &add.settings)?;
        let file = folder.file_of(&app.id)?;
        folder.write_new(&file, &render::tree(&tree))?;
        let file = folder.path_of(&file);
        let App { id, key, secret, .. } = &app;
        let mut text = format!(
            "Added app {id} in {file}.\nREVERB_APP_ID={id}\nREVERB_APP_KEY={key}\n\
             REVERB_APP_SECRET={secret}"
        );
        notes.iter().for_each(|note| text.push_str(&format!("\nnote: {note}")));
        let fields = json!({"id": id, "key": key, "secret": secret, "file": file, "notes": notes});
        Ok(Outcome::new(true, text, fields))
    }

    /// The given credentials, and random ones for those that are not given. Fails if the id or the key
    /// is that of another app.
    fn credentials(&self, add: &AddArgs, contents: &Contents) -> Result<App, Failure> {
        // Of 900,000 random ids, a folder with thousands of apps has some already.
        const ATTEMPTS: u32 = 1_000;
        for _ in 0..ATTEMPTS {
            let mut app = credentials::generate()?;
            app.id = add.id.clone().unwrap_or(app.id);
            app.key = add.key.clone().unwrap_or(app.key);
            app.secret = add.secret.clone().unwrap_or(app.secret);
            let taken = |flag: &str, value: &str, is_same: &dyn Fn(&App) -> bool| {
                let place = self.place(contents, is_same)?;
                let flag = format!("{flag} {value}");
                Some(Failure::at_work(format!("{flag}: is that of an app in {place}; use another")))
            };
            let same_id = taken("--id", &app.id, &|other| other.id == app.id);
            let same_key = taken("--key", &app.key, &|other| other.key == app.key);
            match (same_id, same_key) {
                (Some(failure), _) if add.id.is_some() => return Err(failure),
                (_, Some(failure)) if add.key.is_some() => return Err(failure),
                (None, None) => return Ok(app),
                _ => {}
            }
        }
        let text = format!("{ATTEMPTS} random ids are those of other apps; choose one with --id");
        Err(Failure::at_work(text))
    }

    /// Where an app is, in the folder or the configuration.
    fn place(&self, contents: &Contents, is_it: &dyn Fn(&App) -> bool) -> Option<String> {
        let file = contents.file_with(is_it);
        let own = || self.apps().iter().any(is_it).then(|| self.source());
        file.map(|file| file.path.display().to_string()).or_else(own)
    }

    fn rotate(&self, id: &str, secret: Option<&str>) -> Result<Outcome, Failure> {
        let secret = match secret {
            Some("") => return Err(Error::new("command line", "--secret", "is empty").into()),
            Some(secret) => secret.to_owned(),
            None => credentials::generate()?.secret,
        };
        self.edit(id, |app, entry| {
            if app.previous_secret.is_some() {
                return Err(Failure::at_work(format!(
                    "app {id} has two secrets already: run `reverb apps rotate {id} --finish` once \
                     nothing uses the old one"
                )));
            }
            if app.secret == secret {
                let reason = "is the secret that the app has; use another";
                return Err(Error::new("command line", "--secret", reason).into());
            }
            let old = std::mem::replace(&mut app.secret, secret.clone());
            edit::set_secrets(entry, &secret, Some(&old));
            app.previous_secret = Some(old);
            let text = format!(
                "App {id} has a new secret; the old one is valid until `reverb apps rotate {id} \
                 --finish`.\nREVERB_APP_SECRET={secret}"
            );
            Ok(Outcome::new(true, text, json!({"secret": secret})))
        })
    }

    fn finish_rotation(&self, id: &str) -> Result<Outcome, Failure> {
        self.edit(id, |app, entry| {
            let is_changed = app.previous_secret.take().is_some();
            let text = match is_changed {
                true => format!("The old secret of app {id} is not valid any more."),
                false => format!("App {id} has one secret: nothing to finish."),
            };
            if is_changed {
                edit::set_secrets(entry, &app.secret, None);
            }
            Ok(Outcome::new(is_changed, text, json!({})))
        })
    }

    fn set_enabled(&self, id: &str, enabled: bool) -> Result<Outcome, Failure> {
        self.edit(id, |app, entry| {
            let state = if enabled { "enabled" } else { "disabled" };
            let is_changed = app.enabled != enabled;
            let again = if is_changed { "" } else { " already" };
            if is_changed {
                entry.insert("enabled".into(), enabled.into());
                app.enabled = enabled;
            }
            let text = format!("App {id} is {state}{again}.");
            Ok(Outcome::new(is_changed, text, json!({"enabled": enabled})))
        })
    }

    fn remove(&self, id: &str) -> Result<Outcome, Failure> {
        let folder = self.folder_to_edit()?;
        let _lock = folder.lock()?;
        let mut contents = folder.read()?;
        let (file, at) = self.find(&folder, &mut contents, id)?;
        folder.remove_app(file, at)?;
        let path = file.path.display().to_string();
        let text = format!("Removed app {id} from {path}.");
        Ok(Outcome::new(true, text, json!({"id": id, "file": path})))
    }

    /// Edits the entry of one app. `change` gets the app and its entry, and changes both in the same way.
    fn edit(
        &self,
        id: &str,
        change: impl FnOnce(&mut App, &mut Map<String, Value>) -> Result<Outcome, Failure>,
    ) -> Result<Outcome, Failure> {
        let folder = self.folder_to_edit()?;
        let _lock = folder.lock()?;
        let mut contents = folder.read()?;
        let (file, at) = self.find(&folder, &mut contents, id)?;
        let entry = match &mut file.tree {
            Value::Array(list) => list.get_mut(at),
            tree => Some(tree),
        };
        let entry = entry.and_then(Value::as_object_mut).expect("each app of a file is an object");
        let mut outcome = change(&mut file.apps[at], entry)?;
        if outcome.is_changed {
            folder.rewrite(file)?;
        }
        outcome.fields["id"] = id.into();
        outcome.fields["file"] = file.path.display().to_string().into();
        Ok(outcome)
    }

    /// The file of an app in the folder, and its place there.
    fn find<'a>(
        &self,
        folder: &Folder,
        contents: &'a mut Contents,
        id: &str,
    ) -> Result<(&'a mut AppFile, usize), Failure> {
        match contents.places_of(id)[..] {
            [] => {}
            [(file, at)] => return Ok((&mut contents.files[file], at)),
            [(one, _), (two, _), ..] => {
                let [one, two] = [one, two].map(|file| contents.files[file].path.display());
                let text = format!("app {id} is in {one} and in {two}: remove it from one of them");
                return Err(Failure::at_work(text));
            }
        }
        if self.apps().iter().any(|app| app.id == id) {
            let source = self.source();
            return Err(Failure::at_work(format!(
                "app {id} is in {source}, not in the folder {folder}: edit it there"
            )));
        }
        let text = format!("{folder} has no app {id}");
        Err(Failure::at_work(match &contents.problems[..] {
            [] => format!("{text}; `reverb apps list` prints those it has"),
            [problem, ..] => format!("{text}, or a file that is invalid has it: {problem}"),
        }))
    }
}
