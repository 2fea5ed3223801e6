//! One connected socket: reads into the loop's buffer, writes an outbox, and remembers what the
//! poller said, which says each thing once.

use std::io::{self, IoSlice, Read, Write};

use mio::net::TcpStream;

use crate::hub::Outbox;

/// What the loop keeps of a connection.
pub(super) struct Socket {
    pub stream: TcpStream,
    /// Whether it may be written to: until it was, and could not take all.
    pub writable: bool,
    /// Whether the poller said that the peer will send no more, so that a short read is not the
    /// end of what there is to read.
    pub read_closed: bool,
    /// Whether it waits to be read.
    pub queued: bool,
    /// Whether the end of what the peer sends was read.
    pub ended: bool,
}

/// What came of a read.
pub(super) enum Received {
    /// This many bytes; whether more may be there already.
    Bytes { len: usize, more: bool },
    /// Nothing for now.
    Nothing,
    /// The peer sends no more.
    End,
    /// The connection is broken.
    Broken,
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> Self {
        Socket { stream, writable: true, read_closed: false, queued: false, ended: false }
    }

    /// Reads once.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Received {
        loop {
            return match self.stream.read(buffer) {
                Ok(0) => Received::End,
                // A short read took all there was. Data and the end of it come as one event.
                Ok(len) => Received::Bytes { len, more: len == buffer.len() || self.read_closed },
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => continue,
                    io::ErrorKind::WouldBlock => Received::Nothing,
                    _ => Received::Broken,
                },
            };
        }
    }

    /// Writes what waits, up to about `bytes_max`, as many frames a call as there may be.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub(super) fn send(&mut self, outbox: &mut Outbox, bytes_max: usize) -> io::Result<()> {
        let mut sent = 0;
        while self.writable && sent < bytes_max && !outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = outbox.slices(&mut slices, bytes_max - sent);
            let offered: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
            match self.stream.write_vectored(&slices[..filled]) {
                Ok(written) => {
                    outbox.consume(written);
                    sent += written;
                    // A short write filled the socket; the poller says when there is room again.
                    self.writable = written == offered;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Frames in one call: sixteen cost an eighth of sixteen calls, more hardly less again.
const SLICES: usize = 64;
