//! The console without a browser: who may use it, the file with its token, and what its requests
//! return. `tests/clients/console.test.mjs` has the page.

use crate::reload::reload;
use crate::support::{APP, App, Client, Http, Response, Server, Setup, channel_auth, until};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Output;

/// A server with a console, whose files are in its own folder.
struct Console {
    server: Server,
    address: SocketAddr,
    token: String,
    cookie: String,
}

impl Console {
    fn start(setup: Setup) -> Self {
        let mut server = with_folder(setup).arg("--console=0").start();
        let line = server.line();
        let address = line.trim_start_matches("console at http://").split('/').next().unwrap();
        let address: SocketAddr = address.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(address.ip().is_loopback(), "a port alone is on loopback: {address}");
        let (url, token) = printed(&server);
        assert_eq!(url, format!("http://{address}/"));
        let mut console = Console { server, address, token, cookie: String::new() };
        console.log_in();
        console
    }

    fn log_in(&mut self) {
        let response = self.send("POST", "/api/login", &json!({ "token": self.token }));
        response.is(200, json!({}));
        let set = response.header("Set-Cookie").unwrap();
        assert!(set.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{set}");
        self.cookie = set.split(';').next().unwrap().to_owned();
    }

    /// A request as the page sends it.
    fn send(&self, method: &str, path: &str, body: &Value) -> Response {
        let origin = format!("Origin: http://{}\r\nCookie: {}\r\n", self.address, self.cookie);
        self.send_with(method, path, &origin, &body.to_string())
    }

    fn send_with(&self, method: &str, path: &str, headers: &str, body: &str) -> Response {
        let (at, length) = (self.address, body.len());
        let mut http = Http::connect_to(at);
        http.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: {at}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        ));
        http.response()
    }

    fn get(&self, path: &str) -> Value {
        let response = self.send("GET", path, &json!({}));
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        response.json()
    }

    /// The file with the token.
    fn file(&self) -> PathBuf {
        runtime_folder().join(format!("reverb/console-{}", self.server.pid()))
    }
}

/// The folder for files of a running server, in place of that of the user.
fn runtime_folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("reverb-run-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn with_folder(setup: Setup) -> Setup {
    setup.env("XDG_RUNTIME_DIR", runtime_folder().display())
}

fn run_console(server: &Server) -> Output {
    let port = server.address().port().to_string();
    server.command().args(["console", "--host", "127.0.0.1", "--port", &port]).output().unwrap()
}

/// What `reverb console` prints: the URL and the token.
#[track_caller]
fn printed(server: &Server) -> (String, String) {
    let output = run_console(server);
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines();
    let url = lines.next().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let token = lines.next().unwrap().strip_prefix("token: ").unwrap();
    (url.to_owned(), token.to_owned())
}

