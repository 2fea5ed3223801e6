//! The tokens by which the poller names what is ready. A connection's token is its number in the
//! hub; the others are reserved from the top of the range, where no connection reaches.

use mio::Token;

/// The pipe through which signals and stoppers send requests.
pub(super) const CONTROL: Token = Token(usize::MAX - 1);
/// The socket to Redis.
pub(super) const REDIS: Token = Token(usize::MAX - 2);
/// The resolver has an answer.
pub(super) const RESOLVED: Token = Token(usize::MAX - 3);
/// The output of the new binary that is tried before a handover.
pub(super) const TRIAL: Token = Token(usize::MAX - 4);
/// The first listening socket; those of the others are below it.
const LISTENERS: Token = Token(usize::MAX - 5);

/// The token of the listening socket at this index.
pub(super) fn listener(index: usize) -> Token {
    Token(LISTENERS.0 - index)
}

/// The index of the listening socket with this token, if there are so many.
pub(super) fn listener_index(token: Token, listeners: usize) -> Option<usize> {
    LISTENERS.0.checked_sub(token.0).filter(|index| *index < listeners)
}
