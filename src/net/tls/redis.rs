//! TLS to Redis. Certificates are loaded at the start and on SIGHUP, and apply to new sessions.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::client::{ClientSession, SessionError, build};
use crate::config::{Error, RedisTls};
use crate::hub::Now;

/// The configuration of new sessions: the trusted authorities, and the client certificate.
pub(in crate::net) struct Connector {
    settings: RedisTls,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

impl Connector {
    /// Loads the certificates that the settings name.
    pub(in crate::net) fn load(settings: &RedisTls, now: Now) -> Result<Self, Error> {
        let name = settings.peer_name.clone().unwrap_or_default();
        let name = ServerName::try_from(name).map_err(|_| {
            let key = "servers.reverb.scaling.server.tls.peer_name";
            Error::new("configuration", key, "is not a valid host name or address")
        })?;
        let config = Arc::new(build(settings, AUTHORITIES, now)?);
        Ok(Connector { settings: settings.clone(), name, config })
    }

    /// Loads the certificates again, for new connections. If they cannot be used, the old ones stay.
    pub(in crate::net) fn reload(&mut self, now: Now) {
        match build(&self.settings, AUTHORITIES, now) {
            Ok(config) => self.config = Arc::new(config),
            Err(error) => log::error!(
                "cannot reload the certificates for Redis: {error}; the old ones stay in use"
            ),
        }
    }

    /// A session for a new connection.
    pub(in crate::net) fn session(&self) -> Result<Box<ClientSession>, SessionError> {
        ClientSession::begin(&self.config, self.name.clone())
    }
}

/// The setting of the trusted authorities.
const AUTHORITIES: &str = "cafile (REDIS_TLS_CAFILE)";
