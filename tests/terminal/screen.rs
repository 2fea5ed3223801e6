//! A command in a pseudo-terminal of `script`, with its screen and its keys.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use super::run::Folder;
use crate::support::{DEADLINE, binary};

/// A command in a pseudo-terminal.
pub struct Terminal {
    child: Child,
    keys: ChildStdin,
    output: Receiver<Vec<u8>>,
    /// All that was written to the terminal.
    pub text: String,
}

impl Terminal {
    /// Runs a command line of the binary in a terminal of this size.
    #[track_caller]
    pub fn start(folder: &Folder, size: (u16, u16), variables: &str, line: &str) -> Self {
        let (columns, rows) = size;
        // The shell prints its terminal and exit codes, which nothing else reports, and survives
        // Ctrl-C.
        let binary = binary();
        let script = format!(
            "trap : INT; stty cols {columns} rows {rows}; echo terminal=$(tty); {variables} {binary} {line}; \
             echo code=$?; stty -a"
        );
        let mut child = Command::new("script")
            .args(["-qec", &script, "/dev/null"])
            .current_dir(folder.server.directory())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut pipe, (sender, output)) = (child.stdout.take().unwrap(), channel());
        thread::spawn(move || {
            let mut chunk = [0; 4_096];
            while let Ok(len @ 1..) = pipe.read(&mut chunk) {
                if sender.send(chunk[..len].to_vec()).is_err() {
                    break;
                }
            }
        });
        let keys = child.stdin.take().unwrap();
        Terminal { child, keys, output, text: String::new() }
    }

    /// Types keys.
    pub fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Changes the size of the terminal.
    pub fn resize(&self, columns: u16, rows: u16) {
        let name = self.text.split("terminal=").nth(1).unwrap().lines().next().unwrap().trim();
        let size = ["cols", &columns.to_string(), "rows", &rows.to_string()].map(str::to_owned);
        let status = Command::new("stty").args(["-F", name]).args(size).status().unwrap();
        assert!(status.success());
    }

    /// Waits until a screen that is received after this call is right, and returns its lines.
    #[track_caller]
    pub fn shows(&mut self, is_right: impl Fn(&[String]) -> bool) -> Vec<String> {
        let (start, begin) = (self.text.len(), Instant::now());
        loop {
            self.receive("a screen");
            let screens = self.text[start..].split("\x1b[H").skip(1);
            let whole = screens.filter_map(|screen| Some(screen.split_once("\x1b[J")?.0));
            let screens: Vec<Vec<String>> = whole.map(lines).collect();
            if let Some(found) = screens.iter().find(|lines| is_right(lines)) {
                return found.clone();
            }
            // A screen is drawn every second, so that the wait for the next one has no end.
            assert!(begin.elapsed() < DEADLINE, "{:#?}", screens.last());
        }
    }

    /// Waits until the output has this text; earlier output counts.
    #[track_caller]
    pub fn prints(&mut self, text: &str) {
        while !self.text.contains(text) {
            self.receive(text);
        }
    }

    #[track_caller]
    fn receive(&mut self, what: &str) {
        match self.output.recv_timeout(DEADLINE) {
            Ok(bytes) => self.text.push_str(&String::from_utf8_lossy(&bytes)),
            Err(error) => panic!("{error}: no {what} in {:?}", self.text),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a screen, without colours.
fn lines(screen: &str) -> Vec<String> {
    let plain = |line: &str| {
        let line = line.replace("\x1b[K", "").replace("\x1b[0m", "");
        ["\x1b[36m", "\x1b[31m", "\x1b[90m"].iter().fold(line, |line, code| line.replace(code, ""))
    };
    screen.split("\r\n").map(plain).collect()
}
