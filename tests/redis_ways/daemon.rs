//! A redis-server as a child process in an empty folder, and servers that use it.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use crate::support::{Client, DEADLINE, Server, Setup};

/// A running redis-server.
pub struct Redis {
    child: Child,
    folder: PathBuf,
    port: u16,
}

impl Redis {
    /// Starts a server with these arguments, in which `{folder}` is its folder and `{port}` a free
    /// port. The arguments must set the address.
    #[track_caller]
    pub fn with(arguments: &[&str]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("reverb-ways-{}-{number}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        // Another process may bind the port before Redis does.
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let place = |text: &&str| {
                text.replace("{folder}", folder.to_str().unwrap())
                    .replace("{port}", &port.to_string())
            };
            let child = Command::new("redis-server")
                .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
                .args(arguments.iter().map(place))
                .current_dir(&folder)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn();
            let mut child = child.expect("redis-server is installed");
            if listens(&mut child) {
                return Redis { child, folder, port };
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("redis-server {arguments:?} does not start");
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Whether the server listens before it exits. Later output is read, too: a full pipe would block
/// it.
fn listens(child: &mut Child) -> bool {
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let mut lines = stdout.lines().map_while(Result::ok);
    let listens = lines.any(|line| line.contains("eady to accept connections"));
    thread::spawn(move || lines.for_each(drop));
    listens
}

/// A server with these variables and scaling enabled.
#[track_caller]
pub fn node(variables: &[(&str, &str)]) -> Server {
    let setup = Setup::new().env("REVERB_SCALING_ENABLED", "true").arg("--debug");
    variables.iter().fold(setup, |setup, (name, value)| setup.env(name, value)).start()
}

/// Fails unless an event published at one of two nodes with these variables reaches the other.
#[track_caller]
pub fn nodes_connect(variables: &[(&str, &str)]) {
    let nodes = [node(variables), node(variables)];
    for node in &nodes {
        logged(node, &["connected to Redis"]);
    }
    let mut client = Client::connect(&nodes[1]);
    client.subscribe("news");
    nodes[0].publish("news", "hello", "{}");
    assert_eq!(client.event()["event"], "hello");
}

/// Waits until a server has logged a line with all of these parts, and returns it.
#[track_caller]
pub fn logged(server: &Server, parts: &[&str]) -> String {
    let begin = Instant::now();
    loop {
        let log = server.stderr();
        if let Some(line) = log.lines().find(|line| parts.iter().all(|part| line.contains(part))) {
            return line.to_owned();
        }
        assert!(begin.elapsed() < DEADLINE, "never {parts:?} in the log");
        thread::sleep(Duration::from_millis(5));
    }
}
