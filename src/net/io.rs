//! Types shared by all kinds of sockets: the results of a read, and the trait for the socket under
//! a TLS session. The sockets are in other files.

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

/// The result of a read on a connection that this process opened as a client.
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
