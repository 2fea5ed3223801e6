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

/// A server of [`APP`] with these webhooks, which cover channels and members unless they say
/// otherwise.
fn with_webhooks(mut webhooks: Value) -> Setup {
    for webhook in webhooks.as_array_mut().unwrap() {
        let events = webhook.as_object_mut().unwrap().entry("events");
        events.or_insert_with(|| STATE.into());
    }
    Setup::bare().apps(&[(&APP, json!({"webhooks": webhooks}))])
}

/// The events from which an application knows the occupied channels and their members.
const STATE: [&str; 4] = ["channel_occupied", "channel_vacated", "member_added", "member_removed"];

/// A server with one webhook, which sends each event at once.
#[track_caller]
fn server_for(receiver: &Receiver) -> Server {
    with_webhooks(json!([{"url": receiver.url("/hook"), "batch_ms": 1}])).start()
}
