//! Hand-overs that do not fit: one that is left while another server runs.

use super::{HAND_OVER, LaravelApp, text};
use crate::support::{APP, BINARY, Server};
use std::process::{Command, Output};

impl LaravelApp {
    /// `reverb WORDS` in the folder of the app.
    fn reverb(&self, words: &str) -> Command {
        let mut command = Command::new(BINARY);
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
