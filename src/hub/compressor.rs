//! What all connections share to compress and decompress messages: about 330 KB, from the first of these
//! messages on. Which events are compressed is decided in `connections::compression`.

use crate::config::Compression;
use crate::proto::websocket::{Deflater, Inflater};

/// The compression of all connections.
pub(crate) struct Compressor {
    pub settings: Compression,
    /// How many connections have negotiated compression.
    pub clients: u32,
    pub inflater: Inflater,
    pub deflater: Deflater,
}

impl Compressor {
    pub(crate) fn new(settings: Compression) -> Self {
        let deflater = Deflater::new(settings.level);
        Compressor { settings, clients: 0, inflater: Inflater::default(), deflater }
    }
}
