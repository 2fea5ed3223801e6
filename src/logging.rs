//! The log: one line a write to standard error, none of which can hold up the server.
//!
//! A terminal that was paused or a pipe nobody reads would block a write, and with it every
//! client. So a line is written only when it would be taken at once; the others are counted, and
//! the count is told when there is room again.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use simplelog::{ConfigBuilder, LevelFilter, WriteLogger};
use time::macros::format_description;

use crate::net::sys;

/// Begins to log warnings and errors, and with `debug` everything clients and publishers say.
pub fn start(debug: bool) {
    let level = if debug { LevelFilter::Debug } else { LevelFilter::Warn };
    let time =
        format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:3]Z");
    let config = ConfigBuilder::new()
        .set_time_format_custom(time)
        .set_thread_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .build();
    let colored = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = Lines { line: Vec::new(), dropped: 0, colored };
    // A program that embeds the library may have a logger already; then that one is used.
    let _ = WriteLogger::init(level, config, lines);
}

/// Gathers the pieces of a line and writes it whole.
struct Lines {
    line: Vec<u8>,
    dropped: u64,
    colored: bool,
}

impl Write for Lines {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(piece);
        if self.line.last() == Some(&b'\n') {
            let line = std::mem::take(&mut self.line);
            self.write_line(&line);
            self.line = line;
            self.line.clear();
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn write_line(&mut self, line: &[u8]) {
        let mut stderr = io::stderr().lock();
        if !sys::is_writable_now(stderr.as_fd()) {
            self.dropped += 1;
            return;
        }
        let mut text = String::new();
        if self.dropped > 0 {
            text = format!("({} lines were not logged: nobody read them)\n", self.dropped);
        }
        text.push_str(String::from_utf8_lossy(line).trim_end_matches('\n'));
        // A pipe that says it is writable takes this much at once.
        let mut end = text.len().min(LINE_BYTES_MAX - COLOR_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        let text = if self.colored { colored(&text) } else { text };
        // A log that cannot be written (a full disk, a closed pipe) is no reason to stop serving.
        if stderr.write_all((text + "\n").as_bytes()).is_ok() {
            self.dropped = 0;
        }
    }
}

/// The line with the color of its level.
fn colored(line: &str) -> String {
    let color = match line {
        _ if line.contains("[ERROR]") => "31",
        _ if line.contains("[WARN]") => "33",
        _ if line.contains("[DEBUG]") => "2",
        _ => "0",
    };
    format!("\u{1b}[{color}m{line}\u{1b}[0m")
}

/// `PIPE_BUF` of Linux.
const LINE_BYTES_MAX: usize = 4_096;
/// What color and line end add.
const COLOR_BYTES: usize = 10;
