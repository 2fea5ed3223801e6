//! Why a message or frame is rejected. The checks are in `websocket` and `deflate`.

/// A violation of the protocol, with the close code and reason for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// The close code (RFC 6455 section 7.4.1).
    pub code: u16,
    /// The reason, for the close frame and the log.
    pub reason: &'static str,
}

pub(super) const BAD_OPCODE: Violation = violation(1002, "reserved opcode");
pub(super) const RESERVED_BITS: Violation =
    violation(1002, "reserved bits set without an extension");
pub(super) const UNMASKED: Violation = violation(1002, "client frames must be masked");
pub(super) const MASKED: Violation = violation(1002, "server frames must not be masked");
pub(super) const BAD_CONTROL: Violation =
    violation(1002, "control frame fragmented or longer than 125 bytes");
pub(super) const BAD_LENGTH: Violation = violation(1002, "frame length out of range");
pub(super) const NOTHING_TO_CONTINUE: Violation = violation(1002, "continuation without a message");
pub(super) const EXPECTED_CONTINUATION: Violation =
    violation(1002, "new message inside a fragmented one");
pub(super) const BAD_CLOSE_CODE: Violation = violation(1002, "invalid close code");
pub(super) const BINARY: Violation = violation(1003, "binary messages are not supported");
pub(super) const NOT_UTF8: Violation = violation(1007, "text is not UTF-8");
pub(super) const REASON_NOT_UTF8: Violation = violation(1007, "close reason is not UTF-8");
#[cfg(feature = "deflate")]
pub(super) const BAD_DEFLATE: Violation = violation(1007, "compressed data is invalid");
/// The client negotiated compression with another binary. It connects again, without compression.
#[cfg(not(feature = "deflate"))]
pub(super) const NO_DEFLATE: Violation = violation(1012, "the server was built without deflate");
/// A message is longer than [`Bounds::message_bytes`](super::Bounds::message_bytes).
pub const TOO_BIG: Violation = violation(1009, "message too big");
/// A message has more frames than [`Bounds::fragments`](super::Bounds::fragments).
pub const TOO_MANY_FRAMES: Violation = violation(1009, "message has too many frames");

const fn violation(code: u16, reason: &'static str) -> Violation {
    Violation { code, reason }
}
