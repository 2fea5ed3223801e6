//! The provider that connects a Laravel app to this server: a PHP file in the app, and the line that
//! registers it. `reverb install` adds both, `reverb install --remove` takes them back.
//!
//! What the provider does is in its own file, `bridge/ReverbBridgeServiceProvider.php`. What it hands
//! over to the server is read in `config/artisan`.

mod registration;

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::file::replace;
use crate::config::artisan::{self, HAND_OVER, PROVIDER_VERSION};
use crate::config::{Artisan, Error};

/// The provider, as an app with the namespace `App` needs it.
const PROVIDER: &str = include_str!("bridge/ReverbBridgeServiceProvider.php");

/// The SHA-256 of each provider of an earlier release, in hexadecimal. A file with one of them was
/// not changed by the user, so a newer provider replaces it. A release that changes the provider
/// adds the previous one here, and raises [`PROVIDER_VERSION`].
const EARLIER: &[&str] = &[];

/// The name of the class, and of its file.
const CLASS: &str = "ReverbBridgeServiceProvider";

/// The provider in an app.
#[derive(Debug, PartialEq)]
enum State {
    /// There is none.
    Absent,
    /// It is that of this binary.
    Current,
    /// It is that of an earlier release.
    Earlier,
    /// The user has changed it.
    Changed,
}

/// A Laravel app.
struct App<'a> {
    folder: &'a Path,
    /// The namespace of the classes in the folder `app`, without a backslash at its end.
    namespace: String,
}

/// Whether there is a Laravel app in this folder; never without the feature, so that a build without
/// it does not contain the provider.
pub(super) fn is_app(folder: &Path) -> bool {
    cfg!(feature = "laravel")
        && folder.join("artisan").is_file()
        && folder.join("composer.json").is_file()
}

/// Writes the provider into the app in this folder and registers it, and reports both to `out`. A
/// provider that the user has changed stays as it is.
///
/// # Errors
///
/// A file cannot be read or written; `out` fails.
pub(super) fn install(folder: &Path, out: &mut impl Write) -> Result<(), Error> {
    let app = App::read(folder)?;
    let shown = app.provider();
    let state = app.state(EARLIER)?;
    let text = match state {
        State::Current => String::new(),
        State::Absent | State::Earlier => {
            let file = folder.join(&shown);
            let parent = file.parent().unwrap_or(folder);
            fs::create_dir_all(parent).map_err(|e| Error::whole(parent.display(), e))?;
            replace(&file, state == State::Earlier, app.text().as_bytes(), 0o644)
                .map_err(|error| Error::whole(file.display(), error))?;
            let what = if state == State::Absent { "written" } else { "replaced" };
            format!("{}: {what}, version {PROVIDER_VERSION}\n", shown.display())
        }
        State::Changed => format!(
            "{}: was changed, so it stays as it is; to get version {PROVIDER_VERSION}, move it \
             away and run `reverb install` again\n",
            shown.display()
        ),
    };
    print(out, &text)?;
    print(out, &registration::add(folder, &app.class())?)?;
    let composer = fs::read_to_string(folder.join("composer.json")).unwrap_or_default();
    if !composer.contains("\"laravel/reverb\"") {
        let text = "composer.json: laravel/reverb is missing, and artisan starts this server only \
                    with it: run `composer require laravel/reverb`\n";
        print(out, text)?;
    }
    Ok(())
}

/// Takes the provider and its registration back, and reports that to `out`. A provider that the user
/// has changed stays, without its registration.
///
/// # Errors
///
/// There is no Laravel app in this folder; a file cannot be read, written or removed; `out` fails.
pub(super) fn remove(folder: &Path, out: &mut impl Write) -> Result<(), Error> {
    if !cfg!(feature = "laravel") {
        return Err(Error::whole("--remove", Artisan::MISSING));
    }
    if !is_app(folder) {
        let reason = "no Laravel app is here: artisan and composer.json are missing";
        let shown = if folder == Path::new("") { Path::new(".") } else { folder };
        return Err(Error::whole(shown.display(), reason));
    }
    let app = App::read(folder)?;
    // A class that is registered but missing would break the app, so the registration goes first.
    print(out, &registration::remove(folder, &app.class())?)?;
    let shown = app.provider();
    let text = match app.state(EARLIER)? {
        State::Absent => format!("{}: is not there\n", shown.display()),
        State::Changed => format!("{}: was changed, so it stays\n", shown.display()),
        State::Current | State::Earlier => {
            let file = folder.join(&shown);
            fs::remove_file(&file).map_err(|error| Error::whole(file.display(), error))?;
            format!("{}: removed\n", shown.display())
        }
    };
    print(out, &text)?;
    // Without a running server, commands would read an old hand-over.
    match fs::remove_file(folder.join("storage").join(HAND_OVER)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::whole(format_args!("storage/{HAND_OVER}"), error))
        }
        _ => Ok(()),
    }
}

