//! Asks the sentinels where the master is, without blocking: one after the other, each for a share
//! of the time of an attempt to connect. The connection to the master itself is in the parent.

use std::io::IoSlice;

use mio::Token;
use mio::event::Event;

use super::dial::{Dial, Network};
use crate::config::{HostPort, Sentinels};
use crate::net::io::Answer;
use crate::net::stream::Stream;
use crate::proto::resp::{self, Reader, login};

/// The question of where the master is.
pub(super) struct MasterQuery {
    sentinels: Sentinels,
    /// The login, if there is one, and the question.
    commands: Vec<u8>,
    token: Token,
    /// The index of the sentinel that the next attempt asks first. It changes with each attempt, so
    /// that a sentinel that names the wrong server does not decide alone.
    first: usize,
    /// How many sentinels were asked in this attempt.
    asked: usize,
    step: Step,
    /// The time for each sentinel, and when that of the current one ends.
    share_ms: u64,
    until_ms: u64,
    /// For each sentinel, why it did not name the master.
    failures: Vec<Option<String>>,
}

enum Step {
    /// No sentinel is being asked.
    Idle,
    Dialing(Dial),
    Asking(Question),
}

/// A connection to a sentinel.
struct Question {
    stream: Stream,
    reader: Reader,
    unsent: Vec<u8>,
    awaits_login: bool,
}

impl MasterQuery {
    pub(super) fn new(sentinels: Sentinels, token: Token) -> Self {
        let mut commands = login::sentinel(&sentinels).unwrap_or_default();
        let question: [&[u8]; 3] =
            [b"SENTINEL", login::MASTER_QUESTION, sentinels.service.as_bytes()];
        commands.extend(resp::command(&question));
        MasterQuery {
            failures: vec![None; sentinels.addresses.len()],
            sentinels,
            commands,
            token,
            first: 0,
            asked: 0,
            step: Step::Idle,
            share_ms: 0,
            until_ms: 0,
        }
    }

    /// Begins another attempt, of which this is the time for all sentinels and the master.
    pub(super) fn begin(&mut self, attempt_ms: u64) {
        let count = self.sentinels.addresses.len();
        self.end();
        self.failures = vec![None; count];
        (self.first, self.asked) = ((self.first + self.asked) % count, 0);
        self.share_ms = attempt_ms / (count as u64 + 1);
    }

    /// Ends the attempt.
    pub(super) fn end(&mut self) {
        self.step = Step::Idle;
    }

    /// When to call [`MasterQuery::advance`] at the latest.
    pub(super) fn next_ms(&self) -> Option<u64> {
        (!matches!(self.step, Step::Idle)).then_some(self.until_ms)
    }

    /// Records what the poller reported.
    pub(super) fn on_event(&mut self, event: &Event) {
        match &mut self.step {
            Step::Idle => {}
            Step::Dialing(dial) => dial.on_event(event),
            Step::Asking(question) => question.stream.on_event(event),
        }
    }

    /// Continues to ask. Returns the address of the master once a sentinel has named it.
    ///
    /// # Errors
    ///
    /// No sentinel has named the master; the text has the reason of each.
    pub(super) fn advance(
        &mut self,
        network: &mut Network<'_>,
        now_ms: u64,
    ) -> Result<Option<HostPort>, String> {
        loop {
            let advanced = match &mut self.step {
                Step::Idle => {
                    self.ask_next(now_ms)?;
                    continue;
                }
                _ if now_ms >= self.until_ms => {
                    Err(format!("no answer within {} ms", self.share_ms))
                }
                Step::Dialing(dial) => match dial.advance(network) {
                    Ok(Some(dialled)) => {
                        self.step = Step::Asking(Question {
                            stream: dialled.stream,
                            reader: Reader::new(REPLY_BYTES),
                            unsent: self.commands.clone(),
                            awaits_login: self.sentinels.password.is_some(),
                        });
                        continue;
                    }
                    Ok(None) => Ok(None),
                    Err(why) => Err(why),
                },
                Step::Asking(question) => question.advance(&self.sentinels.service),
            };
            match advanced {
                Ok(None) => return Ok(None),
                Ok(Some(master)) => {
                    self.end();
                    return Ok(Some(master));
                }
                Err(why) => {
                    let at = (self.first + self.asked - 1) % self.failures.len();
                    self.failures[at] = Some(why);
                    self.end();
                }
            }
        }
    }

    /// Begins to ask the next sentinel.
    fn ask_next(&mut self, now_ms: u64) -> Result<(), String> {
        let addresses = &self.sentinels.addresses;
        if self.asked == addresses.len() {
            let failures = addresses.iter().zip(&self.failures);
            let failures = failures.map(|(address, why)| {
                format!("Sentinel {address}: {}", why.as_deref().unwrap_or_default())
            });
            return Err(failures.collect::<Vec<_>>().join("; "));
        }
        let address = addresses[(self.first + self.asked) % addresses.len()].clone();
        self.asked += 1;
        self.until_ms = now_ms + self.share_ms;
        self.step = Step::Dialing(Dial::new(address, self.token, 0));
        Ok(())
    }
}

impl Question {
    /// Sends the commands, and reads the replies. Returns the address of the master, once it has
    /// arrived.
    fn advance(&mut self, service: &str) -> Result<Option<HostPort>, String> {
        while self.stream.writable && (!self.unsent.is_empty() || self.stream.wants_write()) {
            match self.stream.write(&[IoSlice::new(&self.unsent)]) {
                Ok(written) => _ = self.unsent.drain(..written),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.to_string()),
            }
        }
        let mut buffer = [0; 4_096];
        while self.stream.readable {
            let mut bytes =
                match self.stream.read(&mut buffer).map_err(|error| error.for_redis())? {
                    Answer::Bytes(len) => &buffer[..len],
                    Answer::Nothing => return Ok(None),
                    Answer::End => return Err("it has closed the connection".to_owned()),
                };
            if self.awaits_login {
                match self.reader.answer(&mut bytes).map_err(|error| error.to_string())? {
                    None => continue,
                    Some(answer) => answer
                        .map_err(|why| format!("{why} (see {})", login::SENTINEL_CREDENTIALS))?,
                };
                self.awaits_login = false;
            }
            if let Some(master) =
                self.reader.master(&mut bytes).map_err(|error| error.to_string())?
            {
                return master?.ok_or_else(|| login::unknown_service(service)).map(Some);
            }
        }
        Ok(None)
    }
}

/// The longest reply. An address has a few dozen bytes.
const REPLY_BYTES: usize = 65_536;
