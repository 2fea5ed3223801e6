//! One connected socket, with or without TLS: reads into the loop's buffer, writes an outbox, and
//! remembers what the poller said, which says each thing once.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;

use super::io::Received;
use super::tls::Tls;
use crate::hub::Outbox;

/// What the loop keeps of a connection.
pub(super) struct Socket {
    pub stream: TcpStream,
    /// The session on it; a plain connection pays a pointer for it and one look a call.
    pub tls: Option<Box<Tls>>,
    /// Whether it may be written to: until it was, and could not take all.
    pub writable: bool,
    /// Whether the poller said that the peer will send no more, so that a short read is not the
    /// end of what there is to read.
    pub read_closed: bool,
    /// Whether the connection is queued to continue its TLS handshake.
    pub queued: bool,
    /// Whether nothing more can be read: the peer has ended its stream, or the socket is broken.
    pub ended: bool,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, tls: Option<Box<Tls>>) -> Self {
        Socket { stream, tls, writable: true, read_closed: false, queued: false, ended: false }
    }

    /// Reads once, or with TLS as often as it takes to fill the buffer.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Received {
        if self.tls.is_some() {
            return self.receive_tls(buffer);
        }
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

    fn receive_tls(&mut self, buffer: &mut [u8]) -> Received {
        let Some(tls) = &mut self.tls else { return Received::Nothing };
        let was_handshaking = tls.is_handshaking();
        let received = tls.read(&mut self.stream, buffer, self.read_closed);
        // What the session itself has to say, which the hub knows nothing of, goes at once. If
        // the client has gone, the next read finds that out.
        if tls.wants_write() && self.writable {
            self.writable = matches!(tls.flush(&mut self.stream), Ok(true));
        }
        if was_handshaking && !tls.is_handshaking() && !tls.wants_write() {
            self.writable = true;
        }
        received
    }

    /// Whether something waits to be written that is in no outbox.
    pub(super) fn wants_write(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Whether the client has yet to prove that it speaks TLS.
    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Closes the writing side, behind what waits.
    pub(super) fn shutdown(&mut self) {
        match &mut self.tls {
            Some(tls) => tls.close(&mut self.stream, true),
            // A peer that has gone already cannot be told so.
            None => _ = self.stream.shutdown(Shutdown::Write),
        }
    }

    /// Writes what waits, up to about `bytes_max`, as many frames a call as there may be.
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
                // The plain call costs the kernel less, and mostly there is one frame.
                (Some(frame), None) => {
                    self.stream.write(frame).map(|written| (written, frame.len()))
                }
                (_, tls) => {
                    write_slices(&mut self.stream, tls.as_deref_mut(), outbox, bytes_max - sent)
                }
            };
            match result {
                Ok((written, offered)) => {
                    // What was on its way when the outbox was emptied is not in it any more.
                    outbox.consume(written.min(outbox.bytes()));
                    sent += written;
                    // A short write filled the socket; the poller says when there is room again.
                    // With TLS it filled a record.
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

/// Writes what waits in many frames in one call. Returns how much was taken of how much was offered.
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

/// Frames in one call: sixteen cost an eighth of sixteen calls, more hardly less again.
const SLICES: usize = 64;
