//! The measured processes: the server, and the raw processes it is compared with, which run this
//! executable. Each has its own processor, and ends with its owner.

use std::io::{BufRead, BufReader};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use crate::{Plan, sys};

pub const APP_ID: &str = "app-id";
pub const APP_KEY: &str = "app-key";
pub const APP_SECRET: &str = "app-secret";

/// The server as `cargo bench` has built it, or the one `REVERB_BINARY` names.
pub fn binary() -> PathBuf {
    env::var_os("REVERB_BINARY").unwrap_or(env!("CARGO_BIN_EXE_reverb").into()).into()
}

/// A running process that listens.
pub struct Process {
    child: Child,
    directory: PathBuf,
    pub address: SocketAddrV4,
    /// Whether it has its own processor.
    pub alone: bool,
    /// The time from the start of the process to the line with its address.
    pub start: Duration,
}

impl Process {
    /// The server with one app and default settings.
    pub fn server(plan: &Plan) -> Self {
        Self::server_with(plan, &[])
    }

    /// The same with these variables set.
    pub fn server_with(plan: &Plan, variables: &[(&str, &str)]) -> Self {
        Self::server_of(plan, &binary(), variables)
    }

    /// The same with another binary.
    pub fn server_of(plan: &Plan, binary: &Path, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(binary);
        command.args(["start", "--host", "127.0.0.1", "--port", "0"]).env_clear();
        command.env("REVERB_APP_ID", APP_ID).env("REVERB_APP_KEY", APP_KEY);
        command.env("REVERB_APP_SECRET", APP_SECRET).envs(variables.iter().copied());
        Self::start(plan, &mut command)
    }

    /// The server with this `reverb.json`.
    pub fn server_with_file(plan: &Plan, json: &str) -> Self {
        let mut command = Command::new(binary());
        command.args(["start", "--host", "127.0.0.1", "--port", "0"]).env_clear();
        Self::start_with(plan, &mut command, Some(json))
    }

    /// The server with this many descriptors, and a higher connection limit.
    pub fn server_with_descriptors(plan: &Plan, most: u32) -> Self {
        let mut command = Command::new("/bin/sh");
        let script = format!(r#"ulimit -n {most}; exec "$0" start --host 127.0.0.1 --port 0"#);
        command.args(["-c", &script]).arg(binary()).env_clear();
        command.env("REVERB_APP_ID", APP_ID).env("REVERB_APP_KEY", APP_KEY);
        command.env("REVERB_APP_SECRET", APP_SECRET).env("REVERB_LIMIT_CONNECTIONS", "1000");
        Self::start(plan, &mut command)
    }

    /// One of `raw`.
    pub fn raw(plan: &Plan, arguments: &[&str]) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        Self::start(plan, command.args(arguments))
    }

    fn start(plan: &Plan, command: &mut Command) -> Self {
        Self::start_with(plan, command, None)
    }

    fn start_with(plan: &Plan, command: &mut Command, json: Option<&str>) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = env::temp_dir().join(format!("reverb-bench-{}-{number}", process::id()));
        fs::create_dir_all(&directory).unwrap();
        if let Some(json) = json {
            fs::write(directory.join("reverb.json"), json).unwrap();
        }
        command.current_dir(&directory).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        // A process starts on the processor of the thread that starts it.
        sys::pin(plan.server_processor);
        let began = Instant::now();
        let mut child = command.spawn().unwrap();
        sys::pin(plan.client_processor);
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let start = began.elapsed();
        let rest = line.split_once("listening on ").expect("the process did not start").1;
        let address = rest.split_whitespace().next().unwrap().parse().unwrap();
        let alone = plan.server_processor != plan.client_processor;
        Process { child, directory, address, alone, start }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Processor time so far, in nanoseconds.
    pub fn cpu_ns(&self) -> f64 {
        sys::process_cpu_ns(self.child.id()) as f64
    }

    /// Resident memory in bytes.
    pub fn rss(&self) -> f64 {
        self.memory("VmRSS:")
    }

    /// The most resident memory since [`Process::reset_peak`], in bytes.
    pub fn peak_rss(&self) -> f64 {
        self.memory("VmHWM:")
    }

    /// Resets the peak to the memory that is resident now. If the kernel does not support that, the
    /// peak is that of the whole run.
    pub fn reset_peak(&self) {
        let _ = fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5");
    }

    fn memory(&self, name: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse::<f64>().unwrap() * 1024.0
    }

    /// Waits until the process is idle, for this long at most.
    pub fn settle(&self, at_most: Duration) {
        let began = Instant::now();
        let mut before = self.cpu_ns();
        while began.elapsed() < at_most {
            thread::sleep(Duration::from_millis(40));
            let now = self.cpu_ns();
            if now - before < 100_000.0 {
                return;
            }
            before = now;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}
