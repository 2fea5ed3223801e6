//! A connection to Redis that sends one command at a time and blocks until the reply. The threads
//! for `reverb:restart` and Pulse and `reverb check` use it. The messages between nodes use the
//! non-blocking connections of the event loop instead.
//!
//! It finds the server as the nodes do: it asks the sentinels for the master if there are any, and
//! follows a Redis Cluster to the server that has the key.

use std::time::Duration;

use crate::config::{HostPort, RedisTarget, RedisTls, Sentinels, Transport};
use crate::hub::Now;
use crate::net::blocking_stream::BlockingStream;
use crate::net::clock;
use crate::net::tls::Connector;
use crate::proto::resp::cluster::moved;
use crate::proto::resp::{self, ProtocolError, Reader, login};

/// A connection after its login.
pub(crate) struct BlockingRedis {
    connection: Connection,
    /// The host, without which an error of a Redis Cluster may not name a server.
    host: String,
    target: RedisTarget,
    timeout: Duration,
}

impl BlockingRedis {
    /// Connects and logs in. No call blocks for longer than `timeout`.
    ///
    /// # Errors
    ///
    /// Connecting or logging in failed; the text names the address and the setting to check.
    pub(crate) fn open(target: &RedisTarget, timeout: Duration) -> Result<Self, String> {
        let opened = match &target.transport {
            Transport::Tcp { host, port } => {
                let address = HostPort { host: host.clone(), port: *port };
                BlockingRedis::open_at(target, Some(&address), timeout)
            }
            Transport::Unix(_) => BlockingRedis::open_at(target, None, timeout),
            Transport::Sentinel(sentinels) => find_master(sentinels, target, timeout)
                .and_then(|master| BlockingRedis::open_at(target, Some(&master), timeout)),
        };
        opened.map_err(|why| format!("Redis {target}: {why}"))
    }

    /// Connects to this server, or to the Unix socket of the target.
    fn open_at(
        target: &RedisTarget,
        address: Option<&HostPort>,
        timeout: Duration,
    ) -> Result<Self, String> {
        let mut connection = match (&target.transport, address) {
            (Transport::Unix(path), _) => {
                let stream = BlockingStream::unix(path, timeout);
                Connection::new(stream.map_err(|error| error.to_string())?)
            }
            (_, Some(address)) => Connection::tcp(address, target.tls.as_ref(), timeout)?,
            (_, None) => return Err("no address".to_owned()),
        };
        for (setting, command) in login::login(target.login(), login::Protocol::Two) {
            connection.send(&command).map_err(|why| format!("{why} (see {setting})"))?;
        }
        let host = address.map_or_else(String::new, |address| address.host.clone());
        Ok(BlockingRedis { connection, host, target: target.clone(), timeout })
    }

    /// Sends a command, and waits for the reply.
    ///
    /// # Errors
    ///
    /// The error reply of Redis, or why the connection is no longer usable.
    pub(crate) fn request(&mut self, words: &[&[u8]]) -> resp::Answer {
        let command = resp::command(words);
        let mut answer = self.connection.send(&command);
        for _ in 0..MOVES_MAX {
            let owner = answer.as_ref().err().and_then(|error| moved(error));
            let Some(owner) = owner.filter(|_| self.target.is_cluster) else { break };
            let host = owner.host.unwrap_or_else(|| self.host.clone());
            let address = HostPort { host, port: owner.port };
            *self = BlockingRedis::open_at(&self.target, Some(&address), self.timeout)
                .map_err(|why| format!("{address}: {why}"))?;
            answer = self.connection.send(&command);
        }
        answer
    }
}

/// What a sentinel answers.
pub(crate) struct SentinelAnswer {
    /// The address of the master.
    pub master: HostPort,
    /// The milliseconds without an answer after which the sentinel considers the master down.
    pub down_after_ms: Option<u64>,
}

