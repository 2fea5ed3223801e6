//! Webhooks: the real binary sends requests to real HTTP servers. Which events arise is tested in
//! the hub; here is how they arrive.
#![cfg(feature = "webhooks")]

mod delivery;
mod faults;
mod libraries;
mod nodes;
pub mod receiver;
mod reload;
mod scale;
mod secure;
mod spool;

use serde_json::{Value, json};

use crate::support::{APP, Server, Setup};
use receiver::Receiver;

/// A server of [`APP`] with these webhooks.
fn with_webhooks(webhooks: Value) -> Setup {
    Setup::bare().apps(&[(&APP, json!({"webhooks": webhooks}))])
}

/// A server with one webhook, which sends each event at once.
#[track_caller]
fn server_for(receiver: &Receiver) -> Server {
    with_webhooks(json!([{"url": receiver.url("/hook"), "batch_ms": 1}])).start()
}
