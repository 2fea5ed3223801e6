//! Sends SIGHUP to the running server, so that it applies the change at once. Without it the server
//! notices the change by itself, so nothing here is an error.

use crate::commands::processes::{self, Process};
use crate::config::Server;
use crate::net::sys;

/// Which servers were signalled, and a line about it.
pub(super) struct Notice {
    pub processes: Vec<i32>,
    pub text: String,
}

/// Sends SIGHUP to the servers at these addresses.
pub(super) fn send(server: &Server) -> Notice {
    let at = format!("{}:{}", server.host, server.port);
    let none = |text: String| Notice { processes: Vec::new(), text };
    let found = match processes::listening_at(server) {
        Ok(found) => found,
        Err(error) => return none(format!("No server was signalled: {at}: {error}.")),
    };
    let servers = found.servers();
    match found.processes.first() {
        _ if !servers.is_empty() => {}
        Some(Process { id, name, .. }) => {
            let text = format!("No server was signalled: {name} (process {id}) listens on {at}.");
            return none(text);
        }
        None if found.is_open => {
            return none(format!("The server on {at} belongs to another user; {LATER}."));
        }
        None => return none(format!("No server listens on {at}.")),
    }
    let mut notice = Notice { processes: Vec::new(), text: String::new() };
    for process in servers {
        let server = format!("the server on {at} (process {process})");
        let unsent = match processes::handles_hangups(process) {
            Some(true) => sys::send_signal(process, libc::SIGHUP).err().map(|e| e.to_string()),
            // The signal would end the server.
            Some(false) => Some("it runs in a terminal".to_owned()),
            None => Some("this system does not tell whether it handles SIGHUP".to_owned()),
        };
        let line = match unsent {
            Some(why) => format!("SIGHUP was not sent to {server}: {why}; {LATER}."),
            None => {
                notice.processes.push(process);
                format!("Sent SIGHUP to {server}.")
            }
        };
        if !notice.text.is_empty() {
            notice.text.push('\n');
        }
        notice.text.push_str(&line);
    }
    notice
}

/// When a server applies a change without a signal.
const LATER: &str = "it applies the change within five seconds";
