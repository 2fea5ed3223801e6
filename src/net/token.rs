//! The tokens of the poller. The token of a connection is its id in the hub. The other tokens are
//! reserved at the top of the range, which ids of connections never reach.

use mio::Token;

/// The pipe through which signals and stoppers send requests.
pub(super) const CONTROL: Token = Token(usize::MAX - 1);
/// The socket to Redis that receives the messages of the nodes.
pub(super) const REDIS_SUBSCRIBER: Token = Token(usize::MAX - 2);
/// The waker of the resolver.
pub(super) const RESOLVED: Token = Token(usize::MAX - 3);
/// The output of the new binary that is checked before a handover.
pub(super) const TRIAL: Token = Token(usize::MAX - 4);
/// The socket to Redis that publishes the messages of this node.
pub(super) const REDIS_PUBLISHER: Token = Token(usize::MAX - 5);
/// The first listening socket; the tokens of the others are below it.
const LISTENERS: Token = Token(usize::MAX - 6);

/// The token of the listening socket at this index.
pub(super) fn listener(index: usize) -> Token {
    Token(LISTENERS.0 - index)
}

/// The index of the listening socket with this token, if there are so many.
pub(super) fn listener_index(token: Token, listeners: usize) -> Option<usize> {
    LISTENERS.0.checked_sub(token.0).filter(|index| *index < listeners)
}
