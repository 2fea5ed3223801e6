//! `reverb apps`: the real binary edits the files of a real folder.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::support::{App, Server, Setup, binary, until};

/// A directory with a `reverb.json` that names the folder `apps`, removed after the test.
struct Dir(PathBuf);

impl Dir {
    fn new(files: &[(&str, Value)]) -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir()
            .join(format!("reverb-apps-command-{}-{number}", std::process::id()));
        fs::create_dir_all(dir.join("apps")).unwrap();
        let dir = Dir(dir);
        let own = json!([{"app_id": "own", "key": "own-key", "secret": "own-hush"}]);
        let config = json!({
            // No other test listens on this port of this address.
            "servers": {"reverb": {"host": "127.0.0.9", "port": 1, "apps_dir": "apps"}},
            "apps": {"apps": own},
        });
        fs::write(dir.0.join("reverb.json"), config.to_string()).unwrap();
        for (name, tree) in files {
            fs::write(dir.file(name), tree.to_string()).unwrap();
        }
        dir
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join("apps").join(name)
    }

    fn read(&self, name: &str) -> Value {
        serde_json::from_str(&fs::read_to_string(self.file(name)).unwrap()).unwrap()
    }

    /// The names of the files, without that of the lock.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.join("apps")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name != ".lock").collect();
        names.sort();
        names
    }

    fn command(&self, args: &[&str]) -> Command {
        command(&self.0, args)
    }

    /// Runs a command that succeeds.
    #[track_caller]
    fn run(&self, args: &[&str]) -> String {
        succeeded(self.command(args).output().unwrap())
    }

    /// Runs a command with `--json` that succeeds.
    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[args, &["--json"]].concat())).unwrap()
    }

    /// Runs a command that fails with this code, and returns its one line.
    #[track_caller]
    fn refused(&self, code: i32, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        error.trim_end().strip_prefix("reverb: ").unwrap().to_owned()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.arg("apps").args(args).current_dir(folder).env_clear();
    command
}

#[track_caller]
fn succeeded(output: Output) -> String {
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), &*error), (Some(0), ""));
    String::from_utf8(output.stdout).unwrap()
}

/// An app whose secret is recognizable.
fn app(id: &str) -> Value {
    json!({"app_id": id, "key": format!("key-{id}"), "secret": format!("hush-{id}")})
}

fn with(mut app: Value, key: &str, value: Value) -> Value {
    app[key] = value;
    app
}

#[test]
#[cfg(feature = "webhooks")]
fn the_list_has_all_apps_and_no_secret() {
    let hook = json!([{"url": "http://h.example/?token=hush", "headers": {"X-Token": "hush"}}]);
    let limited = with(with(app("2"), "max_connections", json!(5)), "webhooks", hook);
    let rotating = json!({"app_id": "3", "key": "key-3", "secrets": ["hush-new", "hush-old"]});
    let dir = Dir::new(&[
        ("one.json", with(app("1"), "enabled", json!(false))),
        ("two.json", json!([limited, rotating])),
        (".hidden.json", app("4")),
    ]);
    let table = dir.run(&["list"]);
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split("  ").filter(|cell| !cell.is_empty()).collect())
        .collect();
    let rows: Vec<Vec<&str>> =
        rows.into_iter().map(|row| row.into_iter().map(str::trim).collect()).collect();
    assert_eq!(
        rows,
        [
            vec!["ID", "KEY", "ENABLED", "FROM", "SETTINGS"],
            vec!["1", "key-1", "no", "one.json", "-"],
            vec!["2", "key-2", "yes", "two.json", "1 webhook max_connections=5"],
            vec!["3", "key-3", "yes", "two.json", "two secrets"],
            vec!["own", "own-key", "yes", "reverb.json", "-"],
        ]
    );
    assert!(!table.contains("hush"), "{table}");
    let list = dir.json(&["list"]);
    assert!(!list.to_string().contains("hush"), "{list}");
    assert_eq!((&list["folder"], &list["problems"]), (&json!("apps"), &json!([])));
    assert_eq!(
        list["apps"][1],
        json!({
            "id": "2", "key": "key-2", "enabled": true, "from": "folder", "file": "two.json",
            "secret_count": 1, "webhook_count": 1, "settings": {"max_connections": 5},
        })
    );
    assert_eq!(list["apps"][3]["from"], "configuration");
    let list = dir.json(&["list", "--secrets"]);
    assert_eq!(list["apps"][2]["secrets"], json!(["hush-new", "hush-old"]));
    assert_eq!(list["apps"][1]["settings"]["webhooks"][0]["headers"], json!({"X-Token": "hush"}));
    assert!(dir.run(&["list", "--secrets"]).contains("  hush-new,hush-old  "));
}