#[test]
fn the_token_is_in_one_file_that_only_the_user_can_read() {
    let console = Console::start(Setup::new());
    let file = console.file();
    let about = fs::metadata(&file).unwrap();
    assert_eq!(about.mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(file.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(&console.token));
    assert!(console.token.len() >= 32, "{}", console.token);
    assert!(!console.cookie.contains(&console.token));
    let announced = console.server.announced().to_owned();
    let mut server = console.server;
    server.signal("TERM");
    server.wait();
    assert!(!file.exists(), "a stop removes the file");
    let log = server.stderr();
    assert!(!log.contains(&console.token) && !announced.contains(&console.token), "{log}");
}

#[test]
fn a_configured_token_opens_the_console() {
    let token = "a-token-of-my-own-0123456789";
    let console = Console::start(Setup::new().env("REVERB_CONSOLE_TOKEN", token));
    assert_eq!(console.token, token);
}

#[test]
fn nothing_but_the_page_is_served_without_a_session() {
    let console = Console::start(Setup::new());
    for (method, path) in [
        ("GET", "/api/overview"),
        ("GET", "/api/channels?app=app-id"),
        ("GET", "/api/channel?app=app-id&name=c"),
        ("GET", "/api/feed"),
        ("POST", "/api/publish?app=app-id"),
        ("POST", "/api/kick?app=app-id"),
        ("POST", "/api/signature?app=app-id"),
        ("POST", "/api/logout"),
    ] {
        let origin = format!("Origin: http://{}\r\n", console.address);
        let response = console.send_with(method, path, &origin, "{}");
        assert_eq!(response.status, 401, "{path}: {}", response.text());
    }
    let page = console.send_with("GET", "/", "", "");
    assert_eq!(page.status, 200);
    assert!(page.text().len() < 100_000, "{} bytes", page.text().len());
    assert!(page.header("Content-Security-Policy").unwrap().starts_with("default-src 'none'"));
    assert!(!page.text().contains(&console.token) && !page.text().contains(APP.secret));
    // The port serves nothing else, and the port of the clients does not serve the console.
    for path in ["/apps/app-id/channels", "/metrics", "/app/app-key", "/up"] {
        console.send("GET", path, &json!({})).is_error(404);
    }
    console.server.request("GET /api/overview HTTP/1.1\r\nHost: x\r\n\r\n").is_error(404);
}

#[test]
fn other_origins_and_rebound_names_are_rejected() {
    let console = Console::start(Setup::new());
    let cookie = format!("Cookie: {}\r\n", console.cookie);
    for headers in [
        "Origin: http://evil.example\r\n",
        "Origin: http://localhost:1\r\n",
        "Origin: null\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
    ] {
        let response = console.send_with("GET", "/api/overview", &format!("{cookie}{headers}"), "");
        assert_eq!(response.status, 403, "{headers}");
    }
    let body = json!({ "token": console.token }).to_string();
    let response = console.send_with("POST", "/api/login", "", &body);
    assert_eq!(response.status, 403, "a POST without an Origin");
    let mut http = Http::connect_to(console.address);
    http.send(format!("GET /api/overview HTTP/1.1\r\nHost: evil.example\r\n{cookie}\r\n"));
    assert!(http.response().is_error(403).contains("host name"));
}

#[test]
fn wrong_tokens_are_slowed() {
    let console = Console::start(Setup::new());
    let origin = format!("Origin: http://{}\r\n", console.address);
    let wrong = json!({ "token": "0".repeat(32) }).to_string();
    // The pauses are 0.25, 0.5, 1 … seconds: a few attempts suffice on any machine.
    let statuses: Vec<u16> =
        (0..20).map(|_| console.send_with("POST", "/api/login", &origin, &wrong).status).collect();
    assert_eq!(statuses[0], 401);
    assert!(statuses.contains(&429), "{statuses:?}");
    assert!(statuses.iter().filter(|status| **status == 401).count() < 8, "{statuses:?}");
    // The session that is open goes on.
    console.get("/api/overview");
}

#[test]
fn an_address_of_other_machines_needs_to_be_allowed() {
    let server = Server::start();
    let run = |address: &str, anywhere: &str| {
        let mut command = server.command();
        command.args(["start", "--port", "0", "--console", address]);
        command.env("REVERB_CONSOLE_ANYWHERE", anywhere).output().unwrap()
    };
    for address in ["0.0.0.0:0", "[::]:0"] {
        let output = run(address, "false");
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains("REVERB_CONSOLE_ANYWHERE=true"), "{error}");
    }
    let output = run("localhost:1", "false");
    assert_eq!(output.status.code(), Some(2));
    let mut command = server.command();
    command.args(["start", "--port", "0", "--console=0"]).env("REVERB_CONSOLE_TOKEN", "short");
    let error = String::from_utf8(command.output().unwrap().stderr).unwrap();
    assert!(error.contains("REVERB_CONSOLE_TOKEN") && !error.contains("\"short\""), "{error}");
    let setup = Setup::new().env("REVERB_CONSOLE_ANYWHERE", "true");
    let mut server = with_folder(setup).arg("--console=0.0.0.0:0").start();
    assert!(server.line().starts_with("console at http://0.0.0.0:"));
}

