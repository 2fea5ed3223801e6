//! The answer to a client whose message is rejected: an error event, and for a subscription an
//! event that names the channel.

use crate::config::LimitKind;
use crate::proto::message::Malformed;

/// The answer to a client whose message is rejected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ClientError {
    pub code: u16,
    pub message: String,
    /// Which rule it was, for the log.
    pub detail: &'static str,
    /// For a subscription: the channel, what kind of error, a sentence and a status.
    pub subscription: Option<(String, &'static str, String, u16)>,
    /// The bound that was hit, if it was one.
    pub limit: Option<LimitKind>,
}

impl ClientError {
    pub(crate) fn new(code: u16, message: impl Into<String>, detail: &'static str) -> Self {
        ClientError { code, message: message.into(), detail, subscription: None, limit: None }
    }

    /// The same for a bound that was hit.
    pub(crate) fn at(self, limit: LimitKind) -> Self {
        ClientError { limit: Some(limit), ..self }
    }

    /// The same, with an error event for a channel in addition.
    pub(crate) fn about(
        mut self,
        channel: &str,
        kind: &'static str,
        error: impl Into<String>,
        status: u16,
    ) -> Self {
        self.subscription = Some((channel.to_owned(), kind, error.into(), status));
        self
    }

    /// Laravel Reverb's answer to everything it cannot read.
    pub(crate) fn malformed(detail: &'static str) -> Self {
        ClientError::new(4200, "Invalid message format", detail)
    }

    pub(crate) fn unauthorized(detail: &'static str) -> Self {
        ClientError::new(4009, "Connection is unauthorized", detail)
    }
}

impl From<Malformed> for ClientError {
    fn from(Malformed(detail): Malformed) -> Self {
        ClientError::malformed(detail)
    }
}
