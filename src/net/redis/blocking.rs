//! A connection to Redis that asks one thing after the other and waits for each answer, on a thread
//! of its own or in a command: for what Laravel keeps there. What nodes say to each other goes
//! through the loop.

use std::time::Duration;

use crate::config::{RedisTarget, Transport};
use crate::hub::Now;
use crate::net::blocking_stream::BlockingStream;
use crate::net::clock;
use crate::net::tls::Connector;
use crate::proto::resp::{self, ProtocolError, Reader, login};

/// A connection that is logged in.
pub(crate) struct BlockingRedis {
    call: BlockingStream,
    reader: Reader,
}

impl BlockingRedis {
    /// Connects and logs in. No wait takes longer than `timeout`.
    ///
    /// # Errors
    ///
    /// What is wrong, with where it is and what to look at.
    pub(crate) fn open(target: &RedisTarget, timeout: Duration) -> Result<Self, String> {
        let opened = BlockingRedis::connect(target, timeout).and_then(|mut redis| {
            redis.log_in(target)?;
            Ok(redis)
        });
        opened.map_err(|why| format!("Redis {target}: {why}"))
    }

    fn connect(target: &RedisTarget, timeout: Duration) -> Result<Self, String> {
        let call = match &target.transport {
            Transport::Unix(path) => BlockingStream::unix(path, timeout),
            Transport::Tcp { host, port } => BlockingStream::tcp(host, *port, timeout),
        };
        let mut call = call.map_err(|error| error.to_string())?;
        if let Some(tls) = &target.tls {
            let now = Now { ms: 0, unix_s: clock::unix_s() };
            let connector = Connector::load(tls, now).map_err(|error| error.to_string())?;
            call.secure(&connector).map_err(|error| error.for_redis())?;
        }
        Ok(BlockingRedis { call, reader: Reader::new(ANSWER_BYTES) })
    }

    fn log_in(&mut self, target: &RedisTarget) -> Result<(), String> {
        for (setting, command) in login::login(target.login(), login::Protocol::Two) {
            self.send(&command).map_err(|why| format!("{why} (see {setting})"))?;
        }
        Ok(())
    }

    /// Sends a command, and waits for the reply.
    ///
    /// # Errors
    ///
    /// Redis' error, or why the connection cannot be used any longer.
    pub(crate) fn ask(&mut self, words: &[&[u8]]) -> resp::Answer {
        self.send(&resp::command(words))
    }

    fn send(&mut self, command: &[u8]) -> resp::Answer {
        self.call.write(command).map_err(|error| error.for_redis())?;
        let mut buffer = [0; 4_096];
        loop {
            let len = match self.call.read(&mut buffer).map_err(|error| error.for_redis())? {
                0 => return Err("it has closed the connection".to_owned()),
                len => len,
            };
            match self.reader.answer(&mut &buffer[..len]) {
                Ok(None) => {}
                Ok(Some(answer)) => return answer,
                Err(ProtocolError::Malformed) => {
                    return Err("what answers there does not speak Redis' protocol".to_owned());
                }
                Err(ProtocolError::TooLong(max)) => {
                    return Err(format!("an answer of more than {max} bytes"));
                }
            }
        }
    }
}

/// Bytes of an answer. What is asked for here has a few dozen.
const ANSWER_BYTES: usize = 65_536;
