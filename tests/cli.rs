//! The command line of the real binary: output, error output and exit status.
//!
//! Every run has its own directory and environment. No server is started here.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// An empty directory for one test, removed after it.
struct Dir(PathBuf);

impl Dir {
    fn new(files: &[(&str, &str)]) -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("reverb-cli-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        for (name, text) in files {
            std::fs::write(dir.join(name), text).unwrap();
        }
        Dir(dir)
    }

    fn run(&self, args: &[&str], variables: &[(&str, &str)]) -> Run {
        let mut command = Command::new(crate::support::binary());
        command.args(args).current_dir(&self.0).env_clear().envs(variables.iter().copied());
        Run::of(command.output().unwrap())
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Run {
    status: Option<i32>,
    out: String,
    err: String,
}

impl Run {
    fn of(output: Output) -> Run {
        Run {
            status: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Fails unless the run ended with status 2 and one line with this text on standard error.
    fn was_rejected(&self, expected: &str) {
        assert_eq!(self.status, Some(2), "{}{}", self.out, self.err);
        assert!(self.err.contains(expected), "{}\nhas no\n{expected}", self.err);
        assert_eq!(self.err.lines().count(), 1, "{}", self.err);
        assert_eq!(self.out, "");
    }
}

const CREDENTIALS: &str = "REVERB_APP_ID=1\nREVERB_APP_KEY=k\nREVERB_APP_SECRET=s3cr3t\n";

#[test]
fn help_is_written_to_standard_output() {
    let dir = Dir::new(&[]);
    for args in [&["--help"][..], &["-h"], &["help"]] {
        let run = dir.run(args, &[]);
        assert_eq!((run.status, run.err.as_str()), (Some(0), ""));
        assert!(run.out.contains("Usage: reverb COMMAND [FLAGS]"), "{}", run.out);
    }
    for args in [&["start", "--help"][..], &["help", "start"]] {
        let run = dir.run(args, &[]);
        assert_eq!((run.status, run.err.as_str()), (Some(0), ""));
        assert!(run.out.contains("  --hostname NAME"), "{}", run.out);
    }
}

#[test]
fn the_version_has_the_commit_the_target_and_the_features() {
    let features: Vec<&str> = [
        ("console", cfg!(feature = "console")),
        ("deflate", cfg!(feature = "deflate")),
        ("laravel", cfg!(feature = "laravel")),
        ("redis", cfg!(feature = "redis")),
        ("tls", cfg!(feature = "tls")),
        ("webhooks", cfg!(feature = "webhooks")),
    ]
    .into_iter()
    .filter_map(|(name, is_enabled)| is_enabled.then_some(name))
    .collect();
    let features = if features.is_empty() { "none".to_owned() } else { features.join(", ") };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut git = Command::new("git");
    let commit = git.args(["rev-parse", "--short=12", "HEAD"]).current_dir(root).output();
    let dir = Dir::new(&[]);
    for args in [&["--version"], &["-V"]] {
        let run = dir.run(args, &[]);
        assert_eq!((run.status, run.err.as_str()), (Some(0), ""));
        let mut lines = run.out.lines();
        assert_eq!(lines.next(), Some(concat!("reverb ", env!("CARGO_PKG_VERSION"))));
        // A copy without a repository knows its commit from a variable, or not at all.
        if root.join(".git").exists() {
            let commit = commit.as_ref().unwrap();
            let commit = String::from_utf8_lossy(&commit.stdout).trim().to_owned();
            assert_eq!(lines.next(), Some(format!("commit: {commit}").as_str()));
        }
        let rest = run.out.split_once("target: ").unwrap().1;
        let (target, rest) = rest.split_once('\n').unwrap();
        assert!(target.starts_with(std::env::consts::ARCH), "{target}");
        assert!(target.contains("-linux-"), "{target}");
        assert_eq!(rest, format!("features: {features}\n"));
    }
}

#[test]
fn without_a_command_the_help_is_written_to_standard_error() {
    let run = Dir::new(&[]).run(&[], &[]);
    assert_eq!((run.status, run.out.as_str()), (Some(2), ""));
    assert!(run.err.contains("a command is missing"), "{}", run.err);
    assert!(run.err.contains("Usage: reverb COMMAND [FLAGS]"), "{}", run.err);
}

#[test]
fn a_mistyped_command_or_flag_gets_a_suggestion() {
    let dir = Dir::new(&[]);
    dir.run(&["strat"], &[]).was_rejected("unknown command strat; did you mean start?");
    let run = dir.run(&["start", "--prot", "9000"], &[]);
    run.was_rejected("unknown flag --prot; did you mean --port?");
    let run = dir.run(&["start", "--port", "ninety"], &[]);
    run.was_rejected("--port \"ninety\" is not a port (0 to 65535)");
}

#[test]
fn an_invalid_variable_is_reported_with_its_file_and_line() {
    let env = format!("{CREDENTIALS}REVERB_APP_PING_INTERVAL=abc\n");
    let run = Dir::new(&[(".env", env.as_str())]).run(&["start"], &[]);
    run.was_rejected(".env:4: REVERB_APP_PING_INTERVAL: \"abc\" is not a whole number");
    assert!(!run.err.contains("s3cr3t"), "{}", run.err);
}

#[test]
fn an_invalid_value_in_the_environment_is_reported() {
    let run = Dir::new(&[]).run(&["start"], &[("REVERB_SERVER_PORT", "99999")]);
    run.was_rejected("environment: REVERB_SERVER_PORT: 99999 is not between 0 and 65535");
}

#[test]
fn a_missing_credential_is_named() {
    let run = Dir::new(&[(".env", "REVERB_APP_ID=1\nREVERB_APP_KEY=k\n")]).run(&["start"], &[]);
    run.was_rejected(".env:1: REVERB_APP_SECRET: is missing, although REVERB_APP_ID is set");
}

#[test]
fn an_invalid_value_in_the_file_is_reported_with_its_path() {
    let file =
        r#"{"apps":{"apps":[{"app_id":"1","key":"k","secret":"s3cr3t","ping_interval":0}]}}"#;
    let dir = Dir::new(&[("reverb.json", file), ("other.json", "{\n  \"apps\": {]\n}")]);
    let expected = "reverb.json: apps.apps[0].ping_interval: 0 is not between 1 and 31536000";
    let run = dir.run(&["start"], &[]);
    run.was_rejected(expected);
    assert!(!run.err.contains("s3cr3t"), "{}", run.err);
    let run = dir.run(&["start", "--config=other.json"], &[]);
    run.was_rejected("other.json:2:12: key must be a string");
    let run = dir.run(&["start", "--config=no.json"], &[]);
    run.was_rejected("no.json: cannot be read: No such file or directory");
}

#[test]
fn a_server_without_an_app_rejects_a_public_address() {
    let run = Dir::new(&[]).run(&["start", "--host", "0.0.0.0", "--port=0"], &[]);
    run.was_rejected("no app for 0.0.0.0: set REVERB_APP_ID, REVERB_APP_KEY and REVERB_APP_SECRET");
}

#[test]
fn install_prepares_a_laravel_app_once() {
    let dir = Dir::new(&[(".env", "APP_NAME=Shop\nBROADCAST_CONNECTION=log\n")]);
    let run = dir.run(&["install", "--config", "reverb.json"], &[]);
    assert_eq!((run.status, run.err.as_str()), (Some(0), ""));
    assert!(run.out.contains(".env: added REVERB_APP_ID, REVERB_APP_KEY,"), "{}", run.out);
    assert!(run.out.contains(".env: BROADCAST_CONNECTION is \"log\""), "{}", run.out);
    assert!(run.out.contains("reverb.json: written"), "{}", run.out);
    let env = read(&dir.0, ".env");
    assert!(env.starts_with("APP_NAME=Shop\nBROADCAST_CONNECTION=log\n\nREVERB_APP_ID="), "{env}");

    let run = dir.run(&["install", "--config", "reverb.json"], &[]);
    run.was_rejected("reverb.json: exists already; it was not changed");
    let run = dir.run(&["install"], &[]);
    assert_eq!((run.status, run.err.as_str()), (Some(0), ""));
    assert!(run.out.starts_with(".env: nothing is missing\n"), "{}", run.out);
    assert_eq!(read(&dir.0, ".env"), env);
}

#[test]
fn install_adds_to_the_file_of_the_named_environment() {
    let dir = Dir::new(&[(".env", "A=1\n"), (".env.staging", "A=2\n")]);
    let run = dir.run(&["install", "--env", "staging"], &[]);
    assert!(run.out.starts_with(".env.staging: added BROADCAST_CONNECTION"), "{}", run.out);
    let run = dir.run(&["install", "--env=testing"], &[]);
    assert!(run.out.starts_with(".env.testing: added BROADCAST_CONNECTION"), "{}", run.out);
    let run = dir.run(&["install"], &[("APP_ENV", "staging")]);
    assert!(run.out.starts_with(".env.staging: nothing is missing\n"), "{}", run.out);
    assert_eq!(read(&dir.0, ".env"), "A=1\n");
}

fn read(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap()
}
