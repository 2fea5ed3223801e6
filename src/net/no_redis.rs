//! Replaces `redis` in a build without it. A configuration with several nodes is rejected at the
//! start.

use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::{Registry, Waker};

use super::error::BindError;
use super::socket::Socket;
use crate::config::{Config, Error, Limits, RedisTarget};
use crate::hub::{Hub, Now};

/// Stands in for the connection to Redis; no value exists.
pub(super) enum Redis {}

impl Redis {
    pub(super) fn load(
        config: &Config,
        _waker: &Arc<Waker>,
        _now: Now,
    ) -> Result<Option<Self>, BindError> {
        if !config.server.scaling.enabled {
            return Ok(None);
        }
        let key = "servers.reverb.scaling.enabled (REVERB_SCALING_ENABLED)";
        let reason = "this build has no Redis, without which events would not reach the other \
                      nodes; build with the feature redis, or set it to false";
        Err(BindError::Redis(Error::new("configuration", key, reason)))
    }

    pub(super) fn on_event(&mut self, _event: &Event) {
        match *self {}
    }

    pub(super) fn read(
        &mut self,
        _hub: &mut Hub<Socket>,
        _buffer: &mut [u8],
        _registry: &Registry,
        _now: Now,
    ) {
        match *self {}
    }

    pub(super) fn write(
        &mut self,
        _hub: &mut Hub<Socket>,
        _registry: &Registry,
        _now: Now,
        _is_last: bool,
    ) {
        match *self {}
    }

    pub(super) fn has_work(&self, _hub: &mut Hub<Socket>) -> bool {
        match *self {}
    }

    pub(super) fn set_limits(&mut self, _limits: &Limits) {
        match *self {}
    }

    pub(super) fn has_arrived(&self) -> bool {
        match *self {}
    }

    pub(super) fn is_secure(&self) -> bool {
        match *self {}
    }

    pub(super) fn reload(&mut self, _now: Now) {
        match *self {}
    }
}

/// Stands in for a blocking connection to Redis; no value exists.
pub(crate) enum BlockingRedis {}

impl BlockingRedis {
    pub(crate) fn open(target: &RedisTarget, _timeout: Duration) -> Result<Self, String> {
        Err(format!("Redis {target}: this build has no Redis; build with the feature redis"))
    }

    pub(crate) fn request(&mut self, _words: &[&[u8]]) -> Result<Option<Vec<u8>>, String> {
        match *self {}
    }
}
