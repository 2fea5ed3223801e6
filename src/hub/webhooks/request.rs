//! What the hub and the owner of the sockets exchange: requests to webhooks, and their outcomes.

use std::rc::Rc;

use crate::config::Url;

/// A URL to which requests are sent, one at a time. The id stays the same over
/// [`Hub::reconfigure`](crate::hub::Hub::reconfigure). It is not used for another URL as long as the
/// configuration has webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(pub u32);

/// A request to send.
#[derive(Debug, Clone)]
pub struct WebhookRequest {
    /// The endpoint: no other request to it begins before [`Hub::webhook_done`].
    ///
    /// [`Hub::webhook_done`]: crate::hub::Hub::webhook_done
    pub endpoint: EndpointId,
    /// Where it is sent with POST.
    pub url: Rc<Url>,
    /// Its header lines, each with a line break (`\r\n`) at its end, except `Host`
    /// and `Content-Length`.
    pub head: String,
    /// Its body.
    pub body: Rc<[u8]>,
    /// Milliseconds from this moment to the end of the response, after which it has failed.
    pub timeout_ms: u64,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookOutcome {
    /// A complete response with this status arrived.
    Status(u16),
    /// No response arrived; the text says why, as a clause such as "connection refused".
    Failed(String),
}
