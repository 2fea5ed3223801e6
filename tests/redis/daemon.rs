//! A real redis-server as a child process: it starts in an empty folder, keeps its port over
//! restarts, and is killed with the test. `REDIS_SERVER_BIN` overrides the program from the path.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::channel;
use std::{env, fs, process, thread};

use super::resp::{Reply, Session};
use crate::support::DEADLINE;

/// A running redis-server, unless it was killed.
pub struct Redis {
    child: Mutex<Child>,
    folder: PathBuf,
    port: u16,
    args: Vec<String>,
    /// The password that [`Redis::session`] logs in with, if any.
    password: Mutex<String>,
}

impl Redis {
    /// A server on a loopback port, without a password.
    #[track_caller]
    pub fn start() -> Self {
        Redis::with(&[])
    }

    /// The same with more arguments, in which `{folder}` is its folder and `{port}` its port.
    #[track_caller]
    pub fn with(args: &[&str]) -> Self {
        Redis::start_with(args, None)
    }

    /// A sentinel with this configuration, which it changes itself.
    #[track_caller]
    pub fn sentinel(config: &str) -> Self {
        Redis::start_with(&["--sentinel"], Some(config))
    }

    #[track_caller]
    fn start_with(args: &[&str], config: Option<&str>) -> Self {
        loop {
            let port = next_port();
            let folder = env::temp_dir().join(format!("reverb-redis-{}-{port}", process::id()));
            fs::create_dir_all(&folder).unwrap();
            if let Some(config) = config {
                fs::write(folder.join(CONFIG), config).unwrap();
            }
            let place = |arg: &&str| {
                let arg = arg.replace("{folder}", folder.to_str().unwrap());
                arg.replace("{port}", &port.to_string())
            };
            let args: Vec<String> = args.iter().map(place).collect();
            match spawn(&folder, port, &args) {
                Ok(child) => return Redis::of(child, folder, port, args),
                Err(output) if output.contains("Address already in use") => {
                    let _ = fs::remove_dir_all(&folder);
                }
                Err(output) => panic!("redis-server did not start:\n{output}"),
            }
        }
    }

    /// A server that requires this password.
    #[track_caller]
    pub fn with_password(password: &str) -> Self {
        let redis = Redis::with(&["--requirepass", password]);
        redis.log_in_with(password);
        redis
    }

    fn of(child: Child, folder: PathBuf, port: u16, args: Vec<String>) -> Self {
        Redis { child: Mutex::new(child), folder, port, args, password: Mutex::default() }
    }

    /// Changes the password that new sessions log in with.
    pub fn log_in_with(&self, password: &str) {
        *self.password.lock().unwrap() = password.to_owned();
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A new connection.
    #[track_caller]
    pub fn session(&self) -> Session {
        let mut session = Session::tcp(self.port);
        let password = self.password.lock().unwrap();
        if !password.is_empty() {
            session.call(&["AUTH", &password]);
        }
        session
    }

    /// Sends one command on a new connection.
    #[track_caller]
    pub fn call(&self, parts: &[&str]) -> Reply {
        self.session().call(parts)
    }

    /// The number of connections that are subscribed to a channel.
    #[track_caller]
    pub fn subscribers(&self, channel: &str) -> i64 {
        match self.call(&["PUBSUB", "NUMSUB", channel]) {
            Reply::List(parts) => parts[1].number(),
            other => panic!("{other:?}"),
        }
    }

    /// Whether a section of INFO, or the description of its cluster, has this line.
    #[track_caller]
    pub fn has_info(&self, section: &str, line: &str) -> bool {
        let info = match section {
            "cluster" => self.call(&["CLUSTER", "INFO"]),
            section => self.call(&["INFO", section]),
        };
        info.text().lines().any(|one| one.trim() == line)
    }

    /// The number of connections accepted since the start.
    #[track_caller]
    pub fn accepted_connections(&self) -> u64 {
        let info = self.call(&["INFO", "stats"]);
        let name = "total_connections_received:";
        let line = info.text().lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().parse().unwrap()
    }

    /// Kills the server with SIGKILL.
    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Restarts the server without its data.
    #[track_caller]
    pub fn restart(&self) {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        self.restart_with(&args);
    }

    /// The same with other arguments.
    #[track_caller]
    pub fn restart_with(&self, args: &[&str]) {
        self.kill();
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        *self.child.lock().unwrap() = spawn(&self.folder, self.port, &args)
            .unwrap_or_else(|output| panic!("redis-server did not restart:\n{output}"));
    }

    /// Whether the process runs: it was not killed, or was restarted.
    pub fn is_running(&self) -> bool {
        self.child.lock().unwrap().try_wait().unwrap().is_none()
    }

    /// Suspends the process, with its connections open, until [`Redis::go_on`].
    pub fn stand_still(&self) {
        self.signal("STOP");
    }

    pub fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        if !self.is_running() {
            return;
        }
        let pid = self.child.lock().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A port below the range that the system assigns by itself, so that it is free after a restart.
pub fn next_port() -> u16 {
    static COUNT: AtomicU16 = AtomicU16::new(0);
    let begin = (process::id() as u16).wrapping_mul(61);
    10_000 + begin.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed)) % 10_000
}

/// The configuration file of a sentinel.
const CONFIG: &str = "sentinel.conf";

/// Starts redis-server and waits until it listens. An error holds its output.
fn spawn(folder: &Path, port: u16, args: &[String]) -> Result<Child, String> {
    let binary = env::var("REDIS_SERVER_BIN").unwrap_or("redis-server".into());
    // A configuration file must be the first argument.
    let config = folder.join(CONFIG);
    let mut child = Command::new(binary)
        .args(config.exists().then_some(config))
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no"])
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("redis-server is installed");
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (sender, receiver) = channel();
    // Reads on after the receiver is dropped: a full pipe would block redis-server.
    thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let mut output = String::new();
    while let Ok(line) = receiver.recv_timeout(DEADLINE) {
        // A sentinel is ready when it monitors the first master.
        if line.contains("eady to accept connections") || line.contains("+monitor master") {
            return Ok(child);
        }
        output += &line;
        output += "\n";
    }
    let _ = child.kill();
    let _ = child.wait();
    Err(output)
}
