//! What stands in place of `resp` in a build without Redis. The hub's session with Redis compiles,
//! but never gets a socket: the configuration is refused before there is a hub.

/// Something Redis says.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// A message on a channel this connection is subscribed to.
    Message(Vec<u8>),
    /// This connection is subscribed.
    Subscribed,
    /// The answer to a command, in the order of the commands.
    Reply,
    /// The answer to a command that is a number: for PUBLISH, the subscribers it reached.
    Number(i64),
    /// The answer to HELLO, if it contains the role of the server.
    Greeting(Greeting),
    /// The answer to a command that failed, as Redis words it.
    Failed(String),
    /// A message that was longer than allowed. All but the beginning of its text was skipped.
    TooLong {
        /// The length of the whole message.
        bytes: u64,
        /// The beginning of its text.
        head: Vec<u8>,
    },
    /// Something that was not asked for and does not matter.
    Other,
}

/// The role of a server, as it reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Greeting {
    /// Whether the server is a replica of a master.
    pub is_replica: bool,
    /// Whether it is part of a Redis Cluster, which delivers a message published at any server to
    /// the subscribers at all of them.
    pub is_cluster: bool,
}

/// Why what came cannot be Redis, or is more of it than allowed.
#[derive(Debug, PartialEq, Eq)]
pub enum Broken {
    /// Not its protocol.
    Garbage,
    /// An answer longer than this many bytes.
    TooLong(usize),
}

/// Reads nothing.
pub struct Reader;

impl Reader {
    /// A reader; the bound has no effect.
    pub fn new(_bytes_max: usize) -> Self {
        Reader
    }

    /// Has no effect.
    pub fn set_bytes_max(&mut self, _bytes_max: usize) {}

    /// The connection is of no use.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn next(&mut self, _bytes: &mut &[u8]) -> Result<Option<Said>, Broken> {
        Err(Broken::Garbage)
    }
}

/// A command as bytes: none.
pub fn command(_words: &[&[u8]]) -> Vec<u8> {
    Vec::new()
}
