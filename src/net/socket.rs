//! A client's socket, with or without TLS: reads into the event loop's buffer and writes an outbox.
//! The poller is edge-triggered, so the socket remembers its readiness. Listening sockets are in
//! `listen`.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;

use super::io::Received;
use super::tls::Tls;
use crate::hub::Outbox;

/// The socket of a connection.
pub(super) struct Socket {
    pub stream: TcpStream,
    /// The TLS session; `None` on a plain connection. Boxed, so that a plain one costs a pointer
    /// only.
    pub tls: Option<Box<Tls>>,
    /// Cleared by a short write or `EWOULDBLOCK`, set by the next writable event.
    pub writable: bool,
    /// Whether the poller reported that the client has closed its writing side. A short read must
    /// then be followed by another, which returns the end.
    pub read_closed: bool,
    /// Whether the connection is queued to continue its TLS handshake.
    pub queued: bool,
    /// Whether nothing more can be read: the client has closed its writing side, or the socket is
    /// broken.
    pub ended: bool,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, tls: Option<Box<Tls>>) -> Self {
        Socket { stream, tls, writable: true, read_closed: false, queued: false, ended: false }
    }

    /// Reads once; with TLS, until the buffer is full or no more input is available.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Received {
        if self.tls.is_some() {
            return self.receive_tls(buffer);
        }
        loop {
            return match self.stream.read(buffer) {
                Ok(0) => Received::End,
                // A short read emptied the socket. The poller reports the last bytes and the end as
                // one event, so the end must be read without another.
                Ok(len) => Received::Bytes { len, more: len == buffer.len() || self.read_closed },
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => continue,
                    io::ErrorKind::WouldBlock => Received::Nothing,
                    _ => Received::Broken,
                },
            };
        }
    }

    fn receive_tls(&mut self, buffer: &mut [u8]) -> Received {
        let Some(tls) = &mut self.tls else { return Received::Nothing };
        let was_handshaking = tls.is_handshaking();
        let received = tls.read(&mut self.stream, buffer, self.read_closed);
        // Handshake messages and alerts are sent at once; the hub does not know of them. If the
        // client has disconnected, the next read returns the error.
        if tls.wants_write() && self.writable {
            self.writable = matches!(tls.flush(&mut self.stream), Ok(true));
        }
        if was_handshaking && !tls.is_handshaking() && !tls.wants_write() {
            self.writable = true;
        }
        received
    }

    /// Whether encrypted bytes wait to be written. They are no longer in the outbox.
    pub(super) fn wants_write(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Whether the TLS handshake is not complete.
    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Closes the writing side once the encrypted bytes are written.
    pub(super) fn shutdown(&mut self) {
        match &mut self.tls {
            Some(tls) => tls.close(&mut self.stream, true),
            // This fails if the client has disconnected already.
            None => _ = self.stream.shutdown(Shutdown::Write),
        }
    }

    /// Writes about `bytes_max` of the outbox, with as many frames per system call as possible.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub(super) fn send(&mut self, outbox: &mut Outbox, bytes_max: usize) -> io::Result<()> {
        if self.writable && self.wants_write() {
            self.flush_tls()?;
        }
        let mut sent = 0;
        while self.writable && sent < bytes_max && !outbox.is_empty() {
            let result = match (outbox.only(), &mut self.tls) {
                // Most outboxes hold one frame, for which `write` is cheaper than `writev`.
                (Some(frame), None) => {
                    self.stream.write(frame).map(|written| (written, frame.len()))
                }
                (_, tls) => {
                    write_slices(&mut self.stream, tls.as_deref_mut(), outbox, bytes_max - sent)
                }
            };
            match result {
                Ok((written, offered)) => {
                    // The outbox may have been emptied while a TLS record was being written.
                    outbox.consume(written.min(outbox.bytes()));
                    sent += written;
                    // A short write means that the socket is full, and the poller reports when it
                    // is not. With TLS it means only that the record is full.
                    self.writable = written == offered || self.tls.is_some();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn flush_tls(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            self.writable = tls.flush(&mut self.stream)?;
        }
        Ok(())
    }
}

/// Writes many frames in one call. Returns how many bytes were written, and how many were offered.
fn write_slices(
    stream: &mut TcpStream,
    tls: Option<&mut Tls>,
    outbox: &Outbox,
    bytes_max: usize,
) -> io::Result<(usize, usize)> {
    let mut slices = [IoSlice::new(&[]); SLICES];
    let filled = outbox.slices(&mut slices, bytes_max);
    let slices = &slices[..filled];
    let written = match tls {
        Some(tls) => tls.write(stream, slices)?,
        None => stream.write_vectored(slices)?,
    };
    Ok((written, slices.iter().map(|slice| slice.len()).sum()))
}

/// The most frames in one system call. Sixteen frames in one call cost an eighth of sixteen calls;
/// more frames save little.
const SLICES: usize = 64;
