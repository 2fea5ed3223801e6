//! The console without a browser: the session, and the file with its token; what its requests
//! return is in `requests`. `tests/clients/console.test.mjs` has the page.

mod apps;
mod requests;

use crate::reload::reload;
use crate::support::{APP, Http, Response, Server, Setup};
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
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
    let page = console.send_with("GET", "/", "Accept-Encoding: deflate, gzip;q=0.5\r\n", "");
    assert_eq!((page.status, page.header("Content-Encoding")), (200, Some("gzip")));
    assert!(page.header("Content-Security-Policy").unwrap().starts_with("default-src 'none'"));
    let mut text = String::new();
    GzDecoder::new(&page.body[..]).read_to_string(&mut text).unwrap();
    assert!(text.ends_with("</html>\n") && text.len() < 100_000, "{} bytes", text.len());
    assert!(!text.contains(&console.token) && !text.contains(APP.secret));
    for headers in ["", "Accept-Encoding: br\r\n", "Accept-Encoding: gzip;q=0, br\r\n"] {
        let response = console.send_with("GET", "/", headers, "");
        assert!(response.is_error(406).contains("curl --compressed"), "{headers}");
    }
    // The port serves nothing else, and the port of the clients does not serve the console.
    for path in ["/apps/app-id/channels", "/metrics", "/app/app-key", "/up"] {
        console.send("GET", path, &json!({})).is_error(404);
    }
    console.server.request("GET /api/overview HTTP/1.1\r\nHost: x\r\n\r\n").is_error(404);
}

#[test]
fn a_long_body_needs_a_session() {
    let console = Console::start(Setup::new());
    let origin = format!("Origin: http://{}\r\n", console.address);
    let requests =
        [("GET", "/", 413), ("POST", "/api/login", 413), ("POST", "/api/publish?app=app-id", 401)];
    for (method, path, status) in requests {
        // The body does not arrive: the response does not wait for it.
        let mut http = Http::connect_to(console.address);
        let at = console.address;
        http.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: {at}\r\n{origin}Content-Length: 100000\r\n\r\n"
        ));
        assert_eq!(http.response().status, status, "{path}");
    }
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
    use std::io::Write;
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
fn a_reload_without_the_console_removes_its_file() {
    let config = |console: Value| {
        let app = json!({"app_id": APP.id, "key": APP.key, "secret": APP.secret});
        json!({"servers": {"reverb": {"console": console}}, "apps": {"apps": [app]}})
    };
    let mut server = with_folder(Setup::bare().config(config(json!("0")))).start();
    let line = server.line();
    let address: SocketAddr =
        line.trim_start_matches("console at http://").split('/').next().unwrap().parse().unwrap();
    let file = runtime_folder().join(format!("reverb/console-{}", server.pid()));
    assert!(file.exists());
    let json = config(Value::Null).to_string();
    fs::write(server.directory().join("reverb.json"), json).unwrap();
    reload(&server);
    assert!(!file.exists());
    assert!(TcpStream::connect(address).is_err(), "the address is closed");
}

#[test]
fn a_server_without_a_console_says_so() {
    let server = Server::start();
    let output = run_console(&server);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("has no console: start it with --console"), "{error}");
}