/// What `reverb check` reports about the provider in this folder; `Err` if it needs a change.
pub(super) fn check(folder: &Path) -> Option<Result<String, String>> {
    let app = is_app(folder).then(|| App::read(folder).ok()).flatten()?;
    let file = folder.join(app.provider());
    let shown = file.display();
    Some(match app.state(EARLIER).ok()? {
        State::Absent => return None,
        State::Current => Ok(format!("{shown}: version {PROVIDER_VERSION}, as this binary has it")),
        State::Earlier => Err(format!(
            "{shown}: is that of an earlier release, and this binary has version \
             {PROVIDER_VERSION}; run `reverb install`"
        )),
        State::Changed => match version(&fs::read_to_string(&file).unwrap_or_default()) {
            Some(PROVIDER_VERSION) => {
                Ok(format!("{shown}: was changed, and has the version of this binary"))
            }
            _ => Err(format!(
                "{shown}: was changed, and does not have version {PROVIDER_VERSION}, which this \
                 binary needs; move it away and run `reverb install`"
            )),
        },
    })
}

/// The version in the text of a provider.
fn version(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once("const VERSION = ")?;
    rest.split(';').next()?.trim().parse().ok()
}

impl App<'_> {
    fn read(folder: &Path) -> Result<App<'_>, Error> {
        let file = folder.join("composer.json");
        let failed = |reason: String| Error::whole(file.display(), reason);
        let text = fs::read(&file).map_err(|error| failed(error.to_string()))?;
        let composer: serde_json::Value =
            serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
        let folders = composer["autoload"]["psr-4"].as_object().into_iter().flatten();
        let namespace = folders.into_iter().find_map(|(namespace, path)| {
            let path = path.as_str()?.trim_end_matches('/');
            (path == "app").then(|| namespace.trim_end_matches('\\').to_owned())
        });
        Ok(App { folder, namespace: namespace.unwrap_or_else(|| "App".to_owned()) })
    }

    /// The file of the provider, relative to the folder of the app.
    fn provider(&self) -> PathBuf {
        PathBuf::from(artisan::PROVIDER)
    }

    /// The full name of the class.
    fn class(&self) -> String {
        format!("{}\\Providers\\{CLASS}", self.namespace)
    }

    /// The text of the provider for this app.
    fn text(&self) -> String {
        PROVIDER.replacen(NAMESPACE, &format!("namespace {}\\Providers;", self.namespace), 1)
    }

    fn state(&self, earlier: &[&str]) -> Result<State, Error> {
        let file = self.folder.join(self.provider());
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(State::Absent),
            Err(error) => return Err(Error::whole(file.display(), error)),
        };
        // Git may have changed the ends of lines, and an app may have another namespace.
        let text = text.replace("\r\n", "\n");
        if text == self.text() {
            return Ok(State::Current);
        }
        let text =
            text.replacen(&format!("namespace {}\\Providers;", self.namespace), NAMESPACE, 1);
        let hash = base16ct::lower::encode_string(&Sha256::digest(text.as_bytes()));
        Ok(if earlier.contains(&hash.as_str()) { State::Earlier } else { State::Changed })
    }
}

const NAMESPACE: &str = "namespace App\\Providers;";

fn print(out: &mut impl Write, text: &str) -> Result<(), Error> {
    out.write_all(text.as_bytes()).map_err(|error| Error::whole("standard output", error))
}

#[cfg(feature = "laravel")]
#[cfg(test)]
mod tests;
