//! The tokens of the poller. The token of a connection is its id in the hub. The other tokens are
//! reserved at the top of the range, which ids of connections never reach.

use mio::Token;

/// The pipe through which signals and stoppers send requests.
pub(super) const CONTROL: Token = Token(usize::MAX - 1);
/// The socket to Redis.
pub(super) const REDIS: Token = Token(usize::MAX - 2);
/// The waker of the resolver.
pub(super) const RESOLVED: Token = Token(usize::MAX - 3);
/// The output of the new binary that is checked before a handover.
pub(super) const TRIAL: Token = Token(usize::MAX - 4);
/// The first listening socket; the tokens of the others are below it.
const LISTENERS: Token = Token(usize::MAX - 5);
/// The connection to a webhook with the key 0; the tokens of the others are below it. The tokens
/// between are enough for any number of listening sockets.
#[cfg(feature = "webhooks")]
const WEBHOOKS: Token = Token(usize::MAX - 65_536);

/// The token of the listening socket at this index.
pub(super) fn listener(index: usize) -> Token {
    Token(LISTENERS.0 - index)
}

/// The token of the connection to a webhook with this key.
#[cfg(feature = "webhooks")]
pub(super) fn webhook(key: usize) -> Token {
    Token(WEBHOOKS.0 - key)
}

/// The key of the connection to a webhook with this token, if it is one.
#[cfg(feature = "webhooks")]
pub(super) fn webhook_key(token: Token) -> Option<usize> {
    WEBHOOKS.0.checked_sub(token.0).filter(|key| *key <= WEBHOOK_KEYS_MAX)
}

/// Whether the token is that of a connection to a webhook.
#[cfg(not(feature = "webhooks"))]
pub(super) fn webhook_key(_token: Token) -> Option<usize> {
    None
}

/// The index of the listening socket with this token, if there are so many.
pub(super) fn listener_index(token: Token, listeners: usize) -> Option<usize> {
    LISTENERS.0.checked_sub(token.0).filter(|index| *index < listeners)
}

/// The greatest key of a connection to a webhook: the upper bound of `limits.webhook_connections`.
#[cfg(feature = "webhooks")]
const WEBHOOK_KEYS_MAX: usize = 65_536;
