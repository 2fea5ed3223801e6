//! The provider that `reverb install` adds to a Laravel app, run by php-cli against stand-ins of the
//! classes it uses (`laravel/*.php`): artisan becomes the server, hands over its configuration,
//! reloads and restarts it, and dispatches the events that the server posts.

#[path = "laravel/app.rs"]
mod app;
#[path = "laravel/events.rs"]
mod events;
#[path = "laravel/hand_over.rs"]
mod hand_over;
#[path = "laravel/posted.rs"]
mod posted;

use crate::support::{APP, App, Client, DEADLINE, Server, binary, until};
use serde_json::json;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use app::{LaravelApp, text};

const PROVIDER: &str = "app/Providers/ReverbBridgeServiceProvider.php";
const HAND_OVER: &str = "storage/framework/cache/reverb.json";

/// The lines of a file of `/proc` that ends each with a NUL.
fn of_process(server: &Server, file: &str) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{}/{file}", server.pid())).unwrap();
    let parts = bytes.split(|byte| *byte == 0).filter(|part| !part.is_empty());
    parts.map(|part| text(part).to_owned()).collect()
}

#[test]
fn php_accepts_the_provider() {
    let app = LaravelApp::new();
    let lint = Command::new("php").arg("-l").arg(app.0.join(PROVIDER)).output().unwrap();
    assert!(lint.status.success(), "{lint:?}");
}

#[test]
fn artisan_becomes_the_server_in_every_order_of_registration() {
    for variables in
        [&[][..], &["STAND_IN_EAGER"], &["STAND_IN_FIRST"], &["STAND_IN_EAGER", "STAND_IN_FIRST"]]
    {
        let app = LaravelApp::new();
        let mut command = app.artisan("reverb:start --ansi -n");
        command.envs(variables.iter().map(|name| (*name, "1")));
        let server = app.serve(command);
        // The process of PHP is the process of the server.
        let program = fs::read_link(format!("/proc/{}/exe", server.pid())).unwrap();
        assert_eq!(program, fs::canonicalize(binary()).unwrap(), "{variables:?}");
        assert!(server.stderr().contains("handles 0 signals"), "{}", server.stderr());
        let mut client = Client::connect(&server);
        client.subscribe("news");
        server.get("/apps/app-id/channels", "").is(200, json!({"channels": {"news": {}}}));
    }
}

#[test]
fn the_environment_is_that_of_the_process_without_the_env_file() {
    let app = LaravelApp::new();
    let mut command = app.artisan("reverb:start");
    let systemd = UnixDatagram::bind(app.0.join("notify")).unwrap();
    systemd.set_read_timeout(Some(DEADLINE)).unwrap();
    command.env("NOTIFY_SOCKET", app.0.join("notify")).env("WATCHDOG_USEC", "9000000");
    command.env("TZ", "Europe/Berlin").env("LC_ALL", "C").env("REVERB_APP_MAX_CONNECTIONS", "7");
    command.env("SSL_CERT_FILE", "/none").env("OTHER", "x").env("REVERB_LIMIT_CONNECTIONS", "1234");
    let server = app.serve(command);
    let mut names = of_process(&server, "environ");
    names.iter_mut().for_each(|line| line.truncate(line.find('=').unwrap()));
    names.sort();
    let kept = ["LC_ALL", "NOTIFY_SOCKET", "PATH", "SSL_CERT_FILE", "TZ", "WATCHDOG_USEC"];
    assert_eq!(names, kept);
    let mut notification = [0; 100];
    let len = systemd.recv(&mut notification).unwrap();
    assert!(notification[..len].starts_with(b"READY=1"), "{notification:?}");
    let handed_over = &app.hand_over()["artisan"]["environment"];
    let expected = json!({"REVERB_APP_MAX_CONNECTIONS": "7", "REVERB_LIMIT_CONNECTIONS": "1234"});
    assert_eq!(*handed_over, expected, "and no variable of the .env file");
    assert!(server.announced().ends_with("up to 1234 connections"), "{}", server.announced());
}