#[test]
fn the_list_names_each_file_that_is_wrong() {
    let dir = Dir::new(&[
        ("a.json", json!([app("1"), app("2")])),
        ("b.json", json!({"app_id": "3", "key": "k", "secret": ""})),
        ("c.json", app("2")),
        ("d.json", json!({"app_id": "4", "key": "own-key", "secret": "hush"})),
    ]);
    fs::write(dir.file("e.json"), "{\"secret\": \"hush").unwrap();
    let output = dir.command(&["list"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "reverb: the folder has 4 problems\n");
    let text = String::from_utf8(output.stdout).unwrap();
    let wrong: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("WRONG  ")).collect();
    assert_eq!(wrong.len(), 4, "{text}");
    for part in [
        "apps/b.json: secret: is missing",
        "apps/c.json: app_id: 2 is the same as in apps/a.json",
        "apps/e.json",
        "d.json: key: app 4 has the key of an app in reverb.json",
    ] {
        assert!(wrong.iter().any(|line| line.contains(part)), "{part}\n{text}");
    }
    assert!(!text.contains("hush"), "{text}");
}

#[test]
fn a_new_app_has_a_file_that_only_its_owner_reads() {
    let dir = Dir::new(&[]);
    let text =
        dir.run(&["add", "--set", "max_connections=5", "--set", "allowed_origins=[\"a\",\"b\"]"]);
    let [name] = &dir.names()[..] else { panic!("{:?}", dir.names()) };
    let written = dir.read(name);
    let [id, key, secret] =
        ["app_id", "key", "secret"].map(|key| written[key].as_str().unwrap().to_owned());
    assert_eq!(*name, format!("{id}.json"));
    assert_eq!((id.len(), key.len(), secret.len()), (6, 20, 20));
    assert_eq!(
        (&written["max_connections"], &written["allowed_origins"]),
        (&json!(5), &json!(["a", "b"]))
    );
    assert_eq!(
        text,
        format!(
            "Added app {id} in apps/{id}.json.\nREVERB_APP_ID={id}\nREVERB_APP_KEY={key}\n\
             REVERB_APP_SECRET={secret}\nNo server listens on 127.0.0.9:1.\n"
        )
    );
    assert_eq!(fs::metadata(dir.file(name)).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn an_id_is_a_safe_name_of_a_file() {
    let dir = Dir::new(&[]);
    let added = dir.json(&["add", "--id", "..a:b", "--key", "k", "--secret", "s", "--no-signal"]);
    let expected = json!({
        "id": "..a:b", "key": "k", "secret": "s", "file": "apps/%2E.a%3Ab.json", "notes": [],
        "changed": true, "signalled": [],
    });
    assert_eq!(added, expected);
    assert_eq!(dir.names(), ["%2E.a%3Ab.json"]);
    let why = dir.refused(2, &["add", "--id", "a/b"]);
    assert_eq!(why, "command line: app_id: has a character that is invalid in a URL");
    let why = dir.refused(2, &["add", "--id", &"a".repeat(201)]);
    assert!(why.contains("too long"), "{why}");
}

#[test]
fn an_id_or_key_that_exists_is_refused() {
    let dir = Dir::new(&[("list.json", json!([app("1"), app("2")])), ("3.json", app("x"))]);
    for (args, why) in [
        (&["--id", "2"][..], "--id 2: is that of an app in apps/list.json; use another"),
        (&["--key", "key-1"], "--key key-1: is that of an app in apps/list.json; use another"),
        (&["--id", "own"], "--id own: is that of an app in reverb.json; use another"),
        (&["--id", "3"], "apps/3.json: exists already; it was not changed"),
    ] {
        assert_eq!(dir.refused(1, &[&["add"], args].concat()), why);
    }
    let why = dir.refused(2, &["add", "--set", "max_conections=1"]);
    assert!(why.contains("did you mean max_connections?"), "{why}");
    assert_eq!(dir.names(), ["3.json", "list.json"]);
}

#[test]
fn a_rotation_has_two_steps() {
    let dir = Dir::new(&[("1.json", with(app("1"), "owner", json!("acme")))]);
    let rotated = dir.json(&["rotate", "1"]);
    let secret = rotated["secret"].as_str().unwrap();
    let secrets = json!([secret, "hush-1"]);
    let expected = json!({"app_id": "1", "key": "key-1", "secrets": secrets, "owner": "acme"});
    assert_eq!(dir.read("1.json"), expected);
    let why = dir.refused(1, &["rotate", "1"]);
    assert!(why.contains("run `reverb apps rotate 1 --finish`"), "{why}");
    let text = dir.run(&["rotate", "1", "--finish"]);
    assert!(text.starts_with("The old secret of app 1 is not valid any more.\n"), "{text}");
    let expected = json!({"app_id": "1", "key": "key-1", "secret": secret, "owner": "acme"});
    assert_eq!(dir.read("1.json"), expected);
    assert_eq!(dir.run(&["rotate", "1", "--finish"]), "App 1 has one secret: nothing to finish.\n");
    assert_eq!(dir.run(&["rotate", "1", "--secret", "own", "--no-signal"]).lines().count(), 2);
    assert_eq!(dir.read("1.json")["secrets"], json!(["own", secret]));
}

#[test]
fn other_entries_of_a_list_stay() {
    let other = with(app("1"), "note", json!({"deep": [1, null, "ä"]}));
    let dir = Dir::new(&[("list.json", json!([other, app("2"), app("3")]))]);
    fs::set_permissions(dir.file("list.json"), Permissions::from_mode(0o640)).unwrap();
    assert_eq!(dir.json(&["disable", "2"])["enabled"], json!(false));
    let disabled = with(app("2"), "enabled", json!(false));
    assert_eq!(dir.read("list.json"), json!([other, disabled, app("3")]));
    assert_eq!(dir.run(&["disable", "2"]), "App 2 is disabled already.\n");
    dir.run(&["enable", "2"]);
    let enabled = with(app("2"), "enabled", json!(true));
    assert_eq!(dir.read("list.json"), json!([other, enabled, app("3")]));
    for id in ["3", "2", "1"] {
        dir.run(&["remove", id]);
    }
    assert_eq!(dir.read("list.json"), json!([]));
    assert_eq!(fs::metadata(dir.file("list.json")).unwrap().mode() & 0o777, 0o640);
    assert_eq!(dir.names(), ["list.json"]);
}

#[test]
fn an_app_alone_in_its_file_is_removed_with_it() {
    let dir = Dir::new(&[("1.json", app("1"))]);
    let removed = dir.json(&["remove", "1", "--no-signal"]);
    let expected = json!({"id": "1", "file": "apps/1.json", "changed": true, "signalled": []});
    assert_eq!(removed, expected);
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn an_app_that_is_not_in_the_folder_is_refused() {
    let dir = Dir::new(&[("a.json", app("1"))]);
    assert_eq!(
        dir.refused(1, &["disable", "own"]),
        "app own is in reverb.json, not in the folder apps: edit it there"
    );
    assert_eq!(
        dir.refused(1, &["remove", "9"]),
        "apps has no app 9; `reverb apps list` prints those it has"
    );
    fs::write(dir.file("b.json"), "{").unwrap();
    let why = dir.refused(1, &["remove", "9"]);
    assert!(why.contains("or a file that is invalid has it: apps/b.json"), "{why}");
    fs::write(dir.file("b.json"), app("1").to_string()).unwrap();
    assert_eq!(
        dir.refused(1, &["enable", "1"]),
        "app 1 is in apps/a.json and in apps/b.json: remove it from one of them"
    );
    fs::write(dir.0.join("reverb.json"), "{}").unwrap();
    let why = dir.refused(2, &["add"]);
    assert!(why.contains("apps_dir: is not set") && why.contains("set REVERB_APPS_DIR"), "{why}");
    assert_eq!(dir.run(&["list"]), "There are no apps; `reverb apps add` makes one.\n");
}

#[test]
fn commands_at_once_lose_nothing() {
    let ids: Vec<String> = (0..12).map(|id| id.to_string()).collect();
    let dir = Dir::new(&[("list.json", ids.iter().map(|id| app(id)).collect())]);
    let start = |args: &[&str]| dir.command(args).stdout(Stdio::null()).spawn().unwrap();
    let mut running: Vec<_> = ids.iter().map(|id| start(&["disable", id])).collect();
    running.extend(ids.iter().map(|id| start(&["add", "--id", &format!("new-{id}")])));
    for mut child in running {
        assert!(child.wait().unwrap().success());
    }
    let disabled = ids.iter().map(|id| with(app(id), "enabled", json!(false)));
    assert_eq!(dir.read("list.json"), disabled.collect::<Value>());
    assert_eq!(dir.json(&["list"])["apps"].as_array().unwrap().len(), 25);
    // No temporary file is left.
    assert!(dir.names().iter().all(|name| !name.starts_with('.')), "{:?}", dir.names());
}

#[test]
fn a_link_stays_a_link() {
    let dir = Dir::new(&[]);
    fs::write(dir.0.join("elsewhere.json"), app("1").to_string()).unwrap();
    std::os::unix::fs::symlink("../elsewhere.json", dir.file("1.json")).unwrap();
    dir.run(&["disable", "1"]);
    assert!(fs::symlink_metadata(dir.file("1.json")).unwrap().is_symlink());
    let text = fs::read_to_string(dir.0.join("elsewhere.json")).unwrap();
    assert!(text.contains("\"enabled\": false"), "{text}");
}

#[test]
fn a_new_file_belongs_to_the_owner_of_the_folder() {
    const OTHER: u32 = 54_321;
    let dir = Dir::new(&[]);
    let folder = dir.0.join("apps");
    if std::os::unix::fs::chown(&folder, Some(OTHER), Some(OTHER)).is_err() {
        // Only root can give files away, so there is nothing to test.
        return;
    }
    fs::set_permissions(&folder, Permissions::from_mode(0o2750)).unwrap();
    dir.run(&["add", "--id", "1"]);
    for (name, mode) in [("1.json", 0o640), (".lock", 0o600)] {
        let found = fs::metadata(dir.file(name)).unwrap();
        assert_eq!(
            (found.uid(), found.gid(), found.mode() & 0o777),
            (OTHER, OTHER, mode),
            "{name}"
        );
    }
    // The owner of the folder cannot make root give it another file.
    let target = dir.0.join("target");
    fs::write(&target, "").unwrap();
    fs::remove_file(dir.file(".lock")).unwrap();
    std::os::unix::fs::symlink(&target, dir.file(".lock")).unwrap();
    let why = dir.refused(1, &["add", "--id", "2"]);
    assert!(why.contains(".lock: cannot be locked: "), "{why}");
    assert_ne!(fs::metadata(&target).unwrap().uid(), OTHER);
    std::os::unix::fs::chown(&folder, Some(0), Some(0)).unwrap();
}

/// Runs a command that names the server by its port, and the folder as the server does.
#[track_caller]
fn beside(server: &Server, folder: &Path, args: &[&str]) -> String {
    let port = server.address().port().to_string();
    let at = ["--host", "127.0.0.1", "--port", &port];
    let mut command = command(server.directory(), &[args, &at].concat());
    succeeded(command.env("REVERB_APPS_DIR", folder).output().unwrap())
}

/// The status of a request to the API of an app, once it is this one.
#[track_caller]
fn becomes(server: &Server, app: &App, status: u16) {
    let path = format!("/apps/{}/channels", app.id);
    until(&format!("status {status}"), || server.get_as(app, &path, "").status == status);
}

#[test]
fn a_running_server_applies_each_change() {
    let dir = Dir::new(&[("own.json", app("own"))]);
    let folder = dir.0.join("apps");
    let server = Setup::bare().env("REVERB_APPS_DIR", folder.display()).start();
    let (pid, address) = (server.pid(), server.address());
    let run = |args: &[&str]| beside(&server, &folder, args);
    let old = App { id: "1", key: "k", secret: "old" };
    let new = App { secret: "new", ..old };
    let text = run(&["add", "--id", "1", "--key", "k", "--secret", "old"]);
    let expected = format!("Sent SIGHUP to the server on {address} (process {pid}).");
    assert_eq!(text.lines().last(), Some(&*expected));
    becomes(&server, &old, 200);
    let told: Value =
        serde_json::from_str(&run(&["rotate", "1", "--secret", "new", "--json"])).unwrap();
    assert_eq!(told["signalled"], json!([pid]));
    becomes(&server, &new, 200);
    becomes(&server, &old, 200);
    run(&["rotate", "1", "--finish"]);
    becomes(&server, &old, 401);
    run(&["disable", "1"]);
    becomes(&server, &new, 403);
    run(&["enable", "1"]);
    becomes(&server, &new, 200);
    run(&["remove", "1"]);
    becomes(&server, &new, 404);
    // Without a signal the server looks at the folder by itself.
    let text = run(&["add", "--id", "1", "--key", "k", "--secret", "new", "--no-signal"]);
    assert!(!text.contains("SIGHUP"), "{text}");
    becomes(&server, &new, 200);
}
