//! Answers the requests about apps of the console's port (`GET`, `PUT`, `DELETE /admin/apps/ID`): shows
//! apps, and edits the files of the folder. The thread that reads the folder calls it
//! (`net/apps_folder`); the requests arrive in `hub/console/admin`.

use serde_json::{Map, Value, json};

use super::apps_editor::{AppFile, Contents, EditError, Folder};
use super::apps_folder::parse_file;
use super::{App, AppsFiles, Error, credentials, render};

/// What a request about apps asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppAction {
    /// All apps.
    List,
    /// The app with this id.
    Show(String),
    /// To add the app with this id, or to replace its settings.
    Put {
        /// The id in the path.
        id: String,
        /// The settings as JSON text, in the shape of an entry of `apps.apps`.
        settings: String,
    },
    /// To remove the app with this id.
    Remove(String),
}

impl AppAction {
    /// Whether it changes the folder.
    pub fn is_change(&self) -> bool {
        matches!(self, AppAction::Put { .. } | AppAction::Remove(_))
    }
}

/// The answer to a change that was made, but that the server has not applied for this reason.
pub fn unapplied(why: &Error) -> (u16, String) {
    let text = format!("The change is in the folder, but not applied: {why}.");
    (500, json!({"error": text}).to_string())
}

/// Answers a request with a status and a JSON text. `own` are the apps of the configuration itself;
/// `files` is `None` without a folder. The folder is not read again.
pub fn answer(action: AppAction, own: &[App], files: Option<&AppsFiles>) -> (u16, String) {
    let done = match action {
        AppAction::List => Ok(list(own, files)),
        AppAction::Show(id) => show(&id, own, files),
        AppAction::Put { id, settings } => change(&id, own, files, |editor| editor.put(&settings)),
        AppAction::Remove(id) => change(&id, own, files, |editor| editor.remove()),
    };
    match done {
        Ok(value) => (200, value.to_string()),
        Err(Refused(status, text)) => (status, json!({"error": text}).to_string()),
    }
}

/// A status, and what was wrong.
struct Refused(u16, String);

impl From<EditError> for Refused {
    fn from(error: EditError) -> Self {
        match error {
            EditError::Invalid(error) => error.into(),
            EditError::Exists(text) | EditError::Busy(text) => Refused(409, format!("{text}.")),
            EditError::AtWork(text) => Refused(500, format!("{text}.")),
        }
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Refused(422, format!("{error}."))
    }
}

/// All apps, by id.
fn list(own: &[App], files: Option<&AppsFiles>) -> Value {
    let own = own.iter().map(|app| (app, CONFIGURATION));
    let of_files = files.into_iter().flat_map(|files| files.folder().apps());
    let mut apps: Vec<(&App, &str)> = own.chain(of_files.map(|app| (app, FOLDER))).collect();
    apps.sort_by(|(a, _), (b, _)| a.id.cmp(&b.id));
    let row = |(app, from): (&App, &str)| json!({"app_id": app.id, "key": app.key, "enabled": app.enabled, "from": from});
    json!({"apps": apps.into_iter().map(row).collect::<Vec<Value>>()})
}

/// One app: its settings as in a file, without the secrets and the webhooks.
fn show(id: &str, own: &[App], files: Option<&AppsFiles>) -> Result<Value, Refused> {
    let of_files = || files.and_then(|files| files.folder().apps().find(|app| app.id == id));
    let found = own.iter().find(|app| app.id == id).map(|app| (app, CONFIGURATION));
    let found = found.or_else(|| Some((of_files()?, FOLDER)));
    let (app, from) = found.ok_or_else(|| unknown(id))?;
    let mut settings = render::app_object(app);
    let secrets = ["secret", "secrets"].map(|key| settings.remove(key));
    let count = secrets.iter().flatten().map(|it| it.as_array().map_or(1, Vec::len)).sum::<usize>();
    settings.insert("secret_count".into(), count.into());
    // URLs and headers of webhooks may contain secrets.
    if let Some(webhooks) = settings.remove("webhooks") {
        let count = webhooks.as_array().map_or(0, Vec::len);
        settings.insert("webhook_count".into(), count.into());
    }
    settings.insert("from".into(), from.into());
    Ok(settings.into())
}

