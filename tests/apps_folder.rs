//! The folder of apps: its files change while clients are connected to the real server.

mod operation;

use crate::metrics::get;
use crate::support::{App, Client, DEADLINE, Http, Server, Setup, binary};
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
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("reverb-apps-{}-{number}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file as a tool should: to another name, which is then renamed.
    pub fn put(&self, name: &str, text: impl ToString) {
        let new = self.path(&format!(".{name}.new"));
        fs::write(&new, text.to_string()).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    pub fn setup(&self) -> Setup {
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
        get(&mut Http::connect_to(address), "/metrics").text().to_owned()
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
