//! WebSocket frames (RFC 6455 section 5) from bytes; those to bytes are in `frame`.
//!
//! A [`Reader`] turns what a client sends into whole messages and control frames. A frame that
//! lies whole in the input is unmasked in place and handed out without a copy; only what is
//! incomplete is kept, so a connection between two messages holds no buffer. Rules are enforced at
//! the first byte that breaks them: a message is refused by its header when it will be too long,
//! and at the first byte that cannot be UTF-8.

mod frame;
mod snapshot;

use std::io::Cursor;
use std::ops::Range;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

pub use frame::{Frame, binary, close, payload, ping, pong, text, text_of, text_start};

/// What a client has sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A whole text message.
    Text(&'a str),
    /// A whole binary message.
    Binary(&'a [u8]),
    /// A ping, to be answered with a pong of the same payload.
    Ping(&'a [u8]),
    /// A pong.
    Pong,
    /// A close frame: its code and reason; `None` when it had neither.
    Close(Option<(u16, &'a str)>),
}

/// A broken rule: what to close the connection with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// The close code (RFC 6455 section 7.4.1).
    pub code: u16,
    /// The reason, for the close frame and the log.
    pub reason: &'static str,
}

/// How long a message may be.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The payload of a message over all its fragments.
    pub message_bytes: usize,
    /// The number of frames of a message.
    pub fragments: u32,
    /// Whether binary messages are taken.
    pub binary: bool,
}

/// Reads the frames of one client, from bytes cut at any point.
#[derive(Debug, Default)]
pub struct Reader {
    partial: Option<Box<Partial>>,
}

/// What a reader holds of frames and messages that have not arrived whole.
#[derive(Debug, Default)]
struct Partial {
    /// The first bytes of a header; 14 is the longest there is.
    header: [u8; 14],
    header_len: usize,
    /// The frame whose payload is arriving.
    frame: Option<PartialFrame>,
    /// The payload of a control frame so far.
    control: Vec<u8>,
    /// The data message that has begun, if any; its opcode.
    message_kind: Option<Data>,
    message: Vec<u8>,
    fragments: u32,
    /// How much of a text message is known to be UTF-8.
    utf8_len: usize,
    /// The message or control payload was handed out and goes with the next call.
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

/// A header that broke no rule.
#[derive(Debug, Clone, Copy)]
struct Header {
    opcode: OpCode,
    is_final: bool,
    mask: [u8; 4],
    payload_len: usize,
}

/// Where a whole item lies; [`Reader::next`] makes it an [`Item`].
enum ItemLocation {
    Input(OpCode, Range<usize>),
    Control(Control),
    Message(Data),
}

impl Reader {
    /// The next item of `input` from `at` on, which moves behind what was read. `None` says that
    /// all of the input was taken and more is needed. The payload in `input` is unmasked in place.
    ///
    /// # Errors
    ///
    /// The first rule that was broken. Nothing may be read after that.
    pub fn next<'a>(
        &'a mut self,
        input: &'a mut [u8],
        at: &mut usize,
        bounds: Bounds,
    ) -> Result<Option<Item<'a>>, Violation> {
        self.forget_handed_out();
        let place = loop {
            let step = match &mut self.partial {
                None => self.read_whole(input, at, bounds)?,
                Some(partial) => partial.read(input, at, bounds)?,
            };
            match step {
                Step::Found(place) => break place,
                Step::Again => {}
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

    /// The fast path: no frame or message has begun.
    fn read_whole(
        &mut self,
        input: &mut [u8],
        at: &mut usize,
        bounds: Bounds,
    ) -> Result<Step, Violation> {
        if *at == input.len() {
            return Ok(Step::NeedMore);
        }
        let Some((header, header_len)) = parse_header(&input[*at..])? else {
            self.partial = Some(Box::default());
            return Ok(Step::Again);
        };
        let start = *at + header_len;
        let whole = input.len() - start >= header.payload_len;
        let single = header.is_final || matches!(header.opcode, OpCode::Control(_));
        if !whole || !single {
            self.partial = Some(Box::default());
            return Ok(Step::Again);
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
    Again,
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

    /// Takes header bytes one by one: a header that was cut is rare and short.
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
            if let Some((header, _)) = parse_header(&self.header[..self.header_len])? {
                self.header_len = 0;
                self.begin(header, bounds)?;
                self.frame = Some(PartialFrame { header, arrived: 0 });
                return Ok(Step::Again);
            }
        }
        Ok(Step::NeedMore)
    }

    /// Checks a data frame against the message it starts or goes on.
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
                    _ => Ok(Step::Again),
                }
            }
        }
    }

    /// Looks at what is new, with the up to three bytes of a character that was cut, so that the
    /// first wrong byte is told; the message is looked at once more when it is handed out.
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

/// What a whole payload is; checks what can only be checked when it is whole.
fn item(opcode: OpCode, payload: &[u8]) -> Result<Item<'_>, Violation> {
    match opcode {
        OpCode::Data(Data::Binary) => Ok(Item::Binary(payload)),
        OpCode::Data(_) => std::str::from_utf8(payload).map(Item::Text).map_err(|_| NOT_UTF8),
        OpCode::Control(Control::Ping) => Ok(Item::Ping(payload)),
        OpCode::Control(Control::Close) => close_item(payload),
        OpCode::Control(_) => Ok(Item::Pong),
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

/// Whether a close frame may carry this code: those of RFC 6455 section 7.4.1 that are not
/// reserved, those registered since (1012 to 1014), and those of libraries and applications.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// The header at the front of `bytes` and its length; `None` when it is not there whole.
fn parse_header(bytes: &[u8]) -> Result<Option<(Header, usize)>, Violation> {
    let mut cursor = Cursor::new(bytes);
    let (header, payload_len) = match FrameHeader::parse(&mut cursor) {
        Ok(Some(parsed)) => parsed,
        Ok(None) => return Ok(None),
        Err(_) => return Err(BAD_OPCODE),
    };
    if header.rsv1 || header.rsv2 || header.rsv3 {
        return Err(RESERVED_BITS);
    }
    let Some(mask) = header.mask else { return Err(UNMASKED) };
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
    if data == Data::Continue {
        return Err(NOTHING_TO_CONTINUE);
    }
    if data == Data::Binary && !bounds.binary {
        return Err(BINARY);
    }
    if payload_len > bounds.message_bytes {
        return Err(TOO_BIG);
    }
    Ok(())
}

/// Unmasks a piece of a payload that begins `offset` bytes into it (RFC 6455 section 5.3).
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
const UNMASKED: Violation = violation(1002, "frames of a client must be masked");
const BAD_CONTROL: Violation = violation(1002, "control frames are whole and at most 125 bytes");
const BAD_LENGTH: Violation = violation(1002, "frame length out of range");
const NOTHING_TO_CONTINUE: Violation = violation(1002, "continuation without a message");
const EXPECTED_CONTINUATION: Violation = violation(1002, "new message inside a fragmented one");
const BAD_CLOSE_CODE: Violation = violation(1002, "invalid close code");
const BINARY: Violation = violation(1003, "only text is spoken here");
const NOT_UTF8: Violation = violation(1007, "text is not UTF-8");
const REASON_NOT_UTF8: Violation = violation(1007, "close reason is not UTF-8");
/// A message is longer than [`Bounds::message_bytes`].
pub const TOO_BIG: Violation = violation(1009, "message too big");
/// A message has more frames than [`Bounds::fragments`].
pub const TOO_MANY_FRAMES: Violation = violation(1009, "message of too many frames");

const fn violation(code: u16, reason: &'static str) -> Violation {
    Violation { code, reason }
}

#[cfg(test)]
mod tests;