#[test]
fn descriptors_of_php_are_closed() {
    let app = LaravelApp::new();
    let server = app.start();
    let open = fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
    let files: Vec<PathBuf> = open.map(|it| fs::read_link(it.unwrap().path()).unwrap()).collect();
    assert!(files.len() > 3, "{files:?}");
    let of_app: Vec<_> = files.iter().filter(|file| file.starts_with(&app.0)).collect();
    assert!(of_app.is_empty(), "{files:?}");
    // The shell has opened this one, and PHP and the server have inherited it.
    let mut command = Command::new("sh");
    command.args(["-c", "exec 9<.env; exec \"$@\"", "sh", "php", "artisan", "reverb:start"]);
    let php = app.artisan("reverb:start");
    command.current_dir(&app.0).env_clear().stdin(Stdio::null());
    command.envs(php.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let server = app.serve(command);
    assert!(!Path::new(&format!("/proc/{}/fd/9", server.pid())).exists());
}

#[test]
fn flags_of_artisan_arrive() {
    let app = LaravelApp::new();
    let path = app.0.join("socket");
    let words = format!(
        "reverb:start --host=127.0.0.1,{} --path=/ws --hostname=ws.example --debug",
        path.display()
    );
    let server = app.serve(app.artisan(&words));
    assert!(server.announced().contains("/ws"), "{}", server.announced());
    assert!(path.exists());
    server.request("GET /up HTTP/1.1\r\nHost: x\r\n\r\n");
    server.logs("[DEBUG]");
    // A reload without flags keeps them.
    assert!(app.reload(&server).status.success());
    assert_eq!(app.hand_over()["servers"]["reverb"]["path"], "/ws");
    assert_eq!(app.hand_over()["servers"]["reverb"]["hostname"], "ws.example");
    Client::connect_to(&server, &format!("/ws/app/{}?protocol=7", APP.key)).subscribe("c");
}

#[test]
fn the_hand_over_is_private_and_git_ignores_it() {
    let app = LaravelApp::new();
    let git = |words: &str| {
        let mut git = Command::new("git");
        git.args(words.split(' ')).current_dir(&app.0).env("GIT_CONFIG_NOSYSTEM", "1");
        let output = git.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout).to_owned()
    };
    git("init -q");
    let before = git("status --porcelain --untracked-files=all");
    assert!(before.contains(PROVIDER), "{before}");
    let _server = app.start();
    let mode = fs::metadata(app.0.join(HAND_OVER)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(app.read(HAND_OVER).contains(APP.secret));
    assert_eq!(git("status --porcelain --untracked-files=all"), before);
}

#[test]
fn the_hand_over_outlives_the_folder_of_a_release() {
    let app = LaravelApp::new();
    let (storage, shared) = (app.0.join("storage"), app.0.join("shared"));
    fs::rename(&storage, &shared).unwrap();
    symlink(&shared, &storage).unwrap();
    let server = app.start();
    fs::remove_file(&storage).unwrap();
    server.signal("HUP");
    server.logs("reload: the configuration has not changed");
}

#[test]
fn the_configuration_cache_and_the_named_environment_count() {
    let other = App { id: "2", key: "cached-key", secret: "cached-secret" };
    let app = LaravelApp::new();
    app.write(".env.staging", &app.read(".env").replace(APP.key, "staging-key"));
    let server = app.serve(app.artisan("reverb:start --env=staging"));
    Client::connect_to(&server, "/app/staging-key?protocol=7").subscribe("c");
    drop(server);
    // Laravel does not read the .env file if there is a cache.
    let config = fs::read_to_string(app.0.join("config/reverb.php")).unwrap();
    let config = config.replace("env('REVERB_APP_KEY')", &format!("'{}'", other.key));
    let config = config.replace("env('REVERB_APP_SECRET')", &format!("'{}'", other.secret));
    let config = config.replace("env('REVERB_APP_ID')", &format!("'{}'", other.id));
    let config = config.replace("<?php\n\nreturn [", "<?php\n\nreturn ['reverb' => [");
    app.write("bootstrap/cache/config.php", &config.replace("\n];", "\n]];"));
    let server = app.start();
    assert_eq!(app.hand_over()["artisan"]["is_cached"], true);
    server.get_as(&other, "/apps/2/channels", "").is(200, json!({"channels": {}}));
    server.get("/apps/app-id/channels", "").is_error(404);
}

#[test]
fn applications_of_another_provider_are_handed_over() {
    let app = LaravelApp::new();
    let mut command = app.artisan("reverb:start");
    command.env("STAND_IN_PROVIDER", "database");
    let server = app.serve(command);
    let apps = &app.hand_over()["apps"];
    assert_eq!(apps["provider"], "config");
    assert_eq!(apps["apps"][0]["accept_client_events_from"], "all");
    server.get("/apps/app-id/channels", "").is(200, json!({"channels": {}}));
}

#[test]
fn a_reload_applies_the_configuration_and_keeps_connections() {
    let app = LaravelApp::new();
    let server = app.start();
    let mut client = Client::connect(&server);
    client.subscribe("news");
    app.edit(
        "config/reverb.php",
        "'apps' => [[",
        "'apps' => [['app_id' => '9', 'key' => 'new', 'secret' => 's'], [",
    );
    let output = app.reload(&server);
    assert!(output.status.success(), "{output:?}");
    assert!(text(&output.stdout).starts_with("Reloaded the server on "), "{output:?}");
    server.logs("took over 1 connection\n");
    Client::connect_to(&server, "/app/new?protocol=7").subscribe("c");
    server.publish("news", "hello", "{}");
    assert_eq!(client.event()["event"], "hello");
}

#[test]
fn an_invalid_configuration_is_reported_by_the_reload() {
    let app = LaravelApp::new();
    let server = app.start();
    let before = app.read(HAND_OVER);
    let written = fs::metadata(app.0.join(HAND_OVER)).unwrap().modified().unwrap();
    app.edit("config/reverb.php", "'ping_interval' => 60", "'ping_interval' => 'often'");
    let output = app.reload(&server);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains("ping_interval"), "{output:?}");
    server.is_up();
    // What the server reads at the next signal is what it uses now.
    assert_eq!(app.read(HAND_OVER), before);
    // Its time is that of the start, so that the change is still reported.
    let since = fs::metadata(app.0.join(HAND_OVER)).unwrap().modified().unwrap();
    assert!(since <= written, "{since:?}");
    server.signal("HUP");
    server.logs("reload: the configuration has not changed");
}

