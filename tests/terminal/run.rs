//! Runs commands next to a server, in a folder whose `.env` has the credentials and the port.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::{fs, thread};

use crate::support::{APP, DEADLINE, Server, Setup, until};

/// A server, and the `.env` for commands.
pub struct Folder {
    pub server: Server,
    env: RefCell<BTreeMap<String, String>>,
    /// The server that [`Folder::restart`] has started.
    second: Option<Child>,
}

/// The end of a command.
pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// A command that has not ended.
pub struct Running {
    child: Child,
    out: Option<Receiver<String>>,
    err: Receiver<String>,
}

impl Folder {
    #[track_caller]
    pub fn start(setup: Setup) -> Self {
        let server = setup.start();
        let port = server.address().port().to_string();
        let env = [
            ("REVERB_APP_ID", APP.id),
            ("REVERB_APP_KEY", APP.key),
            ("REVERB_APP_SECRET", APP.secret),
            ("REVERB_SERVER_HOST", "127.0.0.1"),
            ("REVERB_SERVER_PORT", &port),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let folder = Folder { server, env: RefCell::new(env), second: None };
        folder.write();
        folder
    }

    /// Changes a variable of the `.env`.
    pub fn env(&self, name: &str, value: &str) {
        self.env.borrow_mut().insert(name.to_owned(), value.to_owned());
        self.write();
    }

    /// Replaces the `.env`.
    pub fn write_env(&self, text: &str) {
        fs::write(self.server.directory().join(".env"), text).unwrap();
    }

    fn write(&self) {
        let lines: Vec<String> =
            self.env.borrow().iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        self.write_env(&lines.concat());
    }

    /// Stops the server and starts another on the same port.
    pub fn restart(&mut self) {
        self.server.signal("TERM");
        assert_eq!(self.server.wait().code(), Some(0));
        let mut second = self.command(&["start"]).stdout(Stdio::piped()).spawn().unwrap();
        let first = lines(second.stdout.take().unwrap()).recv_timeout(DEADLINE).unwrap();
        assert!(first.contains("listening on"), "{first}");
        self.second = Some(second);
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.server.command();
        command.args(args).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Run {
        Run::of(self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Runs a command that reads standard input.
    #[track_caller]
    pub fn run_with_input(&self, args: &[&str], input: &str) -> Run {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Run::of(child)
    }

    /// Starts a command that runs until a signal.
    #[track_caller]
    pub fn begin(&self, args: &[&str]) -> Running {
        let mut running = self.begin_unread(args);
        running.out = running.child.stdout.take().map(lines);
        running
    }

    /// The same, without reading its output.
    #[track_caller]
    pub fn begin_unread(&self, args: &[&str]) -> Running {
        let mut command = self.command(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let err = lines(child.stderr.take().unwrap());
        Running { child, out: None, err }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(second) = &mut self.second {
            let _ = second.kill();
            let _ = second.wait();
        }
    }
}

impl Run {
    #[track_caller]
    fn of(mut child: Child) -> Self {
        let out = text(child.stdout.take().unwrap());
        let err = text(child.stderr.take().unwrap());
        let code = Running { child, out: None, err: channel().1 }.ends();
        Run { code, out: out.join().unwrap(), err: err.join().unwrap() }
    }
}

impl Running {
    /// The next line of its output.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let line = self.out.as_ref().unwrap().recv_timeout(DEADLINE);
        line.unwrap_or_else(|error| {
            panic!("{error}; {:?}", self.err.try_iter().collect::<Vec<_>>())
        })
    }

    /// The next line of its output with all of these texts; other lines are skipped.
    #[track_caller]
    pub fn line_with(&mut self, parts: &[&str]) -> String {
        let mut skipped = Vec::new();
        loop {
            let Ok(line) = self.out.as_ref().unwrap().recv_timeout(DEADLINE) else {
                panic!("no line with {parts:?}; {skipped:#?}");
            };
            if parts.iter().all(|part| line.contains(part)) {
                return line;
            }
            skipped.push(line);
        }
    }

    /// Waits for a line of standard error with this text.
    #[track_caller]
    pub fn notes(&mut self, text: &str) {
        let mut skipped = Vec::new();
        loop {
            match self.err.recv_timeout(DEADLINE) {
                Ok(line) if line.contains(text) => return,
                Ok(line) => skipped.push(line),
                Err(error) => panic!("{error}: {text:?} is not in {skipped:#?}"),
            }
        }
    }

    /// Waits for its end, and returns the exit code.
    #[track_caller]
    pub fn ends(&mut self) -> i32 {
        let mut status = None;
        until("the end of the command", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code().unwrap()
    }

    /// Sends a signal by its name, and waits for the end.
    #[track_caller]
    pub fn ends_by(&mut self, signal: &str) -> i32 {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        self.ends()
    }

    /// Reads one line of the output that [`Folder::begin_unread`] has left.
    #[track_caller]
    pub fn first_line(&mut self) -> String {
        let mut pipe = self.child.stdout.take().unwrap();
        let (sender, receiver) = channel();
        thread::spawn(move || {
            let mut line = Vec::new();
            // A buffer would take more than the line.
            while line.last() != Some(&b'\n') {
                let mut byte = [0];
                pipe.read_exact(&mut byte).unwrap();
                line.push(byte[0]);
            }
            sender.send((pipe, String::from_utf8(line).unwrap()))
        });
        let (pipe, line) = receiver.recv_timeout(DEADLINE).unwrap();
        self.child.stdout = Some(pipe);
        line
    }

    /// Ends the reader of its output, and fails unless the command ends without an error.
    #[track_caller]
    pub fn closes_output(mut self) {
        drop(self.child.stdout.take().unwrap());
        assert_eq!(self.ends(), 0);
        let notes: Vec<String> = self.err.iter().collect();
        assert!(!notes.iter().any(|note| note.contains("cannot")), "{notes:?}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        text
    })
}

fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        BufReader::new(pipe).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    receiver
}
