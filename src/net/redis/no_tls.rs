//! What stands in place of `tls` in a build without TLS: a Redis that speaks it is refused at the
//! start.

use std::io::{self, IoSlice};

use super::stream::{Read, Socket};
use crate::config::{Error, RedisTls};
use crate::hub::Now;

/// What sessions begin with: there are none.
pub(super) enum Connector {}

impl Connector {
    pub(super) fn load(_settings: &RedisTls, _now: Now) -> Result<Self, Error> {
        let reason = "speaks TLS, and this build does not; build with the feature tls";
        Err(Error::new("configuration", "servers.reverb.scaling.server", reason))
    }

    pub(super) fn reload(&mut self, _now: Now) {
        match *self {}
    }

    pub(super) fn session(&self) -> Result<Box<Session>, String> {
        match *self {}
    }
}

/// A session: there is none.
pub(super) enum Session {}

impl Session {
    pub(super) fn shake_hands(&mut self, _socket: &mut Socket) -> Result<bool, String> {
        match *self {}
    }

    pub(super) fn read(
        &mut self,
        _socket: &mut Socket,
        _buffer: &mut [u8],
    ) -> Result<Read, String> {
        match *self {}
    }

    pub(super) fn wants_write(&self) -> bool {
        match *self {}
    }

    pub(super) fn write(
        &mut self,
        _socket: &mut Socket,
        _slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        match *self {}
    }
}
