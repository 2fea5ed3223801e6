//! What stands in place of `tls` in a build without TLS: a Redis that speaks it is refused at the
//! start.

use std::io::{self, IoSlice};

use super::stream::Read;
use crate::config::{Error, RedisTls};
use crate::hub::Now;
use crate::net::blocking_stream::Duplex;

/// What sessions begin with: there are none.
pub(crate) enum Connector {}

impl Connector {
    pub(crate) fn load(_settings: &RedisTls, _now: Now) -> Result<Self, Error> {
        let reason = "speaks TLS, and this build does not; build with the feature tls";
        Err(Error::new("configuration", "servers.reverb.scaling.server", reason))
    }

    pub(super) fn reload(&mut self, _now: Now) {
        match *self {}
    }

    pub(in crate::net) fn session(&self) -> Result<Box<Session>, String> {
        match *self {}
    }
}

/// A session: there is none.
pub(in crate::net) enum Session {}

impl Session {
    pub(in crate::net) fn shake_hands(&mut self, _socket: &mut dyn Duplex) -> Result<bool, String> {
        match *self {}
    }

    pub(in crate::net) fn read(
        &mut self,
        _socket: &mut dyn Duplex,
        _buffer: &mut [u8],
    ) -> Result<Read, String> {
        match *self {}
    }

    pub(super) fn wants_write(&self) -> bool {
        match *self {}
    }

    pub(in crate::net) fn write(
        &mut self,
        _socket: &mut dyn Duplex,
        _slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        match *self {}
    }
}
