//! TLS to web servers: webhooks, and the connections of `reverb check`.

use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::client::{ClientSession, SessionError, build};
use crate::config::{Error, RedisTls};
use crate::hub::Now;

/// The configuration of new sessions.
pub(in crate::net) struct WebConnector(Arc<ClientConfig>);

impl WebConnector {
    /// Loads the trusted authorities from this file, by default those of the system. Without
    /// `verifies`, any certificate is accepted.
    pub(in crate::net) fn load(
        authorities: Option<&Path>,
        verifies: bool,
        now: Now,
    ) -> Result<Self, Error> {
        let settings = RedisTls {
            cafile: authorities.map(Path::to_owned),
            verify_peer: verifies,
            ..RedisTls::default()
        };
        Ok(WebConnector(Arc::new(build(&settings, AUTHORITIES, now)?)))
    }

    /// A session for a new connection to this host.
    pub(in crate::net) fn session(&self, host: &str) -> Result<Box<ClientSession>, SessionError> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| SessionError::new("its host name is not valid"))?;
        ClientSession::begin(&self.0, name)
    }
}

/// The variable with the file of trusted authorities, as for OpenSSL and curl.
const AUTHORITIES: &str = "SSL_CERT_FILE";
