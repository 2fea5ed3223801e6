//! Settings that would have no effect, or another than a Laravel app expects: the log of the start
//! and the output of `reverb check` name each.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio, id};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime};
use std::{env, fs, thread};

use crate::support::{DEADLINE, binary};

const APP: &str = "REVERB_APP_ID=1\nREVERB_APP_KEY=k\nREVERB_APP_SECRET=s3cr3t\n";
const JSON_APP: &str = r#""apps":{"apps":[{"app_id":"1","key":"k","secret":"s3cr3t"}]}"#;

/// The folder of a Laravel app, removed after the test.
struct Folder(PathBuf);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = Folder(env::temp_dir().join(format!("reverb-traps-{}-{number}", id())));
        fs::create_dir_all(&folder.0).unwrap();
        files.iter().for_each(|(name, text)| folder.write(name, text));
        folder
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Sets the time of the last change of a file to some seconds ago.
    fn age(&self, name: &str, seconds: u64) {
        let file = fs::File::options().append(true).open(self.0.join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
    }

    fn reverb(&self, command: &str, args: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut reverb = Command::new(binary());
        reverb.arg(command).args(args).current_dir(&self.0).env_clear();
        reverb.env("PATH", env::var_os("PATH").unwrap()).envs(variables.iter().copied());
        reverb
    }

    /// The log of a server from its start until it listens.
    fn start(&self, args: &[&str], variables: &[(&str, &str)]) -> String {
        let mut server = self
            .reverb("start", &["--host", "127.0.0.1", "--port", "0"], variables)
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(server.stdout.take().unwrap());
        let (sender, first) = channel();
        thread::spawn(move || {
            let mut line = String::new();
            output.read_line(&mut line).map(|_| sender.send(line))
        });
        // The line of a server that does not start is empty.
        let line = first.recv_timeout(DEADLINE).unwrap_or_default();
        server.kill().unwrap();
        server.wait().unwrap();
        let mut log = String::new();
        server.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert!(line.contains("listening on"), "the server did not start: {line}{log}");
        assert!(!log.contains("s3cr3t"), "{log}");
        log
    }

    fn check(&self, args: &[&str], variables: &[(&str, &str)]) -> String {
        let output = self.reverb("check", args, variables).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains("s3cr3t"), "{text}");
        text
    }

    /// Fails unless the start logs this text once and `reverb check` prints it once.
    #[track_caller]
    fn reports(&self, text: &str) {
        self.reports_with(&[], &[], text);
    }

    #[track_caller]
    fn reports_with(&self, args: &[&str], variables: &[(&str, &str)], text: &str) {
        for output in [self.start(args, variables), self.check(args, variables)] {
            assert_eq!(output.matches(text).count(), 1, "{text}\n{output}");
        }
    }

    /// Fails if the start logs something.
    #[track_caller]
    fn is_silent(&self, args: &[&str], variables: &[(&str, &str)]) {
        assert_eq!(self.start(args, variables), "");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_variable_that_the_file_overrides_is_named() {
    let env = format!("{APP}REVERB_SERVER_PORT=9000\nREVERB_APP_PING_INTERVAL=5\n");
    let file = format!(r#"{{"servers":{{"reverb":{{"port":9001}}}},{JSON_APP}}}"#);
    let folder = Folder::new(&[(".env", &env), ("reverb.json", &file)]);
    folder.reports(
        ".env:4: REVERB_SERVER_PORT: has no effect, because reverb.json has another value (port)",
    );
    folder.reports(
        ".env:5: REVERB_APP_PING_INTERVAL: has no effect, because reverb.json has another \
         ping_interval for the app 1",
    );
    let text =
        "environment: REVERB_APP_SECRET: has no effect, because reverb.json has another secret";
    folder.reports_with(&[], &[("REVERB_APP_SECRET", "new")], text);
    let same = Folder::new(&[(".env", APP), ("reverb.json", &file.replace("9001", "8080"))]);
    same.is_silent(&[], &[("REVERB_SERVER_PORT", "8080")]);
}

#[test]
fn the_environment_file_is_the_one_that_laravel_chooses() {
    let other = APP.replace("=1", "=2");
    let env = format!("{APP}APP_ENV=staging\nREVERB_APP_PING_INTERVALL=1\n");
    let staging = format!("{other}REVERB_APP_PING_INTERVALL=1\n");
    let folder = Folder::new(&[(".env", &env), (".env.staging", &staging)]);
    // The line number of a warning shows which file was read.
    folder.reports(".env:5: REVERB_APP_PING_INTERVALL");
    folder.reports_with(&[], &[("APP_ENV", "production")], ".env:5: REVERB_APP");
    folder.reports_with(&[], &[("APP_ENV", "staging")], ".env.staging:4: REVERB_APP");
    folder.reports_with(&["--env", "staging"], &[], ".env.staging:4: REVERB_APP");
    folder.reports_with(&["--env=.env"], &[("APP_ENV", "staging")], ".env:5: REVERB_APP");
    let text = "--env production: there is no .env.production, so .env was read, as Laravel does";
    folder.reports_with(&["--env=production"], &[], text);
}

/// Laravel's cached configuration with these values.
fn cached(port: u16, secret: &str, more: &str) -> String {
    format!(
        "<?php return array (\n  'broadcasting' => array ('connections' => array ('reverb' => array (\
         'key' => 'k', 'secret' => '{secret}', 'app_id' => '1', ), ), ),\n  'reverb' => array (\
         'servers' => array ('reverb' => array ('port' => '{port}', ), ), 'apps' => array (\
         'provider' => 'config', 'apps' => array (0 => array ('options' => array ('port' => 8080)))))\
         ,\n {more});\n"
    )
}

#[test]
fn an_old_or_different_cached_configuration_is_reported() {
    let file = "bootstrap/cache/config.php";
    let again = "run `php artisan config:cache` again, or `php artisan config:clear`";
    let folder = Folder::new(&[(".env", APP), (file, &cached(8080, "s3cr3t", ""))]);
    folder.is_silent(&[], &[]);
    folder.age(file, 60);
    folder.reports(&format!("{file}: is older than .env"));
    for (text, key, what) in [
        (
            cached(8080, "older", ""),
            "broadcasting.connections.reverb.secret",
            "that of the server's app 1",
        ),
        (
            cached(8080, "s3cr3t", "").replace("'app_id' => '1'", "'app_id' => '2'"),
            "broadcasting.connections.reverb.app_id",
            "the ids of the server's apps",
        ),
        (cached(9000, "s3cr3t", ""), "reverb.servers.reverb.port", "the server's port, 8080"),
    ] {
        folder.write(file, &text);
        folder.reports(&format!("{file}: {key}: differs from {what}; {again}"));
    }
    folder.write(file, &cached(8080, "s3cr3t", ""));
    let text = format!("{file}: reverb.apps.apps.0.options.port: differs from REVERB_PORT, 443");
    folder.reports_with(&[], &[("REVERB_PORT", "443")], &text);
    folder.write(file, &cached(8080, "s3cr3t", "").replace("=> 'config'", "=> 'database'"));
    folder.reports(&format!("{file}: reverb.apps.provider: the server does not run the PHP code"));
    folder.write(file, "<?php return include 'x';");
    folder.reports(&format!("{file}: was not compared with the other settings"));
    // Laravel reads another file if this variable names one.
    folder.is_silent(&[], &[("APP_CONFIG_CACHE", "/nonexistent")]);
}

#[test]
fn a_cache_that_is_not_watched_is_reported() {
    let text = |name: &str| {
        format!(
            "CACHE_STORE is \"{name}\", a cache that the server does not watch, so `php artisan"
        )
    };
    let folder = Folder::new(&[(".env", APP)]);
    for store in ["database", "failover", "memcached"] {
        folder.reports_with(&[], &[("CACHE_STORE", store)], &text(store));
    }
    folder.is_silent(&[], &[("CACHE_STORE", "file")]);
    folder.write("config/cache.php", "<?php return ['default' => env('CACHE_STORE', 'database')];");
    folder.reports("the default store of config/cache.php is \"database\"");
    folder.is_silent(&[], &[("CACHE_STORE", "file")]);
    let cache = cached(8080, "s3cr3t", "'cache' => array('default' => 'database')");
    folder.write("bootstrap/cache/config.php", &cache);
    folder.reports_with(&[], &[("CACHE_STORE", "file")], "cache.default is \"database\"");
    // The provider writes the key to the files as well.
    folder.write("app/Providers/ReverbBridgeServiceProvider.php", "<?php");
    folder.is_silent(&[], &[("CACHE_STORE", "file")]);
    assert!(!folder.check(&[], &[]).contains("does not watch"));
}

#[test]
fn an_unknown_key_of_the_file_is_reported_and_the_server_starts() {
    let file = JSON_APP.replace(r#""key""#, r#""pin_interval":1,"name":"Shop","key""#);
    let tls = r#""servers":{"reverb":{"options":{"tls":{"verify_peer_name":false}}}}"#;
    let folder = Folder::new(&[("reverb.json", &format!("{{{tls},{file}}}"))]);
    let key = "is not a known key, so it has no effect";
    folder.reports(&format!("apps.apps[0].pin_interval: {key}; did you mean ping_interval?"));
    folder.reports(&format!("apps.apps[0].name: {key}"));
    if cfg!(feature = "tls") {
        let place = "servers.reverb.options.tls";
        folder.reports(&format!("{place}.verify_peer_name: has no effect: it makes a client"));
        let tls = tls.replace(r#""verify_peer_name":false"#, r#""honor_cipher_order":true"#);
        let folder = Folder::new(&[("reverb.json", &format!("{{{tls},{JSON_APP}}}"))]);
        folder.reports(&format!("{place}: has no effect without local_cert"));
    }
}

#[test]
fn a_failed_export_asks_for_another_one() {
    for text in ["", "null", "\n   ERROR  Command \"tinker\" is not defined.\n"] {
        let folder = Folder::new(&[("reverb.json", text), (".env", APP)]);
        for command in ["start", "check"] {
            let output = folder.reverb(command, &[], &[]).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{text}");
            let error = String::from_utf8(output.stderr).unwrap();
            let export = r#"php artisan tinker --execute='echo json_encode(config("reverb"));' > reverb.json"#;
            assert!(error.starts_with("reverb: reverb.json: "), "{error}");
            assert!(error.ends_with(&format!("; export it again: {export}\n")), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}

#[test]
fn a_path_without_a_slash_is_reported() {
    let folder = Folder::new(&[(".env", &format!("{APP}REVERB_SERVER_PATH=ws\n"))]);
    folder.reports(".env:4: REVERB_SERVER_PATH: has no slash at the beginning, so Laravel");
    folder.is_silent(&[], &[("REVERB_SERVER_PATH", "/ws")]);
}

#[test]
fn pulse_without_a_sample_rate_is_reported() {
    let folder = Folder::new(&[(".env", &format!("{APP}PULSE_INGEST_DRIVER=redis\n"))]);
    folder.reports("the messages card of Pulse stays empty: set REVERB_SERVER_PULSE_SAMPLE_RATE=1");
}

#[test]
fn a_custom_application_provider_is_reported() {
    let file = format!("{{{}}}", JSON_APP.replace(r#"{"apps":["#, r#"{"provider":"db","apps":["#));
    let folder = Folder::new(&[("reverb.json", &file)]);
    folder.reports("reverb.json: apps.provider: the server does not run the PHP code");
    folder.write("config/reverb.php", "<?php return ['apps' => ['provider' => 'db']];");
    let both = folder.check(&[], &[]);
    assert_eq!(both.matches("does not run the PHP code").count(), 1, "{both}");
    fs::remove_file(folder.0.join("reverb.json")).unwrap();
    let text = "config/reverb.php: the provider is db: the server does not run the PHP code";
    assert!(folder.check(&[], &[]).contains(text));
    folder.write("config/reverb.php", "<?php return ['apps' => ['provider' => 'config']];");
    assert!(!folder.check(&[], &[]).contains("provider"));
}

#[test]
fn a_file_with_secrets_that_git_would_commit_is_reported() {
    let folder = Folder::new(&[("reverb.json", &format!("{{{JSON_APP}}}"))]);
    let text = "WRONG  reverb.json: has secrets, and git would commit it: add reverb.json to \
                .gitignore";
    let is_reported = || folder.check(&[], &[]).contains(text);
    assert!(!is_reported(), "there is no repository");
    let git = Command::new("git").args(["init", "--quiet"]).current_dir(&folder.0).status();
    assert!(git.unwrap().success());
    assert!(is_reported());
    folder.write(".gitignore", "/reverb.json\n");
    assert!(!is_reported(), "git ignores it");
    folder.write(".gitignore", "");
    folder.write("reverb.json", r#"{"servers":{"reverb":{"port":8080}}}"#);
    assert!(!is_reported(), "it has no secret");
    let written = folder.reverb("install", &["--config", "other.json"], &[]).output().unwrap();
    let written = String::from_utf8(written.stdout).unwrap();
    assert!(written.contains("other.json: has secrets, and git would commit it"), "{written}");
}
