//! What sockets of all kinds share: the result of a read, and what a TLS client needs of the socket
//! below it. No socket lives here.

use std::io;

/// The result of a read from a client.
pub(super) enum Received {
    /// This many bytes; `more` if the socket may have further bytes already.
    Bytes { len: usize, more: bool },
    /// Nothing for now.
    Nothing,
    /// The client has closed its writing side.
    End,
    /// The connection is broken.
    Broken,
    /// The client sent plain HTTP to a port that speaks TLS. Its bytes have not been read.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "only TLS sessions find this"))]
    NotTls,
}

/// The result of a read from a server to which this process is the client.
#[cfg_attr(
    not(any(feature = "tls", feature = "redis")),
    expect(dead_code, reason = "only TLS sessions and Redis are read like this")
)]
pub(super) enum Answer {
    /// This many bytes.
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// The server has closed the connection.
    End,
}

/// A socket that is read and written.
pub(super) trait Duplex: io::Read + io::Write + Send {}

impl<T: io::Read + io::Write + Send> Duplex for T {}
