//! One request and its response on an open connection. How the connection is opened is in
//! `http_client`.

use std::io::{self, IoSlice};
use std::rc::Rc;

use super::RequestError;
use crate::net::io::Answer;
use crate::net::stream::Stream;
use crate::proto::http::ResponseReader;

/// A request, ready to be written. If it is empty, the connection is only opened.
pub(in crate::net) struct Request {
    pub head: Vec<u8>,
    pub body: Rc<[u8]>,
    /// How many bytes of the body of the response are kept.
    pub kept_max: usize,
    /// Whether enough of the response has arrived before its end.
    pub is_enough: fn(&ResponseReader) -> bool,
    pub timeout_ms: u64,
}

/// A request under way.
pub(super) struct Exchange {
    pub request: Request,
    /// The bytes of the head and the body that were written or encrypted.
    written: usize,
    /// Whether writing failed. The server may have responded before that.
    write_error: Option<String>,
    pub reader: ResponseReader,
    /// Whether the request is sent on a connection that was kept. The server may have closed it at
    /// the same moment.
    pub is_reused: bool,
    pub deadline_ms: u64,
}

impl Exchange {
    pub(super) fn new(request: Request, is_reused: bool, deadline_ms: u64) -> Self {
        let reader = ResponseReader::new(request.kept_max);
        Exchange { request, written: 0, write_error: None, reader, is_reused, deadline_ms }
    }

    /// Begins again, for a new connection.
    pub(super) fn restart(&mut self) {
        (self.is_reused, self.written, self.write_error) = (false, 0, None);
    }

    /// Whether the whole request was written or encrypted.
    pub(super) fn is_written(&self) -> bool {
        self.written == self.request.len()
    }

    /// Whether the connection can be used for another request, once this one is complete.
    pub(super) fn keeps_connection(&self) -> bool {
        self.reader.keeps_alive() && self.is_written()
    }

    /// Writes the request and reads the response, as far as possible without blocking. Returns
    /// whether it is complete.
    pub(super) fn proceed(
        &mut self,
        stream: &mut Stream,
        buffer: &mut [u8],
    ) -> Result<bool, RequestError> {
        if self.request.len() == 0 {
            return Ok(true);
        }
        self.write(stream);
        for _ in 0..READS {
            if !stream.readable {
                break;
            }
            match stream.read(buffer)? {
                Answer::Nothing => break,
                Answer::Bytes(len) => {
                    self.reader.receive(&buffer[..len]).map_err(RequestError::new)?;
                    if self.reader.is_done() || (self.request.is_enough)(&self.reader) {
                        return Ok(true);
                    }
                }
                Answer::End => {
                    let Err(why) = self.reader.end() else { return Ok(true) };
                    return Err(RequestError::new(self.write_error.take().unwrap_or(why)));
                }
            }
        }
        match &self.write_error {
            // Nothing more arrives on a broken connection.
            Some(why) if !stream.readable => Err(RequestError::new(why.as_str())),
            _ => Ok(false),
        }
    }

    /// Writes as much as the socket takes. An error is kept, because the response may explain it.
    fn write(&mut self, stream: &mut Stream) {
        while stream.writable && self.write_error.is_none() {
            let rest = self.request.rest(self.written);
            if rest.iter().all(|slice| slice.is_empty()) && !stream.wants_write() {
                return;
            }
            match stream.write(&rest) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    self.write_error = Some(error.to_string());
                    stream.readable = true;
                }
            }
        }
    }
}

impl Request {
    fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// What follows after this many bytes.
    fn rest(&self, written: usize) -> [IoSlice<'_>; 2] {
        let of_head = written.min(self.head.len());
        let of_body = (written - of_head).min(self.body.len());
        [IoSlice::new(&self.head[of_head..]), IoSlice::new(&self.body[of_body..])]
    }
}

/// The most reads of one connection in a turn, 64 KiB each: a whole response of usual size.
const READS: usize = 4;
