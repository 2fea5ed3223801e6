//! Decodes WebSocket frames (RFC 6455 section 5); `frame` encodes them.
//!
//! A [`Reader`] turns the bytes of a peer into complete messages and control frames. A frame that
//! is complete in the input is unmasked in place and returned without a copy. Only incomplete
//! frames and messages are stored, so a reader holds no buffer between two messages. Violations are
//! detected at the first possible byte: a message that will be too long at its header, invalid
//! UTF-8 at the first wrong byte. A compressed message is stored until it is complete: `deflate`
//! decompresses it.

#[cfg(feature = "deflate")]
mod deflate;
#[cfg(not(feature = "deflate"))]
#[path = "websocket/no_deflate.rs"]
mod deflate;
mod extensions;
mod frame;
mod header;
mod snapshot;
mod violation;

use std::ops::Range;

use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

pub use deflate::{Deflater, Inflated, Inflater};
pub use extensions::{DEFLATE, offers_deflate};
pub use frame::{Frame, binary, close, masked, payload, ping, pong, text, text_of, text_start};
pub use header::Bounds;
use header::{Header, check_start, parse_header, unmask};
use violation::{
    BAD_CLOSE_CODE, BAD_OPCODE, EXPECTED_CONTINUATION, NOT_UTF8, NOTHING_TO_CONTINUE,
    REASON_NOT_UTF8,
};
pub use violation::{TOO_BIG, TOO_MANY_FRAMES, Violation};