/// Asks one sentinel for the master. No call blocks for longer than `timeout`.
///
/// # Errors
///
/// The sentinel does not answer, rejects the login, or does not know the master.
pub(crate) fn ask_sentinel(
    address: &HostPort,
    sentinels: &Sentinels,
    tls: Option<&RedisTls>,
    timeout: Duration,
) -> Result<SentinelAnswer, String> {
    let mut connection = Connection::tcp(address, tls, timeout)?;
    if let Some(command) = login::sentinel(sentinels) {
        let answer = connection.send(&command);
        answer.map_err(|why| format!("{why} (see {})", login::SENTINEL_CREDENTIALS))?;
    }
    let name = sentinels.service.as_bytes();
    let question: [&[u8]; 3] = [b"SENTINEL", login::MASTER_QUESTION, name];
    connection.write(&resp::command(&question))?;
    let master = connection.read(Reader::master)??;
    let master = master.ok_or_else(|| login::unknown_service(&sentinels.service))?;
    connection.write(&resp::command(&[b"SENTINEL", b"MASTER", name]))?;
    let field = |reader: &mut Reader, bytes: &mut &[u8]| reader.field(bytes, DOWN_AFTER);
    // Without the permission for this command the setting is unknown.
    let down_after_ms = connection.read(field)?.ok().flatten();
    Ok(SentinelAnswer { master, down_after_ms: down_after_ms.and_then(|text| text.parse().ok()) })
}

/// The address of the master, from the first sentinel that knows it.
fn find_master(
    sentinels: &Sentinels,
    target: &RedisTarget,
    timeout: Duration,
) -> Result<HostPort, String> {
    let mut last = String::new();
    for address in &sentinels.addresses {
        match ask_sentinel(address, sentinels, target.tls.as_ref(), timeout) {
            Ok(answer) => return Ok(answer.master),
            Err(why) => last = format!("Sentinel {address}: {why}"),
        }
    }
    Err(last)
}

/// A connection before its login.
struct Connection {
    stream: BlockingStream,
    reader: Reader,
}

impl Connection {
    fn new(stream: BlockingStream) -> Self {
        Connection { stream, reader: Reader::new(REPLY_BYTES) }
    }

    fn tcp(address: &HostPort, tls: Option<&RedisTls>, timeout: Duration) -> Result<Self, String> {
        let stream = BlockingStream::tcp(&address.host, address.port, timeout);
        let mut stream = stream.map_err(|error| error.to_string())?;
        if let Some(tls) = tls {
            let now = Now { ms: 0, unix_s: clock::unix_s() };
            let connector = Connector::load(tls, now).map_err(|error| error.to_string())?;
            let session = connector.session(&address.host).map_err(|error| error.for_redis())?;
            stream.secure(session).map_err(|error| error.for_redis())?;
        }
        Ok(Connection::new(stream))
    }

    fn send(&mut self, command: &[u8]) -> resp::Answer {
        self.write(command)?;
        self.read(Reader::answer)?
    }

    fn write(&mut self, command: &[u8]) -> Result<(), String> {
        self.stream.send(command).map_err(|error| error.for_redis())
    }

    /// Waits for the next value that `next` finds in the bytes received.
    fn read<V>(
        &mut self,
        mut next: impl FnMut(&mut Reader, &mut &[u8]) -> Result<Option<V>, ProtocolError>,
    ) -> Result<V, String> {
        let mut buffer = [0; 4_096];
        loop {
            let len = match self.stream.receive(&mut buffer).map_err(|error| error.for_redis())? {
                0 => return Err("it has closed the connection".to_owned()),
                len => len,
            };
            match next(&mut self.reader, &mut &buffer[..len]) {
                Ok(None) => {}
                Ok(Some(value)) => return Ok(value),
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

/// The longest reply. Those to the commands sent here have a few dozen bytes, and a sentinel
/// describes a master in about a thousand.
const REPLY_BYTES: usize = 65_536;
/// The most servers of a Redis Cluster that one command is sent to. While a slot moves, two servers
/// may name each other.
const MOVES_MAX: usize = 5;
/// A sentinel's setting in its description of a master.
const DOWN_AFTER: &str = "down-after-milliseconds";
