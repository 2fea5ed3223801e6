//! Webhooks: HTTP requests by which the application learns what happens in the hub (protocol section
//! 15). The hub decides which events are sent, when, and in which order; the owner of the sockets
//! sends the requests.

mod calls;
mod request;

pub use request::{EndpointId, WebhookOutcome, WebhookRequest};
