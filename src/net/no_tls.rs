//! Replaces `tls` in a build without TLS. No session can exist, and a configuration with a
//! certificate is rejected.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::path::Path;

use mio::net::TcpStream;

use super::io::{Answer, Duplex, Received};
#[cfg(feature = "redis")]
use crate::config::RedisTls;
use crate::config::{self, Error};
use crate::hub::Now;

/// Stands in for the TLS acceptor; no value exists.
pub(super) enum TlsAcceptor {}

impl TlsAcceptor {
    pub(super) fn load(
        settings: &config::Tls,
        _check_ms: u32,
        _now: Now,
    ) -> Result<Option<Self>, Error> {
        match &settings.local_cert {
            None => Ok(None),
            Some(file) => Err(Error::new(file.display(), "local_cert", config::Tls::MISSING)),
        }
    }

    pub(super) fn session(&self, _address: SocketAddr) -> Tls {
        match *self {}
    }

    pub(super) fn next_check_ms(&self) -> u64 {
        match *self {}
    }

    pub(super) fn check_every(&mut self, _check_ms: u32, _now: Now) {
        match *self {}
    }

    pub(super) fn check(&mut self, _now: Now) {
        match *self {}
    }

    pub(super) fn reload(&mut self, _now: Now) {
        match *self {}
    }

    pub(super) fn log_failure(&mut self, _session: &Tls, _now: Now) -> bool {
        match *self {}
    }

    pub(super) fn log_plain(&mut self, _session: &Tls, _now: Now) {
        match *self {}
    }
}

/// Reports that this build cannot use a certificate.
pub(crate) fn check_certificate(_: &config::Tls, _: Option<&str>) -> Result<String, String> {
    Err(format!("the certificate has no effect: {}", config::Tls::MISSING))
}

/// Stands in for a session; no value exists.
pub(super) enum Tls {}

impl Tls {
    pub(super) fn read(
        &mut self,
        _stream: &mut TcpStream,
        _buffer: &mut [u8],
        _read_closed: bool,
    ) -> Received {
        match *self {}
    }

    pub(super) fn write(
        &mut self,
        _stream: &mut TcpStream,
        _slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        match *self {}
    }

    pub(super) fn wants_write(&self) -> bool {
        match *self {}
    }

    pub(super) fn flush(&mut self, _stream: &mut TcpStream) -> io::Result<bool> {
        match *self {}
    }

    pub(super) fn close(&mut self, _stream: &mut TcpStream, _shutdown: bool) {
        match *self {}
    }

    pub(super) fn is_handshaking(&self) -> bool {
        match *self {}
    }

    pub(super) fn note_abandoned(&mut self) {
        match *self {}
    }
}

/// Stands in for the connector to Redis; no value exists.
#[cfg(feature = "redis")]
pub(super) enum Connector {}

#[cfg(feature = "redis")]
impl Connector {
    pub(super) fn load(_settings: &RedisTls, _now: Now) -> Result<Self, Error> {
        let reason = "needs TLS, which this build lacks; build with the feature tls";
        Err(Error::new("configuration", "servers.reverb.scaling.server", reason))
    }

    pub(super) fn reload(&mut self, _now: Now) {
        match *self {}
    }

    pub(super) fn session(&self) -> Result<Box<ClientSession>, SessionError> {
        match *self {}
    }
}

/// Stands in for the connector to web servers; no value exists.
pub(super) enum WebConnector {}

impl WebConnector {
    pub(super) fn load(_: Option<&Path>, _verifies: bool, _now: Now) -> Result<Self, Error> {
        let reason = "https needs TLS, which this build lacks; build with the feature tls";
        Err(Error::new("configuration", "https", reason))
    }

    pub(super) fn session(&self, _host: &str) -> Result<Box<ClientSession>, SessionError> {
        match *self {}
    }
}

/// Stands in for a client session; no value exists.
pub(super) enum ClientSession {}

impl ClientSession {
    pub(super) fn shake_hands(&mut self, _socket: &mut dyn Duplex) -> Result<bool, SessionError> {
        match *self {}
    }

    pub(super) fn read(
        &mut self,
        _socket: &mut dyn Duplex,
        _buffer: &mut [u8],
    ) -> Result<Answer, SessionError> {
        match *self {}
    }

    pub(super) fn wants_write(&self) -> bool {
        match *self {}
    }

    pub(super) fn write(
        &mut self,
        _socket: &mut dyn Duplex,
        _slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        match *self {}
    }
}

/// Stands in for the error of a session; no value exists.
#[derive(Debug)]
pub(crate) enum SessionError {}

impl SessionError {
    #[cfg(feature = "redis")]
    pub(super) fn for_redis(&self) -> String {
        match *self {}
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}