#[test]
fn the_console_listens_on_a_unix_socket() {
    let path = runtime_folder().join("console.sock");
    let setup = with_folder(Setup::new()).arg("--console").arg(path.to_str().unwrap());
    let mut server = setup.start();
    assert!(server.line().contains(&format!("unix:{}", path.display())));
    assert!(fs::metadata(&path).unwrap().file_type().is_socket());
    let (url, token) = printed(&server);
    assert_eq!(url, format!("unix:{}", path.display()));
    let body = json!({ "token": token }).to_string();
    let request = format!(
        "POST /api/login HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    assert!(exchange(&path, &request).starts_with("HTTP/1.1 200 OK\r\n"));
    reload(&server);
    assert_eq!(printed(&server), (url, token));
    assert!(exchange(&path, &request).starts_with("HTTP/1.1 200 OK\r\n"));
    server.signal("TERM");
    server.wait();
    assert!(!path.exists(), "a stop removes the socket");
}

fn exchange(path: &Path, request: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_reload_keeps_the_token_and_the_session() {
    let console = Console::start(Setup::new());
    let before = printed(&console.server);
    reload(&console.server);
    assert_eq!(printed(&console.server), before);
    console.get("/api/overview");
    assert!(console.file().exists());
}

#[test]
fn a_server_without_a_console_says_so() {
    let server = Server::start();
    let output = run_console(&server);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("has no console: start it with --console"), "{error}");
}

#[test]
fn the_overview_has_samples_and_the_present_state() {
    let console = Console::start(Setup::new().env("REVERB_LIMIT_CHANNELS_PER_CONNECTION", 1));
    let mut client = Client::connect(&console.server);
    client.subscribe("a");
    client.send(json!({"event": "pusher:subscribe", "data": {"channel": "b"}}));
    client.event();
    let mut overview = Value::Null;
    until("a sample has the client", || {
        overview = console.get("/api/overview");
        let last = overview["samples"].as_array().unwrap().last().cloned();
        last.is_some_and(|last| last[1] == json!(1))
    });
    let column = |name: &str| {
        let columns = overview["columns"].as_array().unwrap();
        let at = columns.iter().position(|column| column == name).unwrap();
        overview["samples"].as_array().unwrap().last().unwrap()[at].as_u64().unwrap()
    };
    assert_eq!((column("clients"), column("channels")), (1, 1));
    assert!(column("memory_bytes") > 1_000_000);
    assert_eq!(overview["apps"][0]["id"], json!("app-id"));
    assert_eq!(overview["nodes"], Value::Null);
    assert_eq!(overview["limits"][0]["setting"], json!("limits.channels_per_connection"));
    let last = column("time_s");
    let later = console.get(&format!("/api/overview?since={last}"));
    assert!(later["samples"].as_array().unwrap().len() < 3, "{}", later["samples"]);
    let text = overview.to_string();
    assert!(!text.contains(APP.secret) && !text.contains(&console.token));
}

#[test]
fn channels_are_listed_in_pages() {
    let console = Console::start(Setup::new().env("REVERB_LIMIT_CHANNELS_PER_CONNECTION", 1_000));
    let (mut one, mut two) = (Client::connect(&console.server), Client::connect(&console.server));
    for n in 0..250 {
        one.subscribe(&format!("room-{n:03}"));
    }
    two.subscribe("room-007");
    two.subscribe("Other");
    let page = |query: &str| console.get(&format!("/api/channels?app=app-id&{query}"));
    let names = |page: &Value| -> Vec<String> {
        let channels = page["channels"].as_array().unwrap().iter();
        channels.map(|channel| channel["name"].as_str().unwrap().to_owned()).collect()
    };
    let first = page("sort=subscribers&order=desc");
    assert_eq!((&first["found"], &first["more"]), (&json!(251), &json!(true)));
    assert_eq!(names(&first)[..3], ["room-007", "Other", "room-000"]);
    // The pages together have each channel once.
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let next = page(&format!("sort=name&search=ROOM{after}"));
        all.extend(names(&next));
        if next["more"] == json!(false) {
            break;
        }
        after = format!("&after={}&after_count=0", all.last().unwrap());
    }
    let expected: Vec<String> = (0..250).map(|n| format!("room-{n:03}")).collect();
    assert_eq!(all, expected);
    console.send("GET", "/api/channels?app=none", &json!({})).is_error(404);
    let wrong = console.send("GET", "/api/channels?app=app-id&sort=x", &json!({}));
    assert!(wrong.is_error(400).contains("sort"));
}

#[test]
fn a_channel_has_its_clients_members_and_cached_event() {
    let console = Console::start(Setup::new());
    let target = "/app/app-key?protocol=7";
    let origin = "Origin: https://app.example\r\n";
    let mut client = Client::open(&console.server, target, origin);
    let data = client.event()["data"].as_str().unwrap().to_owned();
    let data: Value = serde_json::from_str(&data).unwrap();
    client.socket_id = data["socket_id"].as_str().unwrap().to_owned();
    client.join("presence-cache-room", "7");
    console.server.publish("presence-cache-room", "price", "5");
    let channel = console.get("/api/channel?app=app-id&name=presence-cache-room");
    assert_eq!(channel["members"], json!(["7"]));
    assert!(channel["cached"]["text"].as_str().unwrap().contains("price"));
    let one = &channel["clients"][0];
    assert_eq!(one["socket_id"], json!(client.socket_id));
    assert_eq!(one["origin"], json!("https://app.example"));
    assert_eq!((&one["user_id"], &one["address"]), (&json!("7"), &json!("127.0.0.1")));
    assert_eq!(one["waiting_bytes"], json!(0));
    console.send("GET", "/api/channel?app=app-id&name=none", &json!({})).is_error(404);
}

