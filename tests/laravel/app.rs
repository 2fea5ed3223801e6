//! A Laravel app for the tests of the provider: a copy of the folder `app`, in which `reverb install`
//! has run, and artisan with the stand-ins.

use super::HAND_OVER;
use crate::support::{APP, Server, binary};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

const STAND_INS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/laravel");

/// A Laravel app with the provider, in a folder that is removed when it is dropped.
pub struct LaravelApp(pub PathBuf);

impl LaravelApp {
    pub fn new() -> LaravelApp {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("reverb-artisan-{}-{number}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        let from = format!("{STAND_INS}/app/.");
        assert!(Command::new("cp").args(["-r", &from]).arg(&folder).status().unwrap().success());
        fs::create_dir_all(folder.join("storage/framework/cache/data")).unwrap();
        let app = LaravelApp(folder);
        app.write(
            ".env",
            &format!(
                "APP_NAME=Laravel\nCACHE_STORE=database\nREVERB_APP_ID={}\nREVERB_APP_KEY={}\n\
                 REVERB_APP_SECRET={}\nREVERB_HOST=localhost\nREVERB_PORT=8080\n\
                 REVERB_LIMIT_RESTART_CHECK_MS=100\nREVERB_LIMIT_DRAIN_WINDOW_MS=100\n\
                 REVERB_LIMIT_DRAIN_LINGER_MS=0\nREVERB_LIMIT_CLOSE_TIMEOUT_MS=100\n",
                APP.id, APP.key, APP.secret
            ),
        );
        let install = Command::new(binary()).arg("install").current_dir(&app.0).output().unwrap();
        assert!(install.status.success(), "{install:?}");
        app
    }

    pub fn write(&self, file: &str, text: &str) {
        fs::write(self.0.join(file), text).unwrap();
    }

    pub fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).unwrap()
    }

    /// Replaces a piece of a file.
    #[track_caller]
    pub fn edit(&self, file: &str, old: &str, new: &str) {
        let text = self.read(file);
        assert!(text.contains(old), "{text}");
        self.write(file, &text.replace(old, new));
    }

    /// What artisan has handed over.
    pub fn hand_over(&self) -> Value {
        serde_json::from_str(&self.read(HAND_OVER)).unwrap()
    }

    /// `php FLAGS artisan WORDS`, with the binary in the PATH.
    pub fn php(&self, flags: &[&str], words: &str) -> Command {
        let folder = Path::new(binary()).parent().unwrap();
        let path = format!("{}:{}", folder.display(), env::var("PATH").unwrap());
        let mut command = Command::new("php");
        command.args(flags).arg("artisan").args(words.split_whitespace());
        command.current_dir(&self.0).env_clear().env("PATH", path).env("STAND_INS", STAND_INS);
        command.stdin(Stdio::null());
        command
    }

    pub fn artisan(&self, words: &str) -> Command {
        self.php(&[], words)
    }

    /// A server that `php artisan reverb:start` has become. The folder of the app stays.
    #[track_caller]
    pub fn start(&self) -> Server {
        self.serve(self.artisan("reverb:start"))
    }

    #[track_caller]
    pub fn serve(&self, command: Command) -> Server {
        Server::of(command, self.0.join("nothing"))
    }

    /// Reloads the server with artisan.
    pub fn reload(&self, server: &Server) -> Output {
        let words = format!("reverb:reload --port={}", server.address().port());
        self.artisan(&words).output().unwrap()
    }
}

impl Drop for LaravelApp {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}