/// Changes an app of the folder, while no command edits it.
fn change(
    id: &str,
    own: &[App],
    files: Option<&AppsFiles>,
    change: impl FnOnce(&mut Editor<'_>) -> Result<Value, Refused>,
) -> Result<Value, Refused> {
    let Some(files) = files else {
        let text = "There is no folder of apps: set REVERB_APPS_DIR to one.";
        return Err(Refused(409, text.into()));
    };
    if own.iter().any(|app| app.id == id) {
        let text =
            "The app is in the configuration of the server, not in the folder: change it there.";
        return Err(Refused(409, text.into()));
    }
    let folder = Folder::new(files.path().to_owned());
    let has = |apps: &[App]| apps.iter().any(|app| app.id == id);
    if let Some((_, error, _)) = files.folder().bad().find(|(.., apps)| has(apps)) {
        let text = format!("The file of the app is bad; correct it first: {error}.");
        return Err(Refused(409, text));
    }
    let _lock = folder.lock_soon()?;
    let contents = folder.read()?;
    let places = contents.places_of(id);
    if places.len() > 1 {
        let text = "Two files have the app: remove it from one of them.";
        return Err(Refused(409, text.into()));
    }
    let at = places.first().copied();
    change(&mut Editor { id, own, files, folder: &folder, contents, at })
}

/// An app in the files of the folder.
struct Editor<'a> {
    id: &'a str,
    own: &'a [App],
    /// The apps that are served, also those of bad files.
    files: &'a AppsFiles,
    folder: &'a Folder,
    contents: Contents,
    /// The file of the app and its place there; `None` if the app is a new one.
    at: Option<(usize, usize)>,
}

impl Editor<'_> {
    /// Replaces all settings of the app. Credentials that are not given stay, or are made for a new app.
    fn put(&mut self, settings: &str) -> Result<Value, Refused> {
        let mut entry: Map<String, Value> = serde_json::from_str(settings)
            .map_err(|error| Refused(400, format!("The body is not a JSON object: {error}.")))?;
        let given = entry.insert("app_id".into(), self.id.into());
        let is_own_id = |given: &Value| match given {
            Value::Number(number) => number.to_string() == self.id,
            given => given.as_str() == Some(self.id),
        };
        if given.is_some_and(|given| !is_own_id(&given)) {
            let text = "app_id is another than the one in the path; an app keeps its id.";
            return Err(Refused(422, text.into()));
        }
        let made = self.complete(&mut entry)?;
        let app = self.check(&entry)?;
        match self.at {
            Some((file, at)) => {
                let file = &mut self.contents.files[file];
                match &mut file.tree {
                    Value::Array(list) => list[at] = entry.into(),
                    tree => *tree = entry.into(),
                }
                file.apps[at] = app.clone();
                self.folder.rewrite(file)?;
            }
            None => {
                let name = self.folder.file_of(self.id)?;
                self.folder.write_new(&name, &render::tree(&entry.into()))?;
            }
        }
        let mut done = json!({"app_id": app.id, "key": app.key, "created": self.at.is_none()});
        if made {
            done["secret"] = app.secret.into();
        }
        Ok(done)
    }

    /// Adds the credentials that are not given. Returns whether the secret is a new one.
    fn complete(&self, entry: &mut Map<String, Value>) -> Result<bool, Refused> {
        let has =
            |entry: &Map<String, Value>, key: &str| entry.get(key).is_some_and(|it| !it.is_null());
        let (lacks_key, lacks_secret) =
            (!has(entry, "key"), !has(entry, "secret") && !has(entry, "secrets"));
        let (app, is_new) = match self.at {
            Some((file, at)) => (self.contents.files[file].apps[at].clone(), false),
            None if !lacks_key && !lacks_secret => return Ok(false),
            None => {
                let random = credentials::generate();
                (random.map_err(|error| Refused(500, format!("{error}.")))?, true)
            }
        };
        if lacks_key {
            entry.insert("key".into(), app.key.into());
        }
        if lacks_secret {
            match app.previous_secret {
                None => entry.insert("secret".into(), app.secret.into()),
                Some(previous) => entry.insert("secrets".into(), json!([app.secret, previous])),
            };
        }
        Ok(lacks_secret && is_new)
    }

    /// The app of an entry, if it is valid and no other app has its key.
    fn check(&self, entry: &Map<String, Value>) -> Result<App, Refused> {
        let text = Value::from(entry.clone()).to_string();
        let (apps, findings) = parse_file(BODY, &text)?;
        if let Some(mistake) = findings.warnings.first() {
            return Err(Refused(422, format!("{mistake}.")));
        }
        let app = apps.into_iter().next();
        let app = app.ok_or_else(|| Refused(422, "The body has no app.".into()))?;
        let of_files = self.contents.files.iter().flat_map(|file: &AppFile| &file.apps);
        let others = self.own.iter().chain(of_files).chain(self.files.folder().apps());
        match others.filter(|other| other.id != self.id).any(|other| other.key == app.key) {
            true => Err(Refused(409, "Another app has this key.".into())),
            false => Ok(app),
        }
    }

    fn remove(&mut self) -> Result<Value, Refused> {
        let (file, at) = self.at.ok_or_else(|| unknown(self.id))?;
        self.folder.remove_app(&mut self.contents.files[file], at)?;
        Ok(json!({"app_id": self.id}))
    }
}

fn unknown(id: &str) -> Refused {
    Refused(404, format!("There is no app with the id {}.", id.escape_debug()))
}

/// The name of the body of a request, in errors.
const BODY: &str = "body";
/// Where an app is.
const FOLDER: &str = "folder";
const CONFIGURATION: &str = "configuration";