#[test]
fn writing_needs_the_setting() {
    let console = Console::start(Setup::new());
    for path in ["/api/publish?app=app-id", "/api/kick?app=app-id"] {
        let response =
            console.send("POST", path, &json!({ "name": "e", "channel": "c", "data": "" }));
        assert!(response.is_error(403).contains("REVERB_CONSOLE_WRITE"));
    }
    let console = Console::start(Setup::new().env("REVERB_CONSOLE_WRITE", "true"));
    let mut client = Client::connect(&console.server);
    client.subscribe("c");
    let event = json!({ "name": "e", "channel": "c", "data": "x" });
    console.send("POST", "/api/publish?app=app-id", &event).is(200, json!({}));
    client.expect(json!({ "event": "e", "channel": "c", "data": "x" }));
    let kicked = json!({ "socket_id": client.socket_id });
    console.send("POST", "/api/kick?app=app-id", &kicked).is(200, json!({}));
    client.error(4009, "Connection terminated by the application");
    client.closed(4009);
    console.send("POST", "/api/kick?app=app-id", &json!({})).is_error(422);
}

#[test]
fn the_feed_of_the_console_has_the_lines_of_all_apps() {
    let other = App { id: "other", key: "other-key", secret: "other-secret" };
    let console = Console::start(Setup::new().apps(&[(&APP, json!({})), (&other, json!({}))]));
    let mut http = Http::connect_to(console.address);
    let request = |query: &str| {
        format!(
            "GET /api/feed?{query} HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n\r\n",
            console.address, console.cookie
        )
    };
    http.send(request("kinds=api"));
    let mut lines = Lines { http, rest: String::new() };
    assert_eq!(lines.http.head().status, 200);
    assert_eq!(lines.next()["app"], Value::Null);
    for app in [&APP, &other] {
        let body = json!({ "name": "e", "channel": "c", "data": "x" }).to_string();
        let path = format!("/apps/{}/events", app.id);
        console.server.post_as(app, &path, &body).is(200, json!({}));
        let line = lines.next();
        assert_eq!((&line["kind"], &line["app"]), (&json!("api_event"), &json!(app.id)));
    }
    let mut http = Http::connect_to(console.address);
    http.send(request("app=other"));
    let mut only = Lines { http, rest: String::new() };
    assert_eq!(only.http.head().status, 200);
    only.next();
    console.server.publish("c", "e", "x");
    let body = json!({ "name": "last", "channel": "c", "data": "x" }).to_string();
    console.server.post_as(&other, "/apps/other/events", &body).is(200, json!({}));
    assert_eq!(only.next()["event"], json!("last"));
}

/// The lines of a feed.
struct Lines {
    http: Http,
    rest: String,
}

impl Lines {
    fn next(&mut self) -> Value {
        while !self.rest.contains('\n') {
            let chunk = self.http.chunk().expect("the feed goes on");
            self.rest.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        let (line, rest) = self.rest.split_once('\n').unwrap();
        let line = serde_json::from_str(line).unwrap();
        self.rest = rest.to_owned();
        line
    }
}

#[test]
fn a_signature_is_checked_part_by_part() {
    let console = Console::start(Setup::new());
    let check = |auth: &str, channel: &str, data: &str| {
        let body = json!({ "auth": auth, "socket_id": "1.2", "channel": channel, "data": data });
        let response = console.send("POST", "/api/signature?app=app-id", &body);
        assert_eq!(response.status, 200, "{}", response.text());
        assert!(!response.text().contains(APP.secret));
        let verdict = response.json();
        let parts = verdict["parts"].as_array().unwrap().iter();
        let wrong = parts.filter(|part| part["right"] == json!(false));
        let wrong: Vec<String> = wrong.map(|part| part["name"].as_str().unwrap().into()).collect();
        assert_eq!(verdict["right"], json!(wrong.is_empty()));
        wrong
    };
    let right = channel_auth(&APP, "1.2", "private-a", "");
    assert!(check(&right, "private-a", "").is_empty());
    assert_eq!(check(&right, "private-b", ""), ["signature"]);
    assert_eq!(check(&right.replace("app-key", "x"), "private-a", ""), ["key"]);
    assert_eq!(check("nothing", "private-a", ""), ["auth"]);
    assert_eq!(check(&right, "private-a", "{}"), ["signature"]);
    assert_eq!(check(&right, "a", ""), ["channel", "signature"]);
    // The response to a wrong signature does not contain the right one.
    let body = json!({ "auth": "app-key:00", "socket_id": "1.2", "channel": "private-a" });
    let text = console.send("POST", "/api/signature?app=app-id", &body).text().to_owned();
    let (_, signature) = right.split_once(':').unwrap();
    assert!(text.contains("1.2:private-a") && !text.contains(signature), "{text}");
}
