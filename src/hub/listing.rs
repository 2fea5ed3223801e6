//! The state of a channel list that is being sent in pieces. The pieces are written in
//! `api/listing.rs`.

use super::channel_info::Info;
use crate::proto::snapshot::{Codec, DecodeResult};
use crate::proto::websocket::Frame;

/// A list that is being sent, and the position in it.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub app: u32,
    /// The next place to visit in the app's slab of channels.
    pub place: usize,
    /// The prefix of the names that are listed; empty for all.
    pub prefix: String,
    pub info: Info,
    /// Whether a channel was written already, so that a comma precedes the next.
    pub has_entries: bool,
    /// Whether the body is chunked. For HTTP/1.0 it is not, and closing the connection ends it.
    pub is_chunked: bool,
    /// Whether the connection is kept alive after the list.
    pub keeps_alive: bool,
}

impl Listing {
    /// Encodes a piece of the body, as a chunk if the body is chunked.
    pub(crate) fn frame(&self, piece: String, is_last: bool) -> Frame {
        match (self.is_chunked, is_last) {
            (true, false) => format!("{:x}\r\n{piece}\r\n", piece.len()).into_bytes().into(),
            (true, true) => {
                format!("{:x}\r\n{piece}\r\n0\r\n\r\n", piece.len()).into_bytes().into()
            }
            (false, _) => piece.into_bytes().into(),
        }
    }

    /// Encodes or decodes it, depending on the direction of `c`. The caller converts `place` to the
    /// number of channels before it, because the restoring hub assigns other places.
    pub(crate) fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        c.int(&mut self.app)?;
        c.int(&mut self.place)?;
        c.text(&mut self.prefix)?;
        self.info.snapshot(c)?;
        let flags = [&mut self.has_entries, &mut self.is_chunked, &mut self.keeps_alive];
        flags.into_iter().try_for_each(|flag| c.flag(flag))
    }
}

/// The beginning and the end of the body.
pub(crate) const START: &str = r#"{"channels":{"#;
pub(crate) const END: &str = "}}";
