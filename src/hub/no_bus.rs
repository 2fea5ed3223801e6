//! What stands in place of `bus` in a build without Redis: no bus can exist, and a configuration
//! that asks for one is refused before a hub is made.

use std::rc::Rc;

use super::Hub;
use super::peer::Now;
use super::random::Random;
use crate::config::Config;
use crate::proto::envelope::{Item, Version};

/// This node among others: there are none.
pub(super) enum Bus {}

impl Bus {
    pub(super) fn new(_config: &Config, _random: &mut Random, _now: Now) -> Option<Box<Self>> {
        None
    }

    pub(super) fn publish(&mut self, _item: &Item<'_>) {
        match *self {}
    }

    pub(super) fn note_channel(&mut self, _app: u32, _channel: &Rc<str>) {
        match *self {}
    }

    pub(super) fn note_connections(&mut self, _app: u32) {
        match *self {}
    }

    pub(super) fn version(&mut self, _now: Now) -> Version {
        match *self {}
    }
}

impl<T> Hub<T> {
    pub(super) fn bus_has_shrunk(&mut self) -> bool {
        false
    }

    pub(super) fn tick_bus(&mut self, _now: Now) {}

    pub(super) fn audit_facts(&self) -> Result<(), String> {
        Ok(())
    }

    pub(super) fn next_bus_ms(&self) -> Option<u64> {
        None
    }
}
