//! The settings of the compression of WebSocket messages (permessage-deflate).

/// `servers.reverb.compression`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// Whether clients may negotiate it. `REVERB_SERVER_COMPRESSION`.
    pub enabled: bool,
    /// Messages of fewer bytes are not compressed. `REVERB_SERVER_COMPRESSION_MINIMUM`.
    pub minimum_bytes: usize,
    /// The effort, from 1 to 9. `REVERB_SERVER_COMPRESSION_LEVEL`.
    pub level: u8,
    /// An event for fewer subscribers that negotiated compression is not compressed.
    /// `REVERB_SERVER_COMPRESSION_SUBSCRIBERS`.
    pub subscribers: u32,
    /// Whether Safari and the other clients with Apple's engine may negotiate it.
    /// `REVERB_SERVER_COMPRESSION_SAFARI`.
    pub safari: bool,
}

impl Default for Compression {
    fn default() -> Self {
        Compression {
            enabled: true,
            // A shorter frame mostly fits into the packet that is sent anyway.
            minimum_bytes: 1_024,
            // Level 6 makes an eighth less of an event of 2 KB, and takes twice the time.
            level: 1,
            // To compress an event for one client costs more than to send it. Most events of a Laravel
            // app are for one user.
            subscribers: 2,
            // Several versions lose the end of compressed messages.
            safari: false,
        }
    }
}
