//! Hand-overs that do not fit: one that is left while another server runs, one that is older than the
//! files it comes from, and one with which no server can start. And what a start or a reload of another
//! server leaves as it is.

use super::{HAND_OVER, LaravelApp, text};
use crate::support::{APP, Client, DEADLINE, Server, binary};
use std::fs;
use std::process::{Command, Output};
use std::time::Duration;

impl LaravelApp {
    /// `reverb WORDS` in the folder of the app.
    fn reverb(&self, words: &str) -> Command {
        let mut command = Command::new(binary());
        command.args(words.split(' ')).current_dir(&self.0).env_clear();
        command
    }

    /// A server that `reverb start` has started.
    fn start_without_artisan(&self) -> Server {
        self.serve(self.reverb("start --port 0"))
    }

    /// `reverb COMMAND` for this server.
    fn for_server(&self, command: &str, server: &Server) -> Output {
        let words = format!("{command} --port {}", server.address().port());
        self.reverb(&words).output().unwrap()
    }

    fn check(&self, server: &Server) -> String {
        let output = self.for_server("check", server);
        text(&output.stdout).to_owned() + text(&output.stderr)
    }

    /// Writes the configuration cache, with the app of the tests.
    fn cache_configuration(&self) {
        let mut config = self.read("config/reverb.php");
        for (name, value) in [("ID", APP.id), ("KEY", APP.key), ("SECRET", APP.secret)] {
            config = config.replace(&format!("env('REVERB_APP_{name}')"), &format!("'{value}'"));
        }
        let config = config.replace("<?php\n\nreturn [", "<?php\n\nreturn ['reverb' => [");
        self.write("bootstrap/cache/config.php", &config.replace("\n];", "\n]];"));
    }
}

/// The output of a command that must end. Without an error it would be a server, which would not.
fn ended(command: &Command) -> Output {
    let mut bounded = Command::new("timeout");
    bounded.arg(DEADLINE.as_secs().to_string()).arg(command.get_program());
    bounded.args(command.get_args()).current_dir(command.get_current_dir().unwrap()).env_clear();
    bounded.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    bounded.output().unwrap()
}

/// The error of a command that must fail with this exit code.
#[track_caller]
fn error(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    text(&output.stdout).to_owned() + text(&output.stderr)
}