#[test]
fn files_newer_than_the_hand_over_are_reported() {
    let app = LaravelApp::new();
    let server = app.start();
    let written = fs::metadata(app.0.join(HAND_OVER)).unwrap().modified().unwrap();
    let later = written + std::time::Duration::from_secs(1);
    let env_file = fs::File::options().append(true).open(app.0.join(".env")).unwrap();
    env_file.set_modified(later).unwrap();
    // By hand, in the folder of the app: the hand-over says where the server is.
    let port = server.address().port().to_string();
    let mut command = Command::new(binary());
    let output = command.args(["reload", "--port", &port]).current_dir(&app.0).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let warning = ".env: was changed since artisan handed over the configuration";
    assert!(text(&output.stdout).starts_with("warning: "), "{output:?}");
    assert!(text(&output.stdout).contains(warning), "{output:?}");
    server.signal("HUP");
    let reload = format!("reload: {}/{warning}", app.0.display());
    server.logs(&reload);
    // Artisan writes the hand-over again.
    fs::File::options()
        .append(true)
        .open(app.0.join(".env"))
        .unwrap()
        .set_modified(written + std::time::Duration::from_millis(1))
        .unwrap();
    let output = app.reload(&server);
    assert!(!text(&output.stdout).contains("warning"), "{output:?}");
}

#[test]
fn a_restart_reaches_the_server_with_every_cache() {
    let app = LaravelApp::new();
    for database in ["up", "down"] {
        // The key has the time in seconds: an earlier restart must not have the same.
        if let Ok(folder) = fs::read_dir(app.0.join("storage/framework/cache/data")) {
            folder.for_each(|it| fs::remove_dir_all(it.unwrap().path()).unwrap());
        }
        _ = fs::remove_file(app.0.join("database"));
        let mut server = app.start();
        let mut client = Client::connect(&server);
        client.subscribe("c");
        let mut command = app.artisan("reverb:restart");
        let output = command.env("STAND_IN_DATABASE", database).output().unwrap();
        assert_eq!(output.status.success(), database == "up", "{output:?}");
        assert_eq!(app.0.join("database").exists(), database == "up", "Laravel's own key");
        assert_eq!(client.event()["event"], "pusher:error");
        client.closed(4200);
        assert_eq!(server.wait().code(), Some(0));
    }
}

#[test]
fn a_restart_that_cannot_be_requested_is_reported() {
    let app = LaravelApp::new();
    let data = app.0.join("storage/framework/cache/data");
    fs::remove_dir_all(&data).unwrap();
    // Not even root creates a folder below a file.
    fs::write(&data, "").unwrap();
    let output = app.artisan("reverb:restart").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let out = text(&output.stdout);
    assert!(out.contains("Broadcasting Reverb restart signal."), "{out}");
    assert!(out.contains("The server on this machine does not restart"), "{out}");
    assert!(out.contains("Run this command as the user of the server"), "{out}");
    // The user of the server cannot write either: root has created some of the folders, for example.
    let _server = app.start();
    let output = app.artisan("reverb:restart").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let expected = "Some of it belongs to another user: give all of it to the user of the server [";
    assert!(text(&output.stdout).contains(expected), "{output:?}");
}

