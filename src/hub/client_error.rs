//! The error sent to a client whose message is rejected: an error event, and for a subscription an
//! event that names the channel. It is sent by `connections/messages`.

use crate::config::Exceeded;
use crate::proto::message::Malformed;

/// The error sent to a client whose message is rejected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ClientError {
    pub code: u16,
    pub message: Box<str>,
    /// The reason, for the log.
    pub detail: &'static str,
    /// For a subscription: the channel, the kind of error, a sentence and a status.
    pub subscription: Option<(Box<str>, &'static str, Box<str>, u16)>,
    /// The limit that was exceeded, if any.
    pub limit: Option<Exceeded>,
    /// Whether a signature of the app is missing or wrong.
    pub is_unsigned: bool,
    /// The text that should have been signed, if a viewer of the feed wants it.
    pub expected: Option<Box<str>>,
}

impl ClientError {
    pub(crate) fn new(code: u16, message: impl Into<String>, detail: &'static str) -> Self {
        ClientError {
            code,
            message: message.into().into_boxed_str(),
            detail,
            subscription: None,
            limit: None,
            is_unsigned: false,
            expected: None,
        }
    }

    /// Adds the limit that was exceeded.
    pub(crate) fn at(self, limit: impl Into<Exceeded>) -> Self {
        ClientError { limit: Some(limit.into()), ..self }
    }

    /// Adds the text that should have been signed.
    pub(crate) fn expecting(self, expected: Option<String>) -> Self {
        ClientError { expected: expected.map(String::into_boxed_str), ..self }
    }

    /// Adds an error event for a channel.
    pub(crate) fn about(
        mut self,
        channel: &str,
        kind: &'static str,
        error: impl Into<String>,
        status: u16,
    ) -> Self {
        self.subscription = Some((channel.into(), kind, error.into().into_boxed_str(), status));
        self
    }

    /// The error of Laravel Reverb for all messages that it cannot parse.
    pub(crate) fn malformed(detail: &'static str) -> Self {
        ClientError::new(4200, "Invalid message format", detail)
    }

    pub(crate) fn unauthorized(detail: &'static str) -> Self {
        ClientError::new(4009, "Connection is unauthorized", detail)
    }

    /// The error for a signature of the app that is missing or wrong.
    pub(crate) fn unsigned(detail: &'static str) -> Self {
        ClientError { is_unsigned: true, ..ClientError::unauthorized(detail) }
    }
}

/// The reason in one sentence, for the feed: the text for the client and the detail; for a limit of a
/// subscription, the error of the subscription, which names the limit.
impl std::fmt::Display for ClientError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.subscription {
            Some((_, _, error, _)) if self.limit.is_some() => f.write_str(error),
            _ => write!(f, "{} ({})", self.message.trim_end_matches('.'), self.detail),
        }
    }
}

impl From<Malformed> for ClientError {
    fn from(Malformed(detail): Malformed) -> Self {
        ClientError::malformed(detail)
    }
}