#[test]
fn commands_read_what_the_running_server_reads() {
    let app = LaravelApp::new();
    app.edit(".env", "APP_NAME=Laravel\n", "REVERB_SERVER_HOST=127.0.0.1\n");
    // The old hand-over may name the address of the new server, or another, or be of no use.
    for old in ["", "--host=127.0.0.2", "invalid"] {
        let words = format!("reverb:start {}", old.replace("invalid", ""));
        let server = app.serve(app.artisan(words.trim()));
        let out = app.check(&server);
        assert!(out.contains(&format!("{HAND_OVER}: read\n")), "{old}: {out}");
        drop(server);
        if old == "invalid" {
            app.write(HAND_OVER, r#"{"artisan":{}}"#);
        }
        let text_of_env = app.read(".env");
        app.edit(".env", APP.secret, "newer-secret");
        let mut server = app.start_without_artisan();
        let out = app.check(&server);
        assert!(out.contains(".env: read\n"), "{old}: {out}");
        assert!(out.contains(&format!("note   {HAND_OVER}: not read, because")), "{old}: {out}");
        assert!(out.contains("answers, and accepts the app configured"), "{old}: {out}");
        assert!(!out.contains("reverb:reload"), "{old}: {out}");
        let reloaded = app.for_server("reload", &server);
        let expected =
            format!("Reloaded the server on {} (process {}).\n", server.address(), server.pid());
        assert_eq!(text(&reloaded.stdout), expected, "{old}: {reloaded:?}");
        assert!(app.for_server("restart", &server).status.success(), "{old}");
        assert_eq!(server.wait().code(), Some(0));
        app.write(".env", &text_of_env);
    }
}

#[test]
fn artisan_does_not_reload_a_server_that_it_has_not_started() {
    let app = LaravelApp::new();
    app.edit(".env", "APP_NAME=Laravel\n", "REVERB_SERVER_HOST=127.0.0.1\n");
    drop(app.start());
    let server = app.start_without_artisan();
    let out = error(&app.reload(&server), 1);
    assert!(out.contains("was not started by `php artisan reverb:start`"), "{out}");
    assert!(out.contains("run `reverb reload`"), "{out}");
    assert!(!out.contains("Reloaded"), "{out}");
    assert!(!server.killed().contains("took over"));
}

#[test]
fn a_restart_by_artisan_reaches_a_server_that_it_has_not_started() {
    let app = LaravelApp::new();
    let mut server = app.start_without_artisan();
    let out = app.check(&server);
    assert!(!out.contains("CACHE_STORE") && !server.stderr().contains("CACHE_STORE"), "{out}");
    let output = app.artisan("reverb:restart").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(app.0.join("database").exists(), "the cache of the app is one that is not watched");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_cache_older_than_the_environment_file_is_reported() {
    let app = LaravelApp::new();
    app.cache_configuration();
    let cache = "bootstrap/cache/config.php";
    let cached = fs::metadata(app.0.join(cache)).unwrap().modified().unwrap();
    let env_file = fs::File::options().append(true).open(app.0.join(".env")).unwrap();
    env_file.set_modified(cached + Duration::from_millis(1)).unwrap();
    let server = app.start();
    let again = "run `php artisan config:cache` and `php artisan reverb:reload`";
    server.logs(&format!("{cache}: is older than {}/.env", app.0.display()));
    server.logs(again);
    let out = app.check(&server);
    assert_eq!(out.matches(again).count(), 1, "{out}");
    // As `php artisan config:clear` does.
    fs::remove_file(app.0.join(cache)).unwrap();
    env_file.set_modified(cached + Duration::from_secs(60)).unwrap();
    let out = app.check(&server);
    assert!(out.contains(&format!("{cache}: was removed since")), "{out}");
    assert_eq!(out.matches("reverb:reload").count(), 1, "{out}");
    assert!(!out.contains("config:cache"), "{out}");
}

#[test]
fn a_secret_of_the_hand_over_that_the_server_does_not_know_is_reported() {
    let app = LaravelApp::new();
    let server = app.start();
    app.edit(HAND_OVER, APP.secret, "newer-secret");
    let out = app.check(&server);
    let line = out.lines().find(|line| line.contains("rejects the app app-id")).unwrap();
    assert!(line.ends_with("perhaps older ones: run `php artisan reverb:reload`"), "{line}");
}

#[test]
fn an_error_names_the_file_of_the_app_and_the_variable() {
    let app = LaravelApp::new();
    let started = || error(&ended(&app.artisan("reverb:start")), 2);
    let file = format!("{}/config/reverb.php, as artisan has resolved it", app.0.display());
    let env_file = app.read(".env");
    for (name, key, value) in
        [("ID", "app_id", APP.id), ("KEY", "key", APP.key), ("SECRET", "secret", APP.secret)]
    {
        app.edit(".env", &format!("REVERB_APP_{name}={value}\n"), "");
        let out = started();
        let text = format!("{file}: apps.apps[0].{key}: is missing: set REVERB_APP_{name} in the");
        assert!(out.contains(&text) && out.contains("`reverb install`"), "{out}");
        app.write(".env", &env_file);
    }
    app.edit(
        "config/reverb.php",
        "'max_connections' => env('REVERB_APP_MAX_CONNECTIONS')",
        "'max_connections' => 'many'",
    );
    let out = started();
    assert!(out.contains(&format!("{file}: apps.apps[0].max_connections: \"many\"")), "{out}");
    assert!(!out.contains("config:cache"), "{out}");
    app.cache_configuration();
    assert!(started().trim_end().ends_with("run `php artisan config:cache` after the change"));
}

#[test]
fn a_hand_over_without_an_app_serves_none() {
    let app = LaravelApp::new();
    app.edit("config/reverb.php", "'apps' => [[", "'apps' => env('STAND_IN_NO_APP') ? [] : [[");
    let server = app.start();
    for provider in ["config", "database"] {
        let artisan = |words: &str| {
            let mut command = app.artisan(words);
            ended(command.env("STAND_IN_PROVIDER", provider).env("STAND_IN_NO_APP", "1"))
        };
        let out = error(&artisan("reverb:start"), 2);
        assert!(out.contains("config('reverb') has no app: add one to apps.apps"), "{out}");
        let reload = format!("reverb:reload --port={}", server.address().port());
        let out = error(&artisan(&reload), 1);
        assert!(out.contains("was not reloaded: ") && out.contains("has no app"), "{out}");
    }
    Client::connect(&server).subscribe("c");
}

#[test]
fn a_start_or_a_reload_of_another_server_leaves_the_hand_over_as_it_is() {
    let app = LaravelApp::new();
    app.write(".env.staging", &app.read(".env"));
    let server = app.serve(app.artisan("reverb:start --env=staging"));
    let (before, port) = (app.read(HAND_OVER), server.address().port());
    let fails = |words: &str, expected: &str| {
        let output = app.artisan(words).output().unwrap();
        assert!(!output.status.success(), "{output:?}");
        let out = text(&output.stdout).to_owned() + text(&output.stderr);
        assert!(out.contains(expected), "{out}");
        assert_eq!(app.read(HAND_OVER), before);
    };
    fails(&format!("reverb:start --port={port}"), &format!("127.0.0.1:{port} is in use."));
    let everywhere = format!("reverb:start --host=0.0.0.0 --port={port}");
    fails(&everywhere, &format!("127.0.0.1:{port} is in use."));
    fails("reverb:reload", "with [.env.staging]. Run this command with --env=staging.");
    fails("reverb:reload --env=staging --port=1", "no server listens");
    let reload = app.artisan(&format!("reverb:reload --env=staging --port={port}")).output();
    assert!(reload.unwrap().status.success());
}

#[test]
fn a_server_may_share_its_port_but_not_its_socket() {
    let app = LaravelApp::new();
    let path = app.0.join("socket");
    let both = format!("reverb:start --host=127.0.0.1,{}", path.display());
    let _server = app.serve(app.artisan(&both));
    let before = app.read(HAND_OVER);
    let start = format!("reverb:start --host={}", path.display());
    let output = app.artisan(&start).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let expected = format!("{} is in use.", path.display());
    assert!(text(&output.stdout).contains(&expected), "{output:?}");
    assert_eq!(app.read(HAND_OVER), before);

    let app = LaravelApp::new();
    app.edit(".env", "APP_NAME=Laravel\n", "REVERB_SERVER_REUSE_PORT=true\n");
    let first = app.start();
    let again = format!("reverb:start --port={}", first.address().port());
    assert_eq!(app.serve(app.artisan(&again)).address(), first.address());
}

#[test]
fn variables_of_the_process_that_has_started_the_server_stay_after_a_reload() {
    let app = LaravelApp::new();
    let mut command = app.artisan("reverb:start");
    command.env("REVERB_LIMIT_CONNECTIONS", "55");
    let server = app.serve(command);
    assert!(app.reload(&server).status.success());
    assert_eq!(app.hand_over()["artisan"]["environment"]["REVERB_LIMIT_CONNECTIONS"], "55");
    let port = server.address().port();
    let mut command = app.artisan(&format!("reverb:reload --port={port}"));
    assert!(command.env("REVERB_LIMIT_CONNECTIONS", "56").output().unwrap().status.success());
    assert_eq!(app.hand_over()["artisan"]["environment"]["REVERB_LIMIT_CONNECTIONS"], "56");
}
