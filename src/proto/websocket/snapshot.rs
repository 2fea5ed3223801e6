//! Saves and restores the state of a [`Reader`]: incomplete frames and messages, with which the
//! successor of this process continues.

use tungstenite::protocol::frame::coding::OpCode;

use super::{Header, Partial, PartialFrame, Reader};
use crate::proto::snapshot::{Codec, DecodeError, DecodeResult};

impl Reader {
    /// Saves or restores the state. No item of this reader may be in use.
    ///
    /// # Errors
    ///
    /// The saved state is incomplete or invalid.
    pub fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        self.forget_handed_out();
        c.option(&mut self.partial, |c, partial| partial.snapshot(c))
    }
}

impl Partial {
    fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        let mut header = self.header[..self.header_len].to_vec();
        c.bytes(&mut header)?;
        self.header_len = header.len();
        self.header.get_mut(..header.len()).ok_or(DecodeError)?.copy_from_slice(&header);
        c.option(&mut self.frame, |c, frame| frame.snapshot(c))?;
        c.bytes(&mut self.control)?;
        let mut kind = self.message_kind.map(|kind| u8::from(OpCode::Data(kind)));
        c.option(&mut kind, Codec::int)?;
        self.message_kind = match kind.map(opcode) {
            None => None,
            Some(Ok(OpCode::Data(kind))) => Some(kind),
            Some(_) => return Err(DecodeError),
        };
        c.bytes(&mut self.message)?;
        c.flag(&mut self.is_compressed)?;
        c.int(&mut self.fragments)?;
        c.int(&mut self.utf8_len)?;
        if self.utf8_len > self.message.len() { Err(DecodeError) } else { Ok(()) }
    }
}

impl PartialFrame {
    fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        let PartialFrame { header, arrived } = self;
        let mut code = u8::from(header.opcode);
        c.int(&mut code)?;
        header.opcode = opcode(code)?;
        c.flag(&mut header.is_final)?;
        header.mask.iter_mut().try_for_each(|byte| c.int(byte))?;
        c.int(&mut header.payload_len)?;
        c.int(arrived)?;
        if *arrived > header.payload_len { Err(DecodeError) } else { Ok(()) }
    }
}

/// Checks the range first: the library panics on an opcode of more than four bits.
fn opcode(code: u8) -> Result<OpCode, DecodeError> {
    if code > 0xF { Err(DecodeError) } else { Ok(OpCode::from(code)) }
}

impl Default for PartialFrame {
    fn default() -> Self {
        let (opcode, is_final, is_compressed) = (OpCode::from(0), false, false);
        PartialFrame {
            header: Header { opcode, is_final, is_compressed, mask: [0; 4], payload_len: 0 },
            arrived: 0,
        }
    }
}
