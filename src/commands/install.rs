//! `reverb install`: adds the entries for broadcasting to the `.env` of a Laravel app, as
//! `php artisan reverb:install` does, adds the provider in `bridge` to the app, and writes an example
//! of `reverb.json` on request.
//!
//! Existing entries are never changed: new ones are appended, and conflicting ones are reported. Files
//! are replaced whole or not at all.

use std::env;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use super::file::{must_not_exist, replace};
use super::{bridge, broadcasting, from_soketi};
use crate::args::InstallArgs;
use crate::config::env::Environment;
use crate::config::load::from_environment;
use crate::config::render::render;
use crate::config::{App, Error, credentials, dotenv, env_file};

/// Adds missing entries to the `.env` file, and reports them to `out`. A new file has mode 0600; an
/// existing one keeps its mode and owner. With `--config`, also writes every setting of the new
/// `.env` to that file, with mode 0600, as it contains the secret. In a Laravel app, adds the provider
/// as well; with `--remove`, takes it back and does nothing else. With `--from-soketi`, converts the
/// configuration of soketi and does nothing else.
///
/// # Errors
///
/// The file of `--config` exists; the `.env` file has a syntax error; a file cannot be read or
/// written; `out` fails.
pub fn run(args: &InstallArgs, out: &mut impl Write) -> Result<(), Error> {
    if let Some(file) = &args.from_soketi {
        return from_soketi::run(args, file, out);
    }
    let app_env = env::var("APP_ENV").ok();
    let env_file =
        &*env_file::choose_to_write(Path::new(""), args.env.as_deref(), app_env.as_deref());
    let folder = env_file.parent().unwrap_or(Path::new(""));
    if args.remove {
        return bridge::remove(folder, out);
    }
    args.config.as_deref().map_or(Ok(()), must_not_exist)?;
    let (old, exists) = match fs::read(env_file) {
        Ok(bytes) => (bytes, true),
        Err(error) if error.kind() == ErrorKind::NotFound => (Vec::new(), false),
        Err(error) => return Err(Error::whole(env_file.display(), error)),
    };
    let app = credentials::generate()?;
    let addition = addition(env_file, &old, &app)?;
    let mut new = old;
    if !addition.names.is_empty() {
        new.extend_from_slice(addition.text.as_bytes());
        replace(env_file, exists, &new, 0o600).map_err(|e| Error::whole(env_file.display(), e))?;
    }
    report(out, &addition, env_file)?;
    if let Some(finding) = broadcasting::missing_connection(folder) {
        writeln!(out, "{finding}").map_err(|error| Error::whole("standard output", error))?;
    }
    if bridge::is_app(folder) {
        bridge::install(folder, out)?;
    }
    match &args.config {
        Some(config_file) => write_config(out, config_file, env_file, &new),
        None => Ok(()),
    }
}

/// The `.env` entries with which a Laravel app uses this server and app. Browsers and the Laravel
/// app connect to `host` and `port`.
pub fn env_block(app: &App, host: &str, port: u16) -> String {
    let mut block = String::new();
    for (name, value) in entries(app, host, port) {
        if name == FIRST_FOR_VITE {
            block.push('\n');
        }
        block.push_str(&format!("{name}={value}\n"));
    }
    block
}

/// The first entry for the code in the browser; a blank line precedes it.
const FIRST_FOR_VITE: &str = "VITE_REVERB_APP_KEY";

