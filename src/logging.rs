//! The log: each line is one write to standard error that never blocks.
//!
//! A paused terminal or an unread pipe would block a write, and with it every client. So a line is
//! written as far as that is possible at once. Lines that are dropped are counted, and the next line
//! that is written contains the count.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use simplelog::{ConfigBuilder, LevelFilter, WriteLogger};
use time::macros::format_description;

use crate::net::sys;
use crate::proto::shown::is_unsafe_to_show;

/// Installs the logger: for what an operator should know, and with `debug` for every message of
/// clients and publishers as well.
pub fn start(debug: bool) {
    let level = if debug { LevelFilter::Debug } else { LevelFilter::Info };
    let time =
        format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:3]Z");
    let config = ConfigBuilder::new()
        .set_time_format_custom(time)
        .set_thread_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .build();
    let colored = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let sink = Sink::of_stderr();
    let lines = LineWriter { sink, line: Vec::new(), dropped: 0, cut: false, colored };
    // A program that embeds the library may have a logger already; then that one is used.
    let _ = WriteLogger::init(level, config, lines);
}

/// Where lines are written.
enum Sink {
    /// A terminal or pipe, opened a second time as non-blocking. The first opening, which other
    /// processes such as a shell share, is not changed.
    NonBlocking(File),
    /// Anything else. A file does not block; a socket is polled before each write.
    Polled(io::Stderr),
}

impl Sink {
    fn of_stderr() -> Self {
        let Ok(kind) = fs::metadata(STDERR).map(|metadata| metadata.file_type()) else {
            return Sink::Polled(io::stderr());
        };
        if !kind.is_fifo() && !kind.is_char_device() {
            return Sink::Polled(io::stderr());
        }
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        match OpenOptions::new().write(true).custom_flags(flags).open(STDERR) {
            Ok(file) => Sink::NonBlocking(file),
            Err(_) => Sink::Polled(io::stderr()),
        }
    }

    /// Writes as much as is possible at once, in one call. Returns how much that was.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::NonBlocking(file) => file.write(bytes),
            Sink::Polled(stderr) => {
                let mut written = 0;
                // A pipe that is writable takes that much. It is a whole line on Linux, and 512 bytes
                // on macOS and FreeBSD.
                while written < bytes.len() && sys::is_writable_now(stderr.as_fd()) {
                    let end = bytes.len().min(written + libc::PIPE_BUF);
                    match stderr.write(&bytes[written..end]) {
                        Ok(len @ 1..) => written += len,
                        _ => break,
                    }
                }
                if written > 0 { Ok(written) } else { Err(io::ErrorKind::WouldBlock.into()) }
            }
        }
    }
}

/// Collects the pieces of a line and writes them at once.
struct LineWriter {
    sink: Sink,
    line: Vec<u8>,
    /// Lines dropped since the last one that was written.
    dropped: u64,
    /// Whether the last line was written in part.
    cut: bool,
    colored: bool,
}

impl Write for LineWriter {
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

impl LineWriter {
    fn write_line(&mut self, line: &[u8]) {
        let mut text = String::new();
        if self.dropped > 0 {
            text = format!("({} log lines dropped) ", self.dropped);
        }
        for c in String::from_utf8_lossy(line).trim_end_matches('\n').chars() {
            // The text may contain clients' input, which must not begin a line, move the cursor or
            // reverse text.
            match is_unsafe_to_show(c) {
                true => text.extend(c.escape_default()),
                false => text.push(c),
            }
        }
        let mut end = text.len().min(LINE_BYTES_MAX - COLOR_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        let text = if self.colored { colored(&text) } else { text };
        let text = format!("{}{text}\n", if self.cut { "\n" } else { "" });
        // A log that cannot be written (a full disk, a closed pipe) is no reason to stop serving.
        match self.sink.write(text.as_bytes()) {
            Ok(written) => (self.dropped, self.cut) = (0, written < text.len()),
            Err(_) => self.dropped += 1,
        }
    }
}

/// The line with the color of its level.
fn colored(line: &str) -> String {
    let color = match line {
        _ if line.contains("[ERROR]") => "31",
        _ if line.contains("[WARN]") => "33",
        _ if line.contains(" < ") => "32",
        _ if line.contains(" > ") => "36",
        _ => "0",
    };
    format!("\u{1b}[{color}m{line}\u{1b}[0m")
}

/// Standard error, as a path that can be opened a second time. Only Linux has one; elsewhere every log
/// is polled.
const STDERR: &str = "/proc/self/fd/2";
/// The longest line. It is `PIPE_BUF` of Linux: a pipe takes a write of up to this length whole or not at all.
const LINE_BYTES_MAX: usize = 4_096;
/// Bytes that color and line ends add.
const COLOR_BYTES: usize = 12;
