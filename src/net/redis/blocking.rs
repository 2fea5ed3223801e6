//! A connection to Redis that sends one command at a time and blocks until the reply. The threads
//! for `reverb:restart` and Pulse and `reverb check` use it. The messages between nodes use the
//! non-blocking connection of the event loop instead.

use std::time::Duration;

use crate::config::{RedisTarget, Transport};
use crate::hub::Now;
use crate::net::blocking_stream::BlockingStream;
use crate::net::clock;
use crate::net::tls::Connector;
use crate::proto::resp::{self, ProtocolError, Reader, login};

/// A connection after its login.
pub(crate) struct BlockingRedis {
    stream: BlockingStream,
    reader: Reader,
}

impl BlockingRedis {
    /// Connects and logs in. No call blocks for longer than `timeout`.
    ///
    /// # Errors
    ///
    /// Connecting or logging in failed; the text names the address and the setting to check.
    pub(crate) fn open(target: &RedisTarget, timeout: Duration) -> Result<Self, String> {
        let opened = BlockingRedis::connect(target, timeout).and_then(|mut redis| {
            redis.log_in(target)?;
            Ok(redis)
        });
        opened.map_err(|why| format!("Redis {target}: {why}"))
    }

    fn connect(target: &RedisTarget, timeout: Duration) -> Result<Self, String> {
        let stream = match &target.transport {
            Transport::Unix(path) => BlockingStream::unix(path, timeout),
            Transport::Tcp { host, port } => BlockingStream::tcp(host, *port, timeout),
        };
        let mut stream = stream.map_err(|error| error.to_string())?;
        if let Some(tls) = &target.tls {
            let now = Now { ms: 0, unix_s: clock::unix_s() };
            let connector = Connector::load(tls, now).map_err(|error| error.to_string())?;
            stream.secure(&connector).map_err(|error| error.for_redis())?;
        }
        Ok(BlockingRedis { stream, reader: Reader::new(REPLY_BYTES) })
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
    /// The error reply of Redis, or why the connection is no longer usable.
    pub(crate) fn request(&mut self, words: &[&[u8]]) -> resp::Answer {
        self.send(&resp::command(words))
    }

    fn send(&mut self, command: &[u8]) -> resp::Answer {
        self.stream.write(command).map_err(|error| error.for_redis())?;
        let mut buffer = [0; 4_096];
        loop {
            let len = match self.stream.read(&mut buffer).map_err(|error| error.for_redis())? {
                0 => return Err("it has closed the connection".to_owned()),
                len => len,
            };
            match self.reader.answer(&mut &buffer[..len]) {
                Ok(None) => {}
                Ok(Some(answer)) => return answer,
                Err(ProtocolError::Malformed) => {
                    return Err("the server does not speak the Redis protocol".to_owned());
                }
                Err(ProtocolError::TooLong(max)) => {
                    return Err(format!("a reply of more than {max} bytes"));
                }
            }
        }
    }
}

/// The longest reply. Those to the commands sent here have a few dozen bytes.
const REPLY_BYTES: usize = 65_536;
