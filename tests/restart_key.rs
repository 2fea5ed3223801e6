//! `php artisan reverb:restart` and `php artisan reload`, by way of what they leave in the file
//! store of Laravel's cache.

use crate::support::{Client, Server, Setup};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

/// The folder of a Laravel app, gone with the test.
struct LaravelApp(PathBuf);

impl LaravelApp {
    fn new() -> LaravelApp {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("reverb-laravel-{}-{number}", process::id()));
        fs::create_dir_all(folder.join("storage/framework/cache/data")).unwrap();
        fs::write(folder.join(".env"), "APP_NAME=Laravel\n").unwrap();
        LaravelApp(folder)
    }

    /// `Cache::forever('laravel:reverb:restart', time())`: 9999999999 is when it expires, and
    /// behind it stands the serialized time.
    fn restart(&self, time: u32) {
        let file =
            self.0.join("storage/framework/cache/data").join(place("laravel:reverb:restart"));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, format!("9999999999i:{time};")).unwrap();
    }

    fn serve(&self) -> Server {
        let env_file = self.0.join(".env");
        Setup::new()
            .arg("--env")
            .arg(env_file.to_str().unwrap())
            .env("REVERB_LIMIT_RESTART_CHECK_MS", 100)
            .env("REVERB_LIMIT_DRAIN_WINDOW_MS", 100)
            .env("REVERB_LIMIT_DRAIN_LINGER_MS", 0)
            .start()
    }
}

impl Drop for LaravelApp {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// The file of a key in the file store: `sha1($key)`, two bytes of it as folders.
fn place(key: &str) -> PathBuf {
    let mut sha1sum = Command::new("sha1sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sha1sum is part of coreutils");
    sha1sum.stdin.take().unwrap().write_all(key.as_bytes()).unwrap();
    let sum = String::from_utf8(sha1sum.wait_with_output().unwrap().stdout).unwrap();
    Path::new(&sum[..2]).join(&sum[2..4]).join(&sum[..40])
}

#[test]
fn a_restart_has_the_server_leave_in_order_and_counts_from_its_start() {
    let app = LaravelApp::new();
    // The first server has never heard of a restart; for the second the first one's is old.
    for time in [1_718_000_000, 1_718_000_060] {
        let mut server = app.serve();
        let mut client = Client::connect(&server);
        client.subscribe("c");
        app.restart(time);
        assert_eq!(client.event()["event"], "pusher:error");
        client.closed(4200);
        assert_eq!(server.wait().code(), Some(0));
    }
}

#[test]
fn an_app_that_keeps_its_files_elsewhere_is_heard_too() {
    let app = LaravelApp::new();
    let mut server = Setup::new()
        .env("LARAVEL_STORAGE_PATH", app.0.join("storage").display())
        .env("REVERB_LIMIT_RESTART_CHECK_MS", 100)
        .start();
    app.restart(1_718_000_000);
    assert_eq!(server.wait().code(), Some(0));
}
