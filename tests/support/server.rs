//! The server as a child process: it starts in an empty directory with an empty environment on a
//! free port, and ends with the test.

use super::{DEADLINE, Http, Response, signed};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;
use std::{env, fs, process, thread};

/// The binary under test: the one that `cargo test` has built, or the one that REVERB_BIN names, such as
/// the static binary for download.
pub fn binary() -> &'static str {
    static BINARY: OnceLock<String> = OnceLock::new();
    BINARY.get_or_init(|| {
        env::var("REVERB_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_reverb").to_owned())
    })
}

/// The credentials of an application.
pub struct App {
    pub id: &'static str,
    pub key: &'static str,
    pub secret: &'static str,
}

/// The application of a [`Setup::new`].
pub const APP: App = App { id: "app-id", key: "app-key", secret: "app-secret" };

/// The options with which a server starts.
pub struct Setup {
    env: Vec<(String, String)>,
    args: Vec<String>,
    host: &'static str,
    config: Option<Value>,
    ulimits: String,
    log: Log,
    program: PathBuf,
}

/// The destination of the server's standard error.
enum Log {
    /// A pipe that the test reads, for [`Server::stderr`].
    Read,
    /// A pipe that the test does not read.
    Unread,
    /// This file.
    File(&'static str),
}

impl Setup {
    /// One application, [`APP`], with every setting at its default.
    pub fn new() -> Self {
        Setup::bare()
            .env("REVERB_APP_ID", APP.id)
            .env("REVERB_APP_KEY", APP.key)
            .env("REVERB_APP_SECRET", APP.secret)
    }

    /// No application and no settings.
    pub fn bare() -> Self {
        Setup {
            env: Vec::new(),
            args: Vec::new(),
            host: "127.0.0.1",
            config: None,
            ulimits: String::new(),
            log: Log::Read,
            program: binary().into(),
        }
    }

    pub fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.env.push((name.to_owned(), value.to_string()));
        self
    }

    /// The addresses to listen on; one of IPv4 must be the first.
    pub fn host(mut self, host: &'static str) -> Self {
        self.host = host;
        self
    }

    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// The test does not read the server's log.
    pub fn unread_log(mut self) -> Self {
        self.log = Log::Unread;
        self
    }

    /// The server logs to this file.
    pub fn log_to(mut self, file: &'static str) -> Self {
        self.log = Log::File(file);
        self
    }

    /// Another path of the binary.
    pub fn program(mut self, program: &Path) -> Self {
        self.program = program.to_owned();
        self
    }

    /// The `reverb.json` in the server's directory.
    pub fn config(mut self, config: Value) -> Self {
        self.config = Some(config);
        self
    }

    /// How many files and sockets the server may have open.
    pub fn descriptors(mut self, most: u32) -> Self {
        self.ulimits.push_str(&format!("ulimit -n {most}; "));
        self
    }

    /// How many kilobytes of address space the server may have: more cannot be allocated.
    pub fn memory_kb(mut self, most: u32) -> Self {
        self.ulimits.push_str(&format!("ulimit -v {most}; "));
        self
    }

    /// A `reverb.json` of these applications, with further settings of each.
    pub fn apps(self, apps: &[(&App, Value)]) -> Self {
        let apps: Vec<Value> = apps
            .iter()
            .map(|(app, settings)| {
                let mut entry = json!({"app_id": app.id, "key": app.key, "secret": app.secret});
                let entry_map = entry.as_object_mut().unwrap();
                entry_map.extend(settings.as_object().cloned().unwrap_or_default());
                entry
            })
            .collect();
        self.config(json!({"apps": {"apps": apps}}))
    }

    /// Starts the server and waits until it listens.
    #[track_caller]
    pub fn start(self) -> Server {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = env::temp_dir().join(format!("reverb-test-{}-{number}", process::id()));
        fs::create_dir_all(&directory).unwrap();
        if let Some(config) = &self.config {
            fs::write(directory.join("reverb.json"), config.to_string()).unwrap();
        }
        let mut command = limited(&self.program, &directory, &self.ulimits);
        command
            .args(["start", "--host", self.host, "--port", "0"])
            .args(&self.args)
            .envs(self.env)
            .stdin(Stdio::null());
        Server::spawn(command, directory, self.log)
    }
}

/// A running server.
pub struct Server {
    child: Child,
    address: SocketAddr,
    announced: String,
    directory: PathBuf,
    stdout: Mutex<Receiver<String>>,
    stderr: Arc<Mutex<String>>,
}

impl Server {
    #[cfg(feature = "laravel")]
    /// Runs a command that starts a server, and waits until the server listens. The directory is
    /// removed when it ends.
    #[track_caller]
    pub fn of(command: Command, directory: PathBuf) -> Self {
        Server::spawn(command, directory, Log::Read)
    }

    #[track_caller]
    fn spawn(mut command: Command, directory: PathBuf, log: Log) -> Self {
        command.stdout(Stdio::piped()).stderr(match log {
            Log::File(file) => fs::OpenOptions::new().write(true).open(file).unwrap().into(),
            Log::Read | Log::Unread => Stdio::piped(),
        });
        let mut child = command.spawn().unwrap();
        let stderr = match log {
            Log::Read => collect(child.stderr.take().unwrap()),
            // The child keeps the other end of the pipe open.
            Log::Unread | Log::File(_) => Arc::default(),
        };
        let stdout = lines(child.stdout.take().unwrap());
        let first = stdout.recv_timeout(DEADLINE).unwrap_or_default();
        let Some(address) = bound_address(&first) else {
            let _ = child.kill();
            let _ = child.wait();
            let _ = fs::remove_dir_all(&directory);
            panic!("the server did not start: {first:?}\n{}", stderr.lock().unwrap());
        };
        let stdout = Mutex::new(stdout);
        Server { child, address, announced: first, directory, stdout, stderr }
    }