/// A message or control frame of a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A complete text message.
    Text(&'a str),
    /// A complete binary message.
    Binary(&'a [u8]),
    /// A ping, which needs a pong with the same payload.
    Ping(&'a [u8]),
    /// A pong.
    Pong,
    /// A close frame with its code and reason; `None` if it has no payload.
    Close(Option<(u16, &'a str)>),
}

/// Decodes the frames of one peer, split at any point.
#[derive(Debug, Default)]
pub struct Reader {
    partial: Option<Box<Partial>>,
}

/// The incomplete frame and message of a reader.
#[derive(Debug, Default)]
struct Partial {
    /// The first bytes of a header; the longest header has 14.
    header: [u8; 14],
    header_len: usize,
    /// The frame whose payload is arriving.
    frame: Option<PartialFrame>,
    /// The payload of a control frame so far.
    control: Vec<u8>,
    /// The opcode of the current data message, if there is one.
    message_kind: Option<Data>,
    /// Its payload so far; compressed, if it is.
    message: Vec<u8>,
    is_compressed: bool,
    fragments: u32,
    /// The length of the part of a text message that is checked to be UTF-8.
    utf8_len: usize,
    /// The payload that the last call returned; the next call drops it.
    handed_out: Option<HandedOut>,
}

#[derive(Debug, Clone, Copy)]
enum HandedOut {
    Control,
    Message,
}

#[derive(Debug, Clone, Copy)]
struct PartialFrame {
    header: Header,
    /// Bytes of the payload that have arrived.
    arrived: usize,
}

/// Where the payload of an item is; [`Reader::next`] turns it into an [`Item`].
enum ItemLocation {
    Input(OpCode, Range<usize>),
    Control(Control),
    Message(Data),
}

impl Reader {
    /// The next item of `input` from `at` on; `at` advances past the bytes that were read. `None` if
    /// all input was read and the item is incomplete. Payloads in `input` are unmasked in place; a
    /// compressed message is decompressed by `inflater`.
    ///
    /// # Errors
    ///
    /// The first violation. The reader must not be used after it.
    pub fn next<'a>(
        &'a mut self,
        input: &'a mut [u8],
        at: &mut usize,
        bounds: Bounds,
        inflater: &mut Inflater,
    ) -> Result<Option<Item<'a>>, Violation> {
        self.forget_handed_out();
        let place = loop {
            let step = match &mut self.partial {
                None => self.read_complete(input, at, bounds, inflater)?,
                Some(partial) => partial.read(input, at, bounds, inflater)?,
            };
            match step {
                Step::Found(place) => break place,
                Step::Continue => {}
                Step::NeedMore => return Ok(None),
            }
        };
        let partial = self.partial.as_deref();
        match place {
            ItemLocation::Input(opcode, range) => item(opcode, &input[range]).map(Some),
            ItemLocation::Control(control) => {
                let payload = partial.map_or(&[][..], |p| &p.control);
                item(OpCode::Control(control), payload).map(Some)
            }
            ItemLocation::Message(data) => {
                let payload = partial.map_or(&[][..], |p| &p.message);
                item(OpCode::Data(data), payload).map(Some)
            }
        }
    }

    /// The fast path, without an incomplete frame or message.
    fn read_complete(
        &mut self,
        input: &mut [u8],
        at: &mut usize,
        bounds: Bounds,
        inflater: &mut Inflater,
    ) -> Result<Step, Violation> {
        if *at == input.len() {
            return Ok(Step::NeedMore);
        }
        let Some((header, header_len)) = parse_header(&input[*at..], bounds)? else {
            self.partial = Some(Box::default());
            return Ok(Step::Continue);
        };
        let start = *at + header_len;
        let whole = input.len() - start >= header.payload_len;
        let single = header.is_final || matches!(header.opcode, OpCode::Control(_));
        if !whole || !single {
            self.partial = Some(Box::default());
            return Ok(Step::Continue);
        }
        if let OpCode::Data(data) = header.opcode {
            check_start(data, header, bounds)?;
        }
        let range = start..start + header.payload_len;
        unmask(&mut input[range.clone()], header.mask, 0);
        *at = range.end;
        if let OpCode::Data(kind) = header.opcode
            && header.is_compressed
        {
            let message = inflater.inflate(&input[range], bounds.message_bytes)?;
            let handed_out = Some(HandedOut::Message);
            self.partial = Some(Box::new(Partial { message, handed_out, ..Partial::default() }));
            return Ok(Step::Found(ItemLocation::Message(kind)));
        }
        Ok(Step::Found(ItemLocation::Input(header.opcode, range)))
    }

    fn forget_handed_out(&mut self) {
        let Some(partial) = &mut self.partial else { return };
        match partial.handed_out.take() {
            Some(HandedOut::Message) => self.partial = None,
            Some(HandedOut::Control) if partial.message_kind.is_none() => self.partial = None,
            Some(HandedOut::Control) => partial.control = Vec::new(),
            None => {}
        }
    }
}

enum Step {
    Found(ItemLocation),
    Continue,
    NeedMore,
}

impl Partial {
    fn read(
        &mut self,
        input: &mut [u8],
        at: &mut usize,
        bounds: Bounds,
        inflater: &mut Inflater,
    ) -> Result<Step, Violation> {
        if *at == input.len() && self.frame.is_none_or(|f| f.arrived < f.header.payload_len) {
            return Ok(Step::NeedMore);
        }
        match self.frame {
            None => self.read_header(input, at, bounds),
            Some(frame) => self.read_payload(frame, input, at, bounds, inflater),
        }
    }

    /// Reads the header byte by byte: a split header is rare and short.
    fn read_header(
        &mut self,
        input: &[u8],
        at: &mut usize,
        bounds: Bounds,
    ) -> Result<Step, Violation> {
        while *at < input.len() {
            self.header[self.header_len] = input[*at];
            self.header_len += 1;
            *at += 1;
            if let Some((header, _)) = parse_header(&self.header[..self.header_len], bounds)? {
                self.header_len = 0;
                self.begin(header, bounds)?;
                self.frame = Some(PartialFrame { header, arrived: 0 });
                return Ok(Step::Continue);
            }
        }
        Ok(Step::NeedMore)
    }

    /// Checks a data frame against the message that it starts or continues.
    fn begin(&mut self, header: Header, bounds: Bounds) -> Result<(), Violation> {
        let OpCode::Data(data) = header.opcode else { return Ok(()) };
        match (data, self.message_kind) {
            (Data::Continue, Some(_)) => {}
            (_, Some(_)) => return Err(EXPECTED_CONTINUATION),
            (_, None) => {
                check_start(data, header, bounds)?;
                self.message_kind = Some(data);
                self.is_compressed = header.is_compressed;
            }
        }
        self.fragments += 1;
        let fits = self.message.len().checked_add(header.payload_len);
        if fits.is_none_or(|len| len > bounds.payload_bytes(self.is_compressed)) {
            return Err(TOO_BIG);
        }
        if self.fragments > bounds.fragments {
            return Err(TOO_MANY_FRAMES);
        }
        Ok(())
    }

    fn read_payload(
        &mut self,
        mut frame: PartialFrame,
        input: &mut [u8],
        at: &mut usize,
        bounds: Bounds,
        inflater: &mut Inflater,
    ) -> Result<Step, Violation> {
        let header = frame.header;
        let len = (header.payload_len - frame.arrived).min(input.len() - *at);
        let piece = &mut input[*at..*at + len];
        unmask(piece, header.mask, frame.arrived);
        *at += len;
        frame.arrived += len;
        let ended = frame.arrived == header.payload_len;
        self.frame = (!ended).then_some(frame);
        match header.opcode {
            OpCode::Control(control) => {
                self.control.extend_from_slice(piece);
                if !ended {
                    return Ok(Step::NeedMore);
                }
                self.handed_out = Some(HandedOut::Control);
                Ok(Step::Found(ItemLocation::Control(control)))
            }
            OpCode::Data(_) => {
                self.message.extend_from_slice(piece);
                self.check_utf8(ended && header.is_final)?;
                match self.message_kind {
                    Some(kind) if ended && header.is_final => {
                        if self.is_compressed {
                            self.message = inflater.inflate(&self.message, bounds.message_bytes)?;
                        }
                        self.handed_out = Some(HandedOut::Message);
                        Ok(Step::Found(ItemLocation::Message(kind)))
                    }
                    _ => Ok(Step::Continue),
                }
            }
        }
    }

    /// Checks the new bytes, and up to three bytes of a split character before them, so that the
    /// first wrong byte is detected. The complete message is checked again when it is returned; a
    /// compressed one is checked only then.
    fn check_utf8(&mut self, ended: bool) -> Result<(), Violation> {
        if self.message_kind != Some(Data::Text) || self.is_compressed {
            return Ok(());
        }
        match std::str::from_utf8(&self.message[self.utf8_len..]) {
            Ok(_) => self.utf8_len = self.message.len(),
            Err(error) if error.error_len().is_none() && !ended => {
                self.utf8_len += error.valid_up_to();
            }
            Err(_) => return Err(NOT_UTF8),
        }
        Ok(())
    }
}

/// Turns a complete payload into an item, and makes the checks that need a complete payload.
fn item(opcode: OpCode, payload: &[u8]) -> Result<Item<'_>, Violation> {
    match opcode {
        OpCode::Data(Data::Text) => {
            std::str::from_utf8(payload).map(Item::Text).map_err(|_| NOT_UTF8)
        }
        OpCode::Data(Data::Binary) => Ok(Item::Binary(payload)),
        OpCode::Data(Data::Continue) => Err(NOTHING_TO_CONTINUE),
        OpCode::Control(Control::Ping) => Ok(Item::Ping(payload)),
        OpCode::Control(Control::Pong) => Ok(Item::Pong),
        OpCode::Control(Control::Close) => close_item(payload),
        OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)) => Err(BAD_OPCODE),
    }
}

fn close_item(payload: &[u8]) -> Result<Item<'_>, Violation> {
    match payload {
        [] => Ok(Item::Close(None)),
        [_] => Err(BAD_CLOSE_CODE),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !may_be_sent(code) {
                return Err(BAD_CLOSE_CODE);
            }
            let reason = std::str::from_utf8(reason).map_err(|_| REASON_NOT_UTF8)?;
            Ok(Item::Close(Some((code, reason))))
        }
    }
}

/// Whether a close frame may have this code: the codes of RFC 6455 section 7.4.1 that are not
/// reserved, the codes registered later (1012 to 1014), and those for libraries and applications.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests;