#[test]
fn the_server_of_another_user_is_not_reloaded() {
    let app = LaravelApp::new();
    let server = app.start();
    let before = app.read(HAND_OVER);
    let owner = fs::metadata(app.0.join(HAND_OVER)).unwrap().uid();
    let mut command = app.artisan("reverb:reload");
    let output = command.env("STAND_IN_USER", (owner + 1).to_string()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stdout).contains("Run this command as that user."), "{output:?}");
    assert_eq!(app.read(HAND_OVER), before);
    server.is_up();
}

#[test]
fn without_pcntl_the_server_stops_with_php() {
    let app = LaravelApp::new();
    let php = || app.php(&["-d", "disable_functions=pcntl_exec"], "reverb:start");
    // However PHP ends, the server stops in order.
    let mut server = app.serve(php());
    let mut client = Client::connect(&server);
    client.subscribe("c");
    let child = fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.pid())).unwrap();
    server.signal("KILL");
    assert_eq!(client.event()["event"], "pusher:error");
    client.closed(4200);
    server.wait();
    let disabled = ["-d", "disable_functions=pcntl_exec,proc_open"];
    let output = app.php(&disabled, "reverb:start").output().unwrap();
    assert!(text(&output.stdout).contains("PHP cannot start the binary"), "{output:?}");
    until("the server has ended", || !Path::new(&format!("/proc/{}", child.trim())).exists());
    // And PHP ends with the server, with its exit code.
    let mut server = app.serve(php());
    let child = fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.pid())).unwrap();
    Command::new("kill").arg(child.trim()).status().unwrap();
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn an_interrupt_of_both_stops_the_server_once() {
    let app = LaravelApp::new();
    app.edit(".env", "DRAIN_WINDOW_MS=100", "DRAIN_WINDOW_MS=1000");
    let mut command = app.php(&["-d", "disable_functions=pcntl_exec"], "reverb:start");
    command.process_group(0);
    let mut server = app.serve(command);
    let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(&server)).collect();
    clients.iter_mut().for_each(|client| client.subscribe("c"));
    // As Ctrl-C in a terminal does. PHP ends at once, and with it the input of the server.
    let group = format!("-{}", server.pid());
    Command::new("kill").args(["-s", "INT", "--", &group]).status().unwrap();
    for mut client in clients {
        assert_eq!(client.event()["event"], "pusher:error");
    }
    server.wait();
}

#[test]
fn without_the_binary_laravels_own_command_runs() {
    let app = LaravelApp::new();
    let run = |name: &str, value: &str| {
        let mut command = app.artisan("reverb:start");
        command.env(name, value);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout).to_owned() + text(&output.stderr)
    };
    // The machine may have a server in its own PATH.
    let path = app.0.join("bin");
    fs::create_dir(&path).unwrap();
    let folders = env::var_os("PATH").unwrap();
    let mut php = env::split_paths(&folders).map(|folder| folder.join("php"));
    symlink(php.find(|php| php.exists()).unwrap(), path.join("php")).unwrap();
    assert_eq!(
        run("PATH", path.to_str().unwrap()),
        "WARN The reverb binary is not in the PATH. Install it, or name it in REVERB_BINARY. \
         Starting Laravel Reverb instead.\nINFO Starting server\nhandles 3 signals\n"
    );
    let text = run("REVERB_BINARY", "/nonexistent/reverb");
    assert!(text.contains("WARN REVERB_BINARY names [/nonexistent/reverb]"), "{text}");
    assert!(!app.0.join(HAND_OVER).exists());
    let mut reload = app.artisan("reverb:reload");
    let output = reload.env("REVERB_BINARY", "/nonexistent/reverb").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn a_variable_names_the_binary() {
    let app = LaravelApp::new();
    // It may be in the .env file, which Laravel does not read if the configuration is cached.
    app.edit(".env", "APP_NAME=Laravel\n", &format!("REVERB_BINARY={}\n", binary()));
    let mut command = app.artisan("reverb:start");
    command.env("PATH", env::var("PATH").unwrap());
    let server = app.serve(command);
    server.is_up();
    assert!(!server.stderr().contains("WARN"), "{}", server.stderr());
}

#[test]
fn another_version_of_the_provider_is_a_warning_of_the_start_and_of_the_check() {
    let app = LaravelApp::new();
    app.edit(PROVIDER, "VERSION = 1;", "VERSION = 0;");
    let server = app.start();
    server.logs("ReverbBridgeServiceProvider.php: has version 0");
    let check = Command::new(binary()).arg("check").current_dir(&app.0).output().unwrap();
    let out = text(&check.stdout);
    assert!(
        out.contains("ReverbBridgeServiceProvider.php: was changed, and does not have version 1"),
        "{out}"
    );
}
