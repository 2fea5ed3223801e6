//! The folder of apps: its files change while clients are connected to the real server.

use crate::reload::reload;
use crate::support::{APP, App, Client, DEADLINE, Http, Server, Setup, binary};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;
use std::{env, fs, process, thread};

const ONE: App = App { id: "one", key: "key-one", secret: "secret-one" };
const TWO: App = App { id: "two", key: "key-two", secret: "secret-two" };

/// A folder with files of apps.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("reverb-apps-{}-{number}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file as a tool should: to another name, which is then renamed.
    fn put(&self, name: &str, text: impl ToString) {
        let new = self.path(&format!(".{name}.new"));
        fs::write(&new, text.to_string()).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    fn setup(&self) -> Setup {
        let setup = Setup::bare().env("REVERB_APPS_DIR", self.0.display());
        let setup = setup.env("REVERB_SERVER_METRICS", "127.0.0.1:0");
        setup.env("REVERB_LIMIT_DRAIN_WINDOW_MS", 50)
    }

    /// A start that fails, with its message.
    fn refused(&self) -> String {
        let output = Command::new(binary())
            .current_dir(&self.0)
            .env_clear()
            .env("REVERB_APPS_DIR", &self.0)
            .args(["start", "--host", "127.0.0.1", "--port", "0"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server that follows a folder, and how much of its log was read.
struct World {
    server: Server,
    folder: Folder,
    seen: usize,
    metrics: Option<SocketAddr>,
}

impl World {
    #[track_caller]
    fn start(folder: Folder) -> Self {
        World { server: folder.setup().start(), folder, seen: 0, metrics: None }
    }

    /// The text of its metrics.
    fn metrics(&mut self) -> String {
        let address = *self.metrics.get_or_insert_with(|| {
            let line = self.server.line();
            let address = line.trim_start_matches("metrics at http://");
            address.trim_end_matches("/metrics").parse().unwrap()
        });
        let mut http = Http::connect_to(address);
        http.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        http.response().text().to_owned()
    }

    #[track_caller]
    fn has_metrics(&mut self, apps: usize, bad_files: usize) {
        let metrics = self.metrics();
        let (apps, bad) = (format!("reverb_apps {apps}"), format!("bad_files {bad_files}"));
        assert!(metrics.contains(&format!("\n{apps}\n")), "{apps}\n{metrics}");
        assert!(metrics.contains(&format!("\nreverb_apps_folder_{bad}\n")), "{bad}\n{metrics}");
    }

    /// Waits until the server has logged this text, after the previous one.
    #[track_caller]
    fn logs(&mut self, text: &str) {
        let started = Instant::now();
        loop {
            let log = self.server.stderr();
            if let Some(at) = log[self.seen..].find(text) {
                self.seen += at + text.len();
                return;
            }
            assert!(started.elapsed() < DEADLINE, "never logged: {text}");
            thread::yield_now();
        }
    }

    /// Makes the server read the folder, and waits for this line.
    #[track_caller]
    fn scan(&mut self, text: &str) {
        self.server.signal("HUP");
        self.logs(text);
    }

    #[track_caller]
    fn connect(&self, app: &App) -> Client {
        Client::connect_to(&self.server, &format!("/app/{}", app.key))
    }

    #[track_caller]
    fn is_unknown(&self, app: &App) {
        let mut client = Client::open(&self.server, &format!("/app/{}", app.key), "");
        client.error(4001, "Application does not exist");
        client.closed(4001);
    }

    /// The status of an event, signed with the secret of this app.
    fn publish(&self, app: &App, data: &str) -> u16 {
        let body = json!({"name": "e", "channel": "news", "data": data}).to_string();
        self.server.post_as(app, &format!("/apps/{}/events", app.id), &body).status
    }
}

/// Fails unless the server closes the connection because its app was removed.
#[track_caller]
fn removed(client: &mut Client) {
    client.error(4200, "Application was removed");
    client.closed(4200);
}

fn entry(app: &App) -> Value {
    json!({"app_id": app.id, "key": app.key, "secret": app.secret})
}

fn folder_of(files: &[(&str, &[&App])]) -> Folder {
    let folder = Folder::new();
    for (name, apps) in files {
        folder.put(name, apps.iter().map(|app| entry(app)).collect::<Value>());
    }
    folder
}

#[test]
fn apps_come_change_and_go_while_the_clients_of_others_stay() {
    let mut world = World::start(folder_of(&[("one.json", &[&ONE])]));
    let mut stays = world.connect(&ONE);
    stays.subscribe("news");
    world.is_unknown(&TWO);

    world.folder.put("two.json", entry(&TWO));
    world.scan("apps_dir: 1 added, 0 changed, 0 removed; 2 in all");
    let mut goes = world.connect(&TWO);
    goes.subscribe("news");
    assert_eq!(world.publish(&TWO, "1"), 200);
    assert_eq!(goes.event()["data"], "1");

    let mut limited = entry(&TWO);
    limited["max_message_size"] = json!(100);
    world.folder.put("two.json", &limited);
    world.scan("apps_dir: 0 added, 1 changed, 0 removed; 2 in all");
    let mut long = world.connect(&TWO);
    long.text(&"x".repeat(101));
    long.closed(1009);

    world.folder.remove("two.json");
    world.scan("apps_dir: 0 added, 0 changed, 1 removed; 1 in all");
    removed(&mut goes);
    world.is_unknown(&TWO);
    assert_eq!(world.publish(&TWO, "2"), 404);
    assert_eq!(world.publish(&ONE, "3"), 200);
    assert_eq!(stays.event()["data"], "3");
    stays.nothing();
}

#[test]
fn a_disabled_app_and_other_origins_close_what_they_concern() {
    let mut world = World::start(folder_of(&[("a.json", &[&ONE, &TWO])]));
    let (mut one, mut two) = (world.connect(&ONE), world.connect(&TWO));
    let (mut first, mut second) = (entry(&ONE), entry(&TWO));
    first["enabled"] = json!(false);
    second["allowed_origins"] = json!(["example.com"]);
    world.folder.put("a.json", json!([first, second]));
    world.scan("apps_dir: 0 added, 2 changed, 0 removed; 2 in all");
    one.error(4003, "Application disabled");
    one.closed(4003);
    two.error(4009, "Origin not allowed");
    two.closed(4009);
    assert_eq!(world.publish(&ONE, "x"), 403);
}

#[test]
fn a_bad_file_keeps_its_apps_and_says_so_once() {
    let mut world = World::start(folder_of(&[("one.json", &[&ONE])]));
    let mut client = world.connect(&ONE);
    let file = world.folder.path("one.json");
    let text = json!([entry(&ONE), entry(&TWO)]).to_string();
    // Written in place, in two steps, with a scan in between.
    fs::write(&file, &text[..text.len() / 2]).unwrap();
    world.scan("/one.json:1:");
    world.logs("its last good state stays");
    client.nothing();
    world.connect(&ONE).nothing();
    fs::write(&file, &text).unwrap();
    world.scan("one.json: is good again");
    world.logs("apps_dir: 1 added, 0 changed, 0 removed; 2 in all");
    world.connect(&TWO).nothing();

    world.folder.put("one.json", r#"{"app_id": "one", "key": "key-one"}"#);
    world.scan("ERROR");
    world.logs("one.json: secret: is missing; its last good state stays");
    world.scan("reload: the configuration has not changed");
    world.folder.put("two.json", "[]");
    world.folder.put("three.json", entry(&App { id: "3", key: "3", secret: "3" }));
    world.scan("apps_dir: 1 added, 0 changed, 0 removed; 3 in all");
    assert_eq!(world.server.stderr().matches("secret: is missing").count(), 1);
    client.nothing();
}

#[test]
fn a_file_that_is_not_scanned_at_a_signal_is_found_within_seconds() {
    let mut world = World::start(folder_of(&[("one.json", &[&ONE])]));
    world.folder.put("two.json", entry(&TWO));
    world.logs("apps_dir: 1 added, 0 changed, 0 removed; 2 in all");
    world.connect(&TWO).nothing();
}

#[test]
fn of_two_files_with_the_same_app_the_older_one_is_served() {
    let mut world = World::start(folder_of(&[("b.json", &[&ONE])]));
    let mut client = world.connect(&ONE);
    let thief = App { id: "thief", key: ONE.key, secret: "secret-thief" };
    world.folder.put("a.json", json!([entry(&TWO), entry(&thief)]));
    world.scan(r#"a.json: key: that of the app "thief" is the same as in b.json"#);
    world.folder.put("c.json", entry(&App { secret: "another secret", ..ONE }));
    world.scan(r#"c.json: app_id: "one" is the same as in b.json"#);
    world.is_unknown(&TWO);
    assert_eq!((world.publish(&thief, "x"), world.publish(&ONE, "x")), (404, 200));
    // The first file by name is served as soon as the other is gone.
    world.folder.remove("b.json");
    world.scan("a.json: is good again");
    world.logs("apps_dir: 2 added, 0 changed, 1 removed; 2 in all");
    removed(&mut client);
    world.connect(&TWO).nothing();
    assert_eq!((world.publish(&thief, "x"), world.publish(&ONE, "x")), (200, 404));
    let log = world.server.stderr();
    assert!(!log.contains("secret-thief") && !log.contains("another secret"), "{log}");
}

#[test]
fn renaming_files_and_moving_apps_between_them_disturbs_nobody() {
    let mut world = World::start(folder_of(&[("a.json", &[&ONE]), ("b.json", &[&TWO])]));
    let mut clients = [world.connect(&ONE), world.connect(&TWO)];
    clients.iter_mut().for_each(|client| client.subscribe("news"));
    fs::rename(world.folder.path("a.json"), world.folder.path("z.json")).unwrap();
    world.folder.put("b.json", "[]");
    world.folder.put("c.json", json!([entry(&TWO), {"app_id": "3", "key": "3", "secret": "3"}]));
    world.scan("apps_dir: 1 added, 0 changed, 0 removed; 3 in all");
    // Two apps exchange their keys.
    let mut swapped = [entry(&ONE), entry(&TWO)];
    (swapped[0]["key"], swapped[1]["key"]) = (json!(TWO.key), json!(ONE.key));
    world.folder.remove("c.json");
    world.folder.put("z.json", json!(swapped));
    world.scan("apps_dir: 0 added, 2 changed, 1 removed; 2 in all");
    for (app, client) in [&ONE, &TWO].into_iter().zip(&mut clients) {
        assert_eq!(
            world.publish(
                &App { key: if app.id == "one" { TWO.key } else { ONE.key }, ..*app },
                "x"
            ),
            200
        );
        assert_eq!(client.event()["data"], "x");
        client.nothing();
    }
}

#[test]
fn a_secret_is_replaced_without_a_refused_request() {
    const NEW: App = App { secret: "secret-new", ..ONE };
    let mut world = World::start(folder_of(&[("one.json", &[&ONE])]));
    let mut client = world.connect(&ONE);
    client.subscribe("news");
    let (uses_new, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let (old_sent, new_sent) = (AtomicU32::new(0), AtomicU32::new(0));
    let sent = |count: &AtomicU32, more: u32| {
        let goal = count.load(Ordering::SeqCst) + more;
        while count.load(Ordering::SeqCst) < goal {
            thread::yield_now();
        }
    };
    let folder_file = world.folder.path("one.json");
    let published = thread::scope(|scope| {
        let address = &world.server;
        let publisher = scope.spawn(|| {
            let mut count = 0_u32;
            while !is_over.load(Ordering::SeqCst) {
                let is_new = uses_new.load(Ordering::SeqCst);
                let app = if is_new { &NEW } else { &ONE };
                let body = json!({"name": "e", "channel": "news", "data": count.to_string()});
                let response = address.post_as(app, "/apps/one/events", &body.to_string());
                assert_eq!(response.status, 200, "with the new secret: {is_new}");
                count += 1;
                (if is_new { &new_sent } else { &old_sent }).fetch_add(1, Ordering::SeqCst);
            }
            count
        });
        let change = |text: &Value, times: usize| {
            let new = folder_file.with_extension("new");
            fs::write(&new, text.to_string()).unwrap();
            fs::rename(new, &folder_file).unwrap();
            world.server.signal("HUP");
            let started = Instant::now();
            while world.server.stderr().matches("0 added, 1 changed").count() < times {
                assert!(started.elapsed() < DEADLINE, "the change is not applied");
                thread::yield_now();
            }
        };
        sent(&old_sent, 20);
        let both = json!({"app_id": ONE.id, "key": ONE.key, "secrets": [NEW.secret, ONE.secret]});
        change(&both, 1);
        sent(&old_sent, 20);
        uses_new.store(true, Ordering::SeqCst);
        sent(&new_sent, 20);
        change(&entry(&NEW), 2);
        sent(&new_sent, 20);
        is_over.store(true, Ordering::SeqCst);
        publisher.join().unwrap()
    });
    assert_eq!(world.publish(&ONE, "x"), 401);
    for n in 0..published {
        assert_eq!(client.event()["data"], n.to_string());
    }
    client.nothing();
    world.logs("0 added, 1 changed");
}

#[test]
fn a_start_leaves_a_bad_file_out_and_fails_without_any_app() {
    let folder = Folder::new();
    let message = folder.refused();
    assert!(message.contains("no app for 0.0.0.0") || message.contains("no app for 127.0.0.1"));
    assert!(message.contains("(REVERB_APPS_DIR) has no app either"), "{message}");
    folder.put("bad.json", "{");
    let message = folder.refused();
    assert!(message.contains("has no app either: bad.json:1:1: EOF"), "{message}");
    folder.put("one.json", entry(&ONE));
    let mut world = World::start(folder);
    assert!(world.server.announced().contains("for 1 app,"), "{}", world.server.announced());
    world.logs("ERROR");
    world.logs("bad.json:1:1: EOF while parsing an object; none of its apps is served");
    world.folder.put("bad.json", entry(&TWO));
    world.scan("apps_dir: 1 added, 0 changed, 0 removed; 2 in all");
    world.connect(&TWO).nothing();

    let missing = world.folder.path("missing");
    fs::rename(&world.folder.0, world.folder.0.with_extension("moved")).unwrap();
    assert!(!missing.exists());
    world.scan("apps_dir: cannot be listed: ");
    world.connect(&TWO).nothing();
    fs::rename(world.folder.0.with_extension("moved"), &world.folder.0).unwrap();
    world.scan("the folder of apps is read again");
}

#[test]
fn apps_of_the_configuration_win_and_may_move_to_the_folder() {
    let folder = folder_of(&[("own.json", &[&APP]), ("one.json", &[&ONE])]);
    let own = folder.0.join("env");
    let variables = format!(
        "REVERB_APP_ID={}\nREVERB_APP_KEY={}\nREVERB_APP_SECRET={}\n",
        APP.id, APP.key, APP.secret
    );
    fs::write(&own, &variables).unwrap();
    let server = folder.setup().arg("--env").arg(own.to_str().unwrap()).start();
    let mut world = World { server, folder, seen: 0, metrics: None };
    world.logs(r#"own.json: app_id: "app-id" is the same as in the configuration of the server"#);
    let mut client = Client::connect(&world.server);
    fs::write(&own, "").unwrap();
    world.scan("own.json: is good again");
    client.nothing();
    world.server.publish("news", "e", "1");
    world.folder.remove("own.json");
    world.scan("apps_dir: 0 added, 0 changed, 1 removed; 1 in all");
    removed(&mut client);
    // The app is one of the configuration again.
    fs::write(&own, &variables).unwrap();
    world.scan("reload: applied the configuration, for 2 apps");
    Client::connect(&world.server).nothing();
    world.connect(&ONE).nothing();
}

#[test]
fn a_reload_in_place_keeps_the_apps_of_a_file_that_is_bad() {
    let folder = folder_of(&[("one.json", &[&ONE]), ("two.json", &[&TWO])]);
    let mut world = World::start(folder);
    let mut client = world.connect(&ONE);
    client.subscribe("news");
    world.folder.put("one.json", "{");
    world.scan("/one.json:1:1: EOF");
    reload(&world.server);
    world.logs("took over 1 connection");
    assert_eq!(world.publish(&ONE, "1"), 200);
    assert_eq!(client.event()["data"], "1");
    // Also a second time, and without any other app.
    world.folder.remove("two.json");
    world.scan("0 added, 0 changed, 1 removed; 1 in all");
    reload(&world.server);
    assert_eq!(world.publish(&ONE, "2"), 200);
    assert_eq!(client.event()["data"], "2");
    world.connect(&ONE).nothing();
    world.folder.put("one.json", json!([entry(&ONE), entry(&TWO)]));
    world.scan("1 added, 0 changed, 0 removed; 2 in all");
    client.nothing();
    world.folder.remove("one.json");
    world.scan("0 added, 0 changed, 2 removed; 0 in all");
    removed(&mut client);
    reload(&world.server);
    world.is_unknown(&ONE);
}

#[test]
fn the_metrics_have_the_numbers_of_apps_and_of_bad_files() {
    let folder = folder_of(&[("one.json", &[&ONE]), ("two.json", &[&TWO, &ONE])]);
    let mut world = World::start(folder);
    world.has_metrics(1, 1);
    world.folder.put("two.json", entry(&TWO));
    world.scan("apps_dir: 1 added, 0 changed, 0 removed; 2 in all");
    world.has_metrics(2, 0);
}

#[test]
fn many_changes_free_the_places_of_removed_apps() {
    let mut world = World::start(folder_of(&[("one.json", &[&ONE])]));
    let mut client = world.connect(&ONE);
    client.subscribe("news");
    let apps = |round: usize| -> Value {
        let app = |n| json!({"app_id": format!("{round}-{n}"), "key": format!("{round}-{n}"), "secret": "s"});
        (0..600).map(app).collect()
    };
    world.folder.put("many.json", apps(0));
    world.scan("apps_dir: 600 added, 0 changed, 0 removed; 601 in all");
    for round in 1..6 {
        world.folder.put("many.json", apps(round));
        world.scan("apps_dir: 600 added, 0 changed, 600 removed; 601 in all");
    }
    assert_eq!(world.publish(&ONE, "1"), 200);
    assert_eq!(client.event()["data"], "1");
    world.connect(&App { id: "5-7", key: "5-7", secret: "s" }).nothing();
    world.is_unknown(&App { id: "4-7", key: "4-7", secret: "s" });
    // The metrics have a line for each place; 3,601 places were used.
    let places = world.metrics().matches("\nreverb_connections{").count();
    assert!(places < 2_500, "{places}");
}

#[test]
fn check_reports_the_folder_and_its_bad_files() {
    let folder = folder_of(&[("one.json", &[&ONE, &TWO]), ("two.json", &[&TWO])]);
    let world = World::start(folder);
    let port = world.server.address().port().to_string();
    let mut command = world.server.command();
    command.env("REVERB_APPS_DIR", &world.folder.0);
    let output = command.args(["check", "--host", "127.0.0.1", "--port", &port]).output().unwrap();
    let (out, folder) = (String::from_utf8(output.stdout).unwrap(), world.folder.0.display());
    let lines = [
        format!("ok     {folder}: 2 files with 2 apps\n"),
        format!(
            "WRONG  {folder}/two.json: app_id: \"two\" is the same as in one.json; none of its apps \
             is served\n"
        ),
        format!("ok     127.0.0.1:{port} answers, and accepts the 2 apps configured\n"),
    ];
    lines.iter().for_each(|line| assert!(out.contains(line), "{line}{out}"));
    assert_eq!(output.status.code(), Some(1));
}

#[cfg(feature = "webhooks")]
#[test]
fn an_app_that_was_added_has_webhooks() {
    use crate::webhooks::receiver::Receiver;
    let receiver = Receiver::start();
    let mut world = World::start(folder_of(&[("one.json", &[&ONE])]));
    let mut with_hook = entry(&TWO);
    let hook = |path: &str| json!([{"url": receiver.url(path), "events": ["channel_occupied"], "batch_ms": 1}]);
    with_hook["webhooks"] = hook("/first");
    world.folder.put("two.json", &with_hook);
    world.scan("apps_dir: 1 added, 0 changed, 0 removed; 2 in all");
    let mut client = world.connect(&TWO);
    client.subscribe("news");
    let request = receiver.request();
    assert_eq!(request.path, "/first");
    assert_eq!(request.events()[0]["channel"], "news");
    with_hook["webhooks"] = hook("/second");
    world.folder.put("two.json", &with_hook);
    world.scan("apps_dir: 0 added, 1 changed, 0 removed; 2 in all");
    client.subscribe("more");
    let request = receiver.request();
    assert_eq!(
        (&*request.path, request.events()[0]["channel"].clone()),
        ("/second", json!("more"))
    );
}
