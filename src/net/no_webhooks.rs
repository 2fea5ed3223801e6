//! Replaces `webhooks` in a build without them. A configuration with a webhook is rejected at the
//! start.

use std::sync::Arc;

use mio::event::Event;
use mio::{Registry, Waker};

use super::error::BindError;
use super::socket::Socket;
use crate::config::{App, Config, Error};
use crate::hub::{Hub, Now};
use crate::proto::spool::SpoolRecord;

/// Stands in for the webhooks; it does nothing.
pub(super) struct Webhooks;

impl Webhooks {
    pub(super) fn load(config: &Config, _waker: &Arc<Waker>, _now: Now) -> Result<Self, BindError> {
        if config.apps.iter().all(|app| app.webhooks.is_empty()) {
            return Ok(Webhooks);
        }
        let reason = "this build has no webhooks; build with the feature webhooks, or remove them";
        let key = "webhooks (REVERB_APP_WEBHOOK_URL)";
        Err(BindError::Webhooks(Error::new("configuration", key, reason)))
    }

    pub(super) fn open_spool(&mut self, _config: &Config) -> Result<Vec<SpoolRecord>, BindError> {
        Ok(Vec::new())
    }

    pub(super) fn on_event(&mut self, _event: &Event) {}

    pub(super) fn turn(
        &mut self,
        _hub: &mut Hub<Socket>,
        _buffer: &mut [u8],
        _registry: &Registry,
        _now: Now,
    ) {
    }

    pub(super) fn finish_spool(&mut self, _hub: &mut Hub<Socket>) {}

    pub(super) fn next_ms(&self) -> Option<u64> {
        None
    }

    pub(super) fn has_work(&self) -> bool {
        false
    }

    pub(super) fn descriptors(_config: &Config) -> u64 {
        0
    }

    pub(super) fn reconfigure(&mut self, _config: &Config, _now: Now) {}

    pub(super) fn app_added(&mut self, _app: &App, _config: &Config, _now: Now) {}
}
