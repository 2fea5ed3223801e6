//! The feed of a server: its lines as they arrive, over several connections. What a line means is in
//! `line` and `board`.

use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::Duration;

use super::api::{Call, ERROR_BYTES_MAX, rejected};
use super::endpoint::Endpoint;
use crate::commands::Failure;
use crate::net::BlockingStream;
use crate::proto::http::ResponseReader;
use crate::proto::lines::{LINE_BYTES_MAX, Lines};

/// What the caller of [`follow`] learns.
pub(super) enum Update<'a> {
    /// The next line.
    Line(&'a str),
    /// The connection has ended for this reason; the next attempt begins after this time.
    Lost(&'a str, Duration),
}

/// Reads the feed until it is refused or `on_update` fails. Connects again when a connection ends, as
/// it does in a reload.
///
/// # Errors
///
/// The server refuses the feed; the first connection fails; the error of `on_update`.
pub(super) fn follow(
    endpoint: &Endpoint,
    parameters: &[(&str, &str)],
    on_update: &mut dyn FnMut(Update<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut pause = Pause::default();
    let mut had_line = false;
    loop {
        let result = read(endpoint, parameters, &mut |line| {
            (had_line, pause) = (true, Pause::default());
            on_update(Update::Line(line))
        });
        match result {
            Err(End::Failed(failure)) => return Err(failure),
            // The first answer decides. Later the connection that was lost may still be counted as a
            // viewer.
            Err(End::Refused(why, status)) if !had_line || status != 429 => {
                return Err(Failure::at_work(why));
            }
            Err(End::Lost(why)) if !had_line => return Err(Failure::at_work(why)),
            Err(End::Lost(why) | End::Refused(why, _)) => {
                let wait = pause.next();
                on_update(Update::Lost(&why, wait))?;
                thread::sleep(wait);
            }
            Ok(never) => match never {},
        }
    }
}

/// The pauses between attempts to connect: 1, 2, 4, 8 seconds, and then ten each.
#[derive(Default)]
pub(super) struct Pause(u32);

impl Pause {
    /// How long to wait before the next attempt.
    pub(super) fn next(&mut self) -> Duration {
        let seconds = (1 << self.0.min(4)).min(PAUSE_S_MAX);
        self.0 += 1;
        Duration::from_secs(seconds)
    }
}

/// Why a connection has ended.
enum End {
    /// The caller has failed.
    Failed(Failure),
    /// The server refuses the feed, with this status.
    Refused(String, u16),
    /// Another attempt may succeed.
    Lost(String),
}

/// Reads one response until it ends.
fn read(
    endpoint: &Endpoint,
    parameters: &[(&str, &str)],
    on_line: &mut dyn FnMut(&str) -> Result<(), Failure>,
) -> Result<std::convert::Infallible, End> {
    let mut stream = endpoint.open().map_err(|error| End::Lost(endpoint.unreachable(&error)))?;
    let lost = |why: String| End::Lost(format!("{endpoint}: {why}"));
    let call = Call { method: "GET", path: "/feed", parameters, body: b"" };
    let request = call.head(endpoint);
    stream.write_all(request.as_bytes()).map_err(|error| lost(error.to_string()))?;
    let (mut reader, mut lines) = (ResponseReader::endless(), Lines::default());
    let mut buffer = vec![0; 16_384];
    loop {
        receive(&mut stream, &mut reader, &mut buffer).map_err(lost)?;
        match reader.status() {
            None => continue,
            Some(200) => {}
            Some(_) if !reader.is_done() && reader.body().len() < ERROR_BYTES_MAX => continue,
            Some(status @ 400..500) => {
                return Err(End::Refused(rejected(endpoint, &reader), status));
            }
            Some(_) => return Err(End::Lost(rejected(endpoint, &reader))),
        }
        stream.set_timeout(SILENCE).map_err(|error| lost(error.to_string()))?;
        lines.push(&reader.take_body());
        while let Some(line) = lines
            .next_line()
            .map_err(|_| lost(format!("a line of the feed is over {LINE_BYTES_MAX} bytes")))?
        {
            on_line(&line).map_err(End::Failed)?;
        }
        if reader.is_done() {
            return Err(lost("the server has ended the feed".to_owned()));
        }
    }
}

/// Waits for bytes of a response.
fn receive(
    stream: &mut BlockingStream,
    reader: &mut ResponseReader,
    buffer: &mut [u8],
) -> Result<(), String> {
    match stream.read(buffer) {
        Ok(0) => reader.end(),
        Ok(len) => reader.receive(&buffer[..len]),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            Err("it sends nothing any more".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// The longest silence of an open feed: the server sends a line every 30 seconds.
const SILENCE: Duration = Duration::from_secs(65);
/// The longest pause between two attempts, in seconds.
const PAUSE_S_MAX: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_ten_seconds() {
        let mut pause = Pause::default();
        let seconds: Vec<u64> = (0..7).map(|_| pause.next().as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 10, 10, 10]);
    }
}
