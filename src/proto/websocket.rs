//! Decodes WebSocket frames (RFC 6455 section 5); `frame` encodes them.
//!
//! A [`Reader`] turns the bytes of a peer into complete messages and control frames. A frame that
//! is complete in the input is unmasked in place and returned without a copy. Only incomplete
//! frames and messages are stored, so a reader holds no buffer between two messages. Violations are
//! detected at the first possible byte: a message that will be too long at its header, invalid
//! UTF-8 at the first wrong byte.

mod frame;
mod snapshot;

use std::io::Cursor;
use std::ops::Range;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

pub use frame::{Frame, binary, close, masked, payload, ping, pong, text, text_of, text_start};

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

/// A violation of the protocol, with the close code and reason for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// The close code (RFC 6455 section 7.4.1).
    pub code: u16,
    /// The reason, for the close frame and the log.
    pub reason: &'static str,
}

/// The limits of messages.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The most bytes of a message, over all its frames.
    pub message_bytes: usize,
    /// The most frames of a message.
    pub fragments: u32,
    /// Whether binary messages are accepted.
    pub binary: bool,
    /// Whether the peer is a client, which masks its frames; a server must not (RFC 6455 section 5.1).
    pub masked: bool,
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
    message: Vec<u8>,
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

/// A valid header.
#[derive(Debug, Clone, Copy)]
struct Header {
    opcode: OpCode,
    is_final: bool,
    mask: [u8; 4],
    payload_len: usize,
}

/// Where the payload of an item is; [`Reader::next`] turns it into an [`Item`].
enum ItemLocation {
    Input(OpCode, Range<usize>),
    Control(Control),
    Message(Data),
}

impl Reader {
    /// The next item of `input` from `at` on; `at` advances past the bytes that were read. `None` if
    /// all input was read and the item is incomplete. Payloads in `input` are unmasked in place.
    ///
    /// # Errors
    ///
    /// The first violation. The reader must not be used after it.
    pub fn next<'a>(
        &'a mut self,
        input: &'a mut [u8],
        at: &mut usize,
        bounds: Bounds,
    ) -> Result<Option<Item<'a>>, Violation> {
        self.forget_handed_out();
        let place = loop {
            let step = match &mut self.partial {
                None => self.read_complete(input, at, bounds)?,
                Some(partial) => partial.read(input, at, bounds)?,
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
            check_start(data, header.payload_len, bounds)?;
        }
        let range = start..start + header.payload_len;
        unmask(&mut input[range.clone()], header.mask, 0);
        *at = range.end;
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
    ) -> Result<Step, Violation> {
        if *at == input.len() && self.frame.is_none_or(|f| f.arrived < f.header.payload_len) {
            return Ok(Step::NeedMore);
        }
        match self.frame {
            None => self.read_header(input, at, bounds),
            Some(frame) => self.read_payload(frame, input, at),
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
                check_start(data, header.payload_len, bounds)?;
                self.message_kind = Some(data);
            }
        }
        self.fragments += 1;
        let fits = self.message.len().checked_add(header.payload_len);
        if fits.is_none_or(|len| len > bounds.message_bytes) {
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
                        self.handed_out = Some(HandedOut::Message);
                        Ok(Step::Found(ItemLocation::Message(kind)))
                    }
                    _ => Ok(Step::Continue),
                }
            }
        }
    }

    /// Checks the new bytes, and up to three bytes of a split character before them, so that the
    /// first wrong byte is detected. The complete message is checked again when it is returned.
    fn check_utf8(&mut self, ended: bool) -> Result<(), Violation> {
        if self.message_kind != Some(Data::Text) {
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

/// The header at the beginning of `bytes`, and its length; `None` if it is incomplete.
fn parse_header(bytes: &[u8], bounds: Bounds) -> Result<Option<(Header, usize)>, Violation> {
    let mut cursor = Cursor::new(bytes);
    let (header, payload_len) = match FrameHeader::parse(&mut cursor) {
        Ok(Some(parsed)) => parsed,
        Ok(None) => return Ok(None),
        Err(_) => return Err(BAD_OPCODE),
    };
    if header.rsv1 || header.rsv2 || header.rsv3 {
        return Err(RESERVED_BITS);
    }
    let mask = match (header.mask, bounds.masked) {
        (Some(mask), true) => mask,
        (None, true) => return Err(UNMASKED),
        // This mask changes nothing.
        (None, false) => [0; 4],
        (Some(_), false) => return Err(MASKED),
    };
    let control = matches!(header.opcode, OpCode::Control(_));
    if control && (!header.is_final || payload_len > 125) {
        return Err(BAD_CONTROL);
    }
    if payload_len >> 63 != 0 {
        return Err(BAD_LENGTH);
    }
    let payload_len = usize::try_from(payload_len).map_err(|_| TOO_BIG)?;
    let (opcode, is_final) = (header.opcode, header.is_final);
    let header_len = usize::try_from(cursor.position()).map_err(|_| TOO_BIG)?;
    Ok(Some((Header { opcode, is_final, mask, payload_len }, header_len)))
}

/// Checks the first frame of a message.
fn check_start(data: Data, payload_len: usize, bounds: Bounds) -> Result<(), Violation> {
    match data {
        Data::Continue => return Err(NOTHING_TO_CONTINUE),
        Data::Reserved(_) => return Err(BAD_OPCODE),
        Data::Binary if !bounds.binary => return Err(BINARY),
        Data::Text | Data::Binary => {}
    }
    if payload_len > bounds.message_bytes {
        return Err(TOO_BIG);
    }
    Ok(())
}

/// Unmasks the piece of a payload that begins at `offset` (RFC 6455 section 5.3).
fn unmask(piece: &mut [u8], mut mask: [u8; 4], offset: usize) {
    mask.rotate_left(offset % 4);
    let word = u32::from_ne_bytes(mask);
    let mut words = piece.chunks_exact_mut(4);
    for bytes in &mut words {
        let plain = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) ^ word;
        bytes.copy_from_slice(&plain.to_ne_bytes());
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(mask) {
        *byte ^= key;
    }
}

const BAD_OPCODE: Violation = violation(1002, "reserved opcode");
const RESERVED_BITS: Violation = violation(1002, "reserved bits set without an extension");
const UNMASKED: Violation = violation(1002, "client frames must be masked");
const MASKED: Violation = violation(1002, "server frames must not be masked");
const BAD_CONTROL: Violation = violation(1002, "control frame fragmented or longer than 125 bytes");
const BAD_LENGTH: Violation = violation(1002, "frame length out of range");
const NOTHING_TO_CONTINUE: Violation = violation(1002, "continuation without a message");
const EXPECTED_CONTINUATION: Violation = violation(1002, "new message inside a fragmented one");
const BAD_CLOSE_CODE: Violation = violation(1002, "invalid close code");
const BINARY: Violation = violation(1003, "binary messages are not supported");
const NOT_UTF8: Violation = violation(1007, "text is not UTF-8");
const REASON_NOT_UTF8: Violation = violation(1007, "close reason is not UTF-8");
/// A message is longer than [`Bounds::message_bytes`].
pub const TOO_BIG: Violation = violation(1009, "message too big");
/// A message has more frames than [`Bounds::fragments`].
pub const TOO_MANY_FRAMES: Violation = violation(1009, "message has too many frames");

const fn violation(code: u16, reason: &'static str) -> Violation {
    Violation { code, reason }
}

#[cfg(test)]
mod tests;