/// The names and values that a Laravel app needs, in order.
fn entries(app: &App, host: &str, port: u16) -> [(&'static str, String); 11] {
    [
        ("BROADCAST_CONNECTION", "reverb".into()),
        ("REVERB_APP_ID", app.id.clone()),
        ("REVERB_APP_KEY", app.key.clone()),
        ("REVERB_APP_SECRET", app.secret.clone()),
        ("REVERB_HOST", format!("\"{host}\"")),
        ("REVERB_PORT", port.to_string()),
        ("REVERB_SCHEME", "http".into()),
        (FIRST_FOR_VITE, "\"${REVERB_APP_KEY}\"".into()),
        ("VITE_REVERB_HOST", "\"${REVERB_HOST}\"".into()),
        ("VITE_REVERB_PORT", "\"${REVERB_PORT}\"".into()),
        ("VITE_REVERB_SCHEME", "\"${REVERB_SCHEME}\"".into()),
    ]
}

/// The text to append to a file, the names in it, and hints for the user.
struct Addition {
    text: String,
    names: Vec<&'static str>,
    hints: Vec<String>,
}

fn addition(env_file: &Path, old: &[u8], app: &App) -> Result<Addition, Error> {
    let text = String::from_utf8_lossy(old);
    let existing = dotenv::parse(&text, |_| None)
        .map_err(|e| Error::whole(format_args!("{}:{}", env_file.display(), e.line), e.reason))?;
    let mut addition = Addition { text: String::new(), names: Vec::new(), hints: Vec::new() };
    for (name, value) in entries(app, "localhost", 8080) {
        if name == "BROADCAST_CONNECTION" {
            // Laravel 10 and older use another name.
            let driver = [name, "BROADCAST_DRIVER"].into_iter().find(|n| existing.contains_key(*n));
            if let Some(driver) = driver {
                if existing[driver].value != "reverb" {
                    let now = &existing[driver].value;
                    addition.hints.push(format!("{driver} is {now:?}: set it to reverb"));
                }
                continue;
            }
        }
        // Copies of .env.example have credentials without a value; a later entry wins over them.
        let is_empty_credential = name.starts_with("REVERB_APP_")
            && existing.get(name).is_some_and(|e| e.value.is_empty());
        if existing.contains_key(name) && !is_empty_credential {
            continue;
        }
        if name == FIRST_FOR_VITE && !addition.names.is_empty() {
            addition.text.push('\n');
        }
        addition.text.push_str(&format!("{name}={value}\n"));
        addition.names.push(name);
    }
    if !addition.names.is_empty() {
        let before = match text.as_ref() {
            "" => "",
            text if text.ends_with('\n') => "\n",
            _ => "\n\n",
        };
        addition.text.insert_str(0, before);
        if text.contains("\r\n") {
            addition.text = addition.text.replace('\n', "\r\n");
        }
    }
    Ok(addition)
}

fn report(out: &mut impl Write, addition: &Addition, file: &Path) -> Result<(), Error> {
    let file = file.display();
    let mut text = match addition.names.as_slice() {
        [] => format!("{file}: nothing is missing\n"),
        names => format!("{file}: added {}\n", names.join(", ")),
    };
    for hint in &addition.hints {
        text.push_str(&format!("{file}: {hint}\n"));
    }
    out.write_all(text.as_bytes()).map_err(|error| Error::whole("standard output", error))
}

/// Writes the settings of the new `.env` file as a `reverb.json`.
fn write_config(
    out: &mut impl Write,
    config_file: &Path,
    env_file: &Path,
    env_text: &[u8],
) -> Result<(), Error> {
    let mut environment = Environment::new([])?;
    environment.add_file(env_file, env_text)?;
    let config = from_environment(&environment)?;
    replace(config_file, false, render(&config).as_bytes(), 0o600)
        .map_err(|error| Error::whole(config_file.display(), error))?;
    let (written, env_file) = (config_file.display(), env_file.display());
    let mut text = format!("{written}: written; its settings override {env_file}\n");
    if let Some(exposure) = super::check::files::exposure(config_file) {
        text.push_str(&format!("{exposure}\n"));
    }
    out.write_all(text.as_bytes()).map_err(|error| Error::whole("standard output", error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};
    use std::fs::Permissions;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A temporary directory for one test.
    struct Dir(PathBuf);

    impl Dir {
        fn new() -> Dir {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("reverb-install-{}-{number}", std::process::id());
            let dir = std::env::temp_dir().join(name);
            fs::create_dir_all(&dir).unwrap();
            Dir(dir)
        }

        fn with_env(text: &str) -> Dir {
            let dir = Dir::new();
            fs::write(dir.0.join(".env"), text).unwrap();
            dir
        }

        fn install(&self, config: Option<&str>) -> Result<String, String> {
            let args = InstallArgs {
                env: Some(self.0.join(".env")),
                config: config.map(|file| self.0.join(file)),
                ..InstallArgs::default()
            };
            let mut out = Vec::new();
            let done = run(&args, &mut out);
            let out = String::from_utf8(out).unwrap();
            let short = |text: String| text.replace(&format!("{}/", self.0.display()), "");
            done.map(|()| short(out)).map_err(|error| short(error.to_string()))
        }

        fn read(&self, file: &str) -> String {
            fs::read_to_string(self.0.join(file)).unwrap()
        }

        fn mode(&self, file: &str) -> u32 {
            fs::metadata(self.0.join(file)).unwrap().mode() & 0o7777
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            _ = fs::remove_dir_all(&self.0);
        }
    }

    const ALL: &str = "BROADCAST_CONNECTION, REVERB_APP_ID, REVERB_APP_KEY, REVERB_APP_SECRET, \
                       REVERB_HOST, REVERB_PORT, REVERB_SCHEME, VITE_REVERB_APP_KEY, \
                       VITE_REVERB_HOST, VITE_REVERB_PORT, VITE_REVERB_SCHEME";

    #[test]
    fn a_new_file_is_readable_by_its_owner_only() {
        let dir = Dir::new();
        assert_eq!(dir.install(None), Ok(format!(".env: added {ALL}\n")));
        assert_eq!(dir.mode(".env"), 0o600);
        let text = dir.read(".env");
        let entries = dotenv::parse(&text, |_| None).unwrap();
        let app = App::new(
            &entries["REVERB_APP_ID"].value,
            &entries["REVERB_APP_KEY"].value,
            &entries["REVERB_APP_SECRET"].value,
        );
        assert_eq!(text, env_block(&app, "localhost", 8080));
        assert_eq!(entries["VITE_REVERB_APP_KEY"].value, app.key);
        assert!(
            !load(&Sources { working_dir: dir.0.clone(), ..Sources::default() }, [])
                .unwrap()
                .generated_app
        );
    }

    #[test]
    fn the_second_time_nothing_is_missing() {
        let dir = Dir::new();
        dir.install(None).unwrap();
        let text = dir.read(".env");
        assert_eq!(dir.install(None), Ok(".env: nothing is missing\n".into()));
        assert_eq!(dir.read(".env"), text);
    }

    #[test]
    fn existing_text_stays_byte_for_byte() {
        let old = "APP_NAME=\"Größe\" # x\n\nREVERB_APP_ID=7\nREVERB_HOST=ws.example\n\
                   BROADCAST_CONNECTION=log\n  ODD  = 'a'";
        let dir = Dir::with_env(old);
        fs::set_permissions(dir.0.join(".env"), Permissions::from_mode(0o640)).unwrap();
        assert_eq!(
            dir.install(None).unwrap(),
            ".env: added REVERB_APP_KEY, REVERB_APP_SECRET, REVERB_PORT, REVERB_SCHEME, \
             VITE_REVERB_APP_KEY, VITE_REVERB_HOST, VITE_REVERB_PORT, VITE_REVERB_SCHEME\n\
             .env: BROADCAST_CONNECTION is \"log\": set it to reverb\n"
        );
        let new = dir.read(".env");
        let added = new.strip_prefix(old).unwrap();
        assert!(added.starts_with("\n\nREVERB_APP_KEY="), "{added}");
        assert!(added.contains("\n\nVITE_REVERB_APP_KEY=\"${REVERB_APP_KEY}\"\n"), "{added}");
        assert_eq!(dir.mode(".env"), 0o640);
        let files = fs::read_dir(&dir.0).unwrap().count();
        assert_eq!(files, 1, "no temporary file is left");
    }

    #[test]
    fn a_file_with_carriage_returns_gets_more_of_them() {
        let dir = Dir::with_env("APP_NAME=x\r\n");
        dir.install(None).unwrap();
        let text = dir.read(".env");
        assert!(text.starts_with("APP_NAME=x\r\n\r\nBROADCAST_CONNECTION=reverb\r\n"));
        assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    }

    #[test]
    fn credentials_without_a_value_are_missing() {
        let dir = Dir::with_env("REVERB_APP_ID=\nREVERB_APP_KEY=\"\"\nREVERB_HOST=\n");
        let text = dir.install(None).unwrap();
        assert!(text.contains("REVERB_APP_ID, REVERB_APP_KEY, REVERB_APP_SECRET, REVERB_PORT"));
        let entries = dotenv::parse(&dir.read(".env"), |_| None).unwrap();
        assert_eq!(entries["REVERB_APP_ID"].value.len(), 6);
    }

    #[test]
    fn the_older_name_of_the_driver_counts() {
        let dir = Dir::with_env("BROADCAST_DRIVER=reverb\n");
        let text = dir.install(None).unwrap();
        assert!(!text.contains("BROADCAST"), "{text}");
        let dir = Dir::with_env("BROADCAST_DRIVER=pusher\n");
        let text = dir.install(None).unwrap();
        assert!(text.ends_with(".env: BROADCAST_DRIVER is \"pusher\": set it to reverb\n"));
    }

    #[test]
    fn a_broadcasting_file_without_the_connection_is_reported() {
        let dir = Dir::new();
        let write = |file: &str, connections: &str| {
            let file = dir.0.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, format!("<?php return ['connections' => [{connections}]];")).unwrap();
        };
        write("config/broadcasting.php", "'pusher' => []");
        let text = dir.install(None).unwrap();
        assert!(text.contains("config/broadcasting.php: has no connection reverb"), "{text}");
        assert!(text.contains("run `php artisan reverb:install`"), "{text}");
        // Laravel 11 adds the connections of its own file.
        write("vendor/laravel/framework/config/broadcasting.php", "'reverb' => []");
        assert_eq!(dir.install(None), Ok(".env: nothing is missing\n".into()));
    }

    #[test]
    fn a_link_stays_a_link() {
        let dir = Dir::new();
        fs::write(dir.0.join("shared"), "A=1\n").unwrap();
        symlink("shared", dir.0.join(".env")).unwrap();
        dir.install(None).unwrap();
        assert!(fs::symlink_metadata(dir.0.join(".env")).unwrap().is_symlink());
        assert!(dir.read("shared").starts_with("A=1\n\nBROADCAST_CONNECTION=reverb\n"));
    }

    #[test]
    fn a_file_that_is_no_env_file_is_left_alone() {
        let dir = Dir::with_env("A=1\nB=\"open");
        assert_eq!(dir.install(None), Err(".env:2: missing closing double quote".into()));
        assert_eq!(dir.read(".env"), "A=1\nB=\"open");
    }

    #[test]
    fn the_example_says_what_the_env_file_says() {
        let dir = Dir::with_env("REVERB_SERVER_PORT=9000\nREVERB_APP_MAX_CONNECTIONS=5\n");
        let text = dir.install(Some("reverb.json")).unwrap();
        let last = "reverb.json: written; its settings override .env\n";
        assert!(text.ends_with(last), "{text}");
        assert_eq!(dir.mode("reverb.json"), 0o600);
        let here =
            |config_file| Sources { config_file, working_dir: dir.0.clone(), ..Sources::default() };
        let with_example = load(&here(None), []).unwrap();
        assert_eq!(with_example.files_read.len(), 2);
        assert_eq!(with_example.config.server.port, 9000);
        assert_eq!(with_example.config.apps[0].max_connections, Some(5));
        fs::write(dir.0.join("empty.json"), "{}").unwrap();
        let without = load(&here(Some("empty.json".into())), []).unwrap();
        assert_eq!(with_example.config, without.config);
    }

    #[test]
    fn an_example_never_replaces_a_file() {
        let dir = Dir::new();
        fs::write(dir.0.join("reverb.json"), "{}").unwrap();
        let refused = dir.install(Some("reverb.json"));
        assert_eq!(refused, Err("reverb.json: exists already; it was not changed".into()));
        assert!(!dir.0.join(".env").exists());
        assert_eq!(dir.read("reverb.json"), "{}");
    }

    #[test]
    fn a_missing_directory_is_an_error() {
        let args = InstallArgs { env: Some("/nonexistent/.env".into()), ..InstallArgs::default() };
        let refused = run(&args, &mut Vec::new()).unwrap_err().to_string();
        assert_eq!(refused, "/nonexistent/.env: No such file or directory (os error 2)");
    }

    #[test]
    fn the_block_of_a_server_names_its_app_host_and_port() {
        let block = env_block(&App::new("1", "k", "s"), "127.0.0.1", 9000);
        assert!(block.starts_with(
            "BROADCAST_CONNECTION=reverb\nREVERB_APP_ID=1\nREVERB_APP_KEY=k\n\
             REVERB_APP_SECRET=s\nREVERB_HOST=\"127.0.0.1\"\nREVERB_PORT=9000\n\
             REVERB_SCHEME=http\n\nVITE_REVERB_APP_KEY=\"${REVERB_APP_KEY}\"\n"
        ));
    }
}
