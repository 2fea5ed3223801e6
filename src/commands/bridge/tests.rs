//! The provider in a folder with the files of a Laravel app. What PHP makes of it is in
//! `tests/laravel`.

use super::*;
use crate::args::InstallArgs;
use crate::commands::install;
use std::sync::atomic::{AtomicU32, Ordering};

const LIST: &str = "<?php\n\nreturn [\n    App\\Providers\\AppServiceProvider::class,\n];\n";
const WRITTEN: &str = "app/Providers/ReverbBridgeServiceProvider.php: written, version 1\n";
const ADDED: &str = "bootstrap/providers.php: added App\\Providers\\ReverbBridgeServiceProvider\n";

/// The folder of a Laravel app, removed after the test.
struct Folder(PathBuf);

impl Folder {
    fn new(namespace: &str) -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("reverb-bridge-{}-{number}", std::process::id());
        let folder = Folder(std::env::temp_dir().join(name));
        let composer = format!(
            r#"{{"require":{{"laravel/reverb":"^1.0"}},"autoload":{{"psr-4":{{"X\\":"x/","{namespace}\\":"app/"}}}}}}"#
        );
        fs::create_dir_all(folder.0.join("bootstrap")).unwrap();
        folder.write("artisan", "");
        folder.write("composer.json", &composer);
        folder.write("bootstrap/providers.php", LIST);
        folder
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.0.join(file), text).unwrap();
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).unwrap()
    }

    fn provider(&self) -> PathBuf {
        self.0.join("app/Providers/ReverbBridgeServiceProvider.php")
    }

    /// The lines of `reverb install` about the provider.
    fn install(&self, remove: bool) -> Result<String, String> {
        let env = Some(self.0.join(".env"));
        let mut out = Vec::new();
        let done = install::run(&InstallArgs { env, remove, ..InstallArgs::default() }, &mut out);
        let out = String::from_utf8(out).unwrap();
        let folder = format!("{}/", self.0.display());
        let lines = out.lines().filter(|line| !line.contains(".env: "));
        let lines: String = lines.map(|line| format!("{line}\n")).collect();
        done.map(|()| lines).map_err(|error| error.to_string().replace(&folder, ""))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_version_is_that_of_the_file() {
    assert_eq!(version(PROVIDER), Some(PROVIDER_VERSION));
    assert!(PROVIDER.contains(NAMESPACE));
}

#[test]
fn a_second_run_changes_nothing_and_removing_restores_the_app() {
    let app = Folder::new("App");
    assert_eq!(app.install(false), Ok(format!("{WRITTEN}{ADDED}")));
    assert_eq!(fs::read_to_string(app.provider()).unwrap(), PROVIDER);
    let list = app.read("bootstrap/providers.php");
    assert!(list.contains("    App\\Providers\\ReverbBridgeServiceProvider::class,\n];"), "{list}");
    assert_eq!(app.install(false), Ok(String::new()));
    assert_eq!(app.read("bootstrap/providers.php"), list);
    assert_eq!(
        check(&app.0).unwrap().unwrap(),
        format!("{}: version 1, as this binary has it", app.provider().display())
    );
    fs::create_dir_all(app.0.join("storage/framework/cache")).unwrap();
    app.write("storage/framework/cache/reverb.json", "{}");
    assert_eq!(
        app.install(true),
        Ok("bootstrap/providers.php: removed App\\Providers\\ReverbBridgeServiceProvider\n\
            app/Providers/ReverbBridgeServiceProvider.php: removed\n"
            .into())
    );
    assert!(!app.provider().exists());
    assert!(!app.0.join("storage/framework/cache/reverb.json").exists());
    assert_eq!(app.read("bootstrap/providers.php"), LIST);
    assert_eq!(check(&app.0), None);
}

#[test]
fn a_changed_file_stays() {
    let app = Folder::new("App");
    app.install(false).unwrap();
    let changed = PROVIDER.replace("reverb/events", "hooks");
    fs::write(app.provider(), &changed).unwrap();
    let text = app.install(false).unwrap();
    assert!(text.contains("ReverbBridgeServiceProvider.php: was changed, so it stays"), "{text}");
    assert!(check(&app.0).unwrap().unwrap().contains("was changed"));
    fs::write(app.provider(), changed.replace("VERSION = 1;", "VERSION = 0;")).unwrap();
    let text = check(&app.0).unwrap().unwrap_err();
    assert!(text.contains("run `reverb install`"), "{text}");
    let text = app.install(true).unwrap();
    assert!(
        text.ends_with("ReverbBridgeServiceProvider.php: was changed, so it stays\n"),
        "{text}"
    );
    assert!(app.provider().exists());
    assert_eq!(app.read("bootstrap/providers.php"), LIST);
}

#[test]
fn the_file_of_an_earlier_release_is_not_a_changed_one() {
    let folder = Folder::new("Shop");
    let app = App::read(&folder.0).unwrap();
    assert_eq!(app.state(&[]), Ok(State::Absent));
    fs::create_dir_all(folder.0.join("app/Providers")).unwrap();
    // The hash is that of the file in the release, whatever the namespace of the app.
    fs::write(folder.provider(), "<?php\r\n\r\nnamespace Shop\\Providers;\r\n").unwrap();
    assert_eq!(app.state(&[]), Ok(State::Changed));
    let released = "<?php\n\nnamespace App\\Providers;\n";
    let hash = base16ct::lower::encode_string(&Sha256::digest(released));
    assert_eq!(app.state(&[&hash]), Ok(State::Earlier));
}

#[test]
fn the_namespace_is_that_of_the_app() {
    let app = Folder::new("Acme\\\\Shop");
    app.write("bootstrap/providers.php", "<?php\n\nreturn [\n];\n");
    app.install(false).unwrap();
    let provider = fs::read_to_string(app.provider()).unwrap();
    assert!(provider.contains("\nnamespace Acme\\Shop\\Providers;\n"));
    let list = app.read("bootstrap/providers.php");
    assert!(list.contains("    Acme\\Shop\\Providers\\ReverbBridgeServiceProvider::class,\n"));
    assert_eq!(app.install(false), Ok(String::new()));
}

#[test]
fn an_older_app_is_told_which_line_to_add_and_to_remove() {
    let app = Folder::new("App");
    fs::remove_file(app.0.join("bootstrap/providers.php")).unwrap();
    fs::create_dir_all(app.0.join("config")).unwrap();
    app.write("config/app.php", "<?php return ['providers' => [\n]];");
    let line = "config/app.php: add App\\Providers\\ReverbBridgeServiceProvider::class to the list of \
                providers\n";
    assert_eq!(app.install(false), Ok(format!("{WRITTEN}{line}")));
    assert_eq!(app.install(false), Ok(line.to_owned()));
    app.write("config/app.php", "[App\\Providers\\ReverbBridgeServiceProvider::class]");
    assert_eq!(app.install(false), Ok(String::new()));
    let text = app.install(true).unwrap_err();
    assert!(text.starts_with("config/app.php: remove App\\Providers\\Reverb"), "{text}");
    assert!(app.provider().exists(), "the app would not start without it");
}

#[test]
fn an_app_without_the_package_is_told_to_add_it() {
    let app = Folder::new("App");
    let composer = app.read("composer.json").replace("laravel/reverb", "laravel/framework");
    app.write("composer.json", &composer);
    let text = app.install(false).unwrap();
    assert!(text.contains("`composer require laravel/reverb`"), "{text}");
}

#[test]
fn without_an_app_there_is_nothing_to_remove() {
    let folder = Folder::new("App");
    fs::remove_file(folder.0.join("artisan")).unwrap();
    assert_eq!(folder.install(false), Ok(String::new()));
    assert!(!folder.provider().exists());
    assert!(folder.install(true).unwrap_err().contains("no Laravel app is here"));
}