    /// A server with one application, [`APP`], and every setting at its default.
    #[track_caller]
    pub fn start() -> Self {
        Setup::new().start()
    }

    /// Starts a server with these variables and [`APP`].
    #[track_caller]
    pub fn with(env: &[(&str, &str)]) -> Self {
        env.iter().fold(Setup::new(), |setup, (name, value)| setup.env(name, value)).start()
    }

    /// Another run of the binary, in the directory of this one.
    pub fn command(&self) -> Command {
        reverb(Path::new(binary()), &self.directory)
    }

    /// The next line the server has written to its standard output, after its first.
    #[track_caller]
    pub fn line(&mut self) -> String {
        self.stdout.lock().unwrap().recv_timeout(DEADLINE).unwrap()
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(status.success(), "kill -s {name} {pid}");
    }

    /// Waits for the end of the process.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        self.ended().1
    }

    /// Waits for the end of the process; also returns the unread lines of its standard output.
    #[track_caller]
    pub fn ended(&mut self) -> (Vec<String>, ExitStatus) {
        let mut lines = Vec::new();
        loop {
            match self.stdout.get_mut().unwrap().recv_timeout(DEADLINE) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("the server is still running"),
            }
        }
        let started = Instant::now();
        // The reader of standard error shares the text until the end of the pipe.
        while Arc::strong_count(&self.stderr) > 1 {
            assert!(started.elapsed() < DEADLINE, "the standard error is still open");
            thread::yield_now();
        }
        (lines, self.child.wait().unwrap())
    }

    /// One signed GET; `params` as for [`signed`].
    #[track_caller]
    pub fn get(&self, path: &str, params: &str) -> Response {
        self.get_as(&APP, path, params)
    }

    /// One signed GET of another application.
    #[track_caller]
    pub fn get_as(&self, app: &App, path: &str, params: &str) -> Response {
        let target = signed(app, "GET", path, params, b"");
        self.request(&format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }

    /// One signed POST.
    #[track_caller]
    pub fn post(&self, path: &str, body: Value) -> Response {
        self.post_as(&APP, path, &body.to_string())
    }

    /// One signed POST of another application, with a body that may be anything.
    #[track_caller]
    pub fn post_as(&self, app: &App, path: &str, body: &str) -> Response {
        let target = signed(app, "POST", path, "", body.as_bytes());
        let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n");
        self.request(&format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()))
    }

    /// Publishes one event and expects the response `{}`.
    #[track_caller]
    pub fn publish(&self, channel: &str, name: &str, data: &str) {
        let body = json!({"name": name, "channel": channel, "data": data});
        self.post("/apps/app-id/events", body).is(200, json!({}));
    }

    /// One request on a new connection.
    #[track_caller]
    pub fn request(&self, raw: &str) -> Response {
        let mut http = Http::connect(self);
        http.send(raw);
        http.response()
    }

    /// Fails unless the server still answers.
    #[track_caller]
    pub fn is_up(&self) {
        self.request("GET /up HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .is(200, json!({"health": "OK"}));
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The first line of its standard output.
    pub fn announced(&self) -> &str {
        &self.announced
    }

    /// The folder it was started in.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the server has written this text to its standard error.
    #[track_caller]
    pub fn logs(&self, text: &str) {
        let started = Instant::now();
        while !self.stderr().contains(text) {
            assert!(started.elapsed() < DEADLINE, "never logged: {text}");
            thread::yield_now();
        }
    }

    /// Kills the server, and returns everything it has written to its standard error.
    pub fn killed(mut self) -> String {
        self.signal("KILL");
        self.wait();
        self.stderr()
    }

    /// The text that the server has written to its standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
        if thread::panicking() {
            eprintln!("--- standard error of the server\n{}---", self.stderr());
        }
    }
}

/// The output of a server in this folder on a terminal, up to the line that begins with `last`.
#[track_caller]
pub fn in_terminal(directory: &Path, last: &str) -> String {
    let start = format!("exec {} start --host 127.0.0.1 --port 0", binary());
    let mut terminal = reverb(Path::new("/usr/bin/script"), directory)
        .args(["-qefc", &start, "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (lines, mut output) = (lines(terminal.stdout.take().unwrap()), String::new());
    while let Ok(line) = lines.recv_timeout(DEADLINE) {
        output += &format!("{line}\n");
        if line.starts_with(last) {
            break;
        }
    }
    // The server ends with its terminal.
    let _ = terminal.kill();
    let _ = terminal.wait();
    assert!(output.contains(&format!("\n{last}")), "{output}");
    output
}

/// The binary with an empty environment.
fn reverb(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory).env_clear();
    command
}

/// The binary with limits of the system, which only a shell can set.
fn limited(program: &Path, directory: &Path, ulimits: &str) -> Command {
    if ulimits.is_empty() {
        return reverb(program, directory);
    }
    let mut command = Command::new("/bin/sh");
    command.current_dir(directory).env_clear();
    command.args(["-c", &format!(r#"{ulimits}exec "$0" "$@""#)]);
    command.arg(program);
    command
}

/// `… listening on 127.0.0.1:41234 …`
fn bound_address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening on ")?;
    rest.split(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':')).next()?.parse().ok()
}

fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        BufReader::new(pipe).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    receiver
}

fn collect(mut pipe: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let shared = Arc::clone(&text);
    thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(length @ 1..) = pipe.read(&mut chunk) {
            shared.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..length]));
        }
    });
    text
}
