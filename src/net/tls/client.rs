//! The client side of TLS: sessions, and the certificates that they trust and present. What
//! differs between servers is in `redis` and `web`. The sessions of the server's own clients are in
//! `tls`.

use std::fmt;
use std::io::{self, IoSlice, Read as _, Write};
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{AlertDescription, CertificateError, ClientConfig, ClientConnection};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::files::{self, Pair};
use super::validity::Timestamp;
use crate::config::{Error, RedisTls};
use crate::hub::Now;
use crate::net::io::{Answer, Duplex};

/// The configuration of sessions with these certificates; `authorities_setting` names the setting of
/// the trusted authorities, for messages.
pub(super) fn build(
    settings: &RedisTls,
    authorities_setting: &str,
    now: Now,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new("configuration", OPTIONS, error.to_string()))?;
    let builder = match settings.verify_peer {
        true => {
            let file = settings.cafile.as_deref();
            builder.with_root_certificates(authorities(file, authorities_setting)?)
        }
        false => {
            let any = AnyCertificate(provider.signature_verification_algorithms);
            builder.dangerous().with_custom_certificate_verifier(Arc::new(any))
        }
    };
    let mut config = match &settings.local_cert {
        None => builder.with_no_client_auth(),
        Some(_) => builder.with_client_cert_resolver(identity(settings, &provider, now)?),
    };
    // A connection lasts for days, so resuming a session gains nothing.
    config.resumption = Resumption::disabled();
    Ok(config)
}

pub(super) const OPTIONS: &str = "servers.reverb.scaling.server.tls";

/// Loads the client certificate and its key.
fn identity(
    settings: &RedisTls,
    provider: &CryptoProvider,
    now: Now,
) -> Result<Arc<SingleCertAndKey>, Error> {
    let RedisTls { local_cert, local_pk, passphrase, .. } = settings;
    let local_cert = local_cert.as_deref().unwrap_or(Path::new(""));
    let pair =
        Pair { local_cert, local_pk: local_pk.as_deref(), passphrase: passphrase.as_deref() };
    let (key, _) = files::identity(&pair, provider, Timestamp::from_unix(now.unix_s))?;
    Ok(Arc::new(SingleCertAndKey::from(key)))
}

/// Loads the authorities that may have issued the server's certificate.
fn authorities(file: Option<&Path>, setting: &str) -> Result<RootCertStore, Error> {
    let system_bundle = || SYSTEM_BUNDLES.iter().map(Path::new).find(|file| file.is_file());
    let Some(file) = file.or_else(system_bundle) else {
        let reason = format!(
            "needs {setting}, because none of the usual files with trusted authorities exists: {}",
            SYSTEM_BUNDLES.join(", ")
        );
        return Err(Error::new("configuration", OPTIONS, reason));
    };
    let mut store = RootCertStore::empty();
    // A system's bundle may contain old certificates that the library cannot parse.
    let (added, _) = store.add_parsable_certificates(files::certificates(file, "cafile")?);
    match added {
        0 => Err(Error::new(file.display(), "cafile", "has no certificate that can be parsed")),
        _ => Ok(store),
    }
}

/// The files in which systems store all trusted authorities: Debian, Alpine and Arch; Fedora and
/// RHEL; SUSE; the BSDs and macOS.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A session. It buffers up to [`AHEAD_BYTES`] of encrypted output.
pub(in crate::net) struct ClientSession(ClientConnection);

impl ClientSession {
    pub(super) fn begin(
        config: &Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Box<Self>, SessionError> {
        let mut connection = ClientConnection::new(Arc::clone(config), name)?;
        connection.set_buffer_limit(Some(AHEAD_BYTES));
        Ok(Box::new(ClientSession(connection)))
    }

    /// Continues the handshake. Returns whether it is complete.
    pub(in crate::net) fn shake_hands(
        &mut self,
        socket: &mut dyn Duplex,
    ) -> Result<bool, SessionError> {
        loop {
            if !self.flush(socket)? {
                return Ok(false);
            }
            if !self.0.is_handshaking() {
                return Ok(true);
            }
            match self.receive(socket)? {
                None => return Ok(false),
                Some(0) => return Err(SessionError::new(CLOSED_EARLY)),
                Some(_) => {}
            }
        }
    }

    /// Reads and decrypts until there is plain text, or no more input.
    pub(in crate::net) fn read(
        &mut self,
        socket: &mut dyn Duplex,
        buffer: &mut [u8],
    ) -> Result<Answer, SessionError> {
        loop {
            match self.0.reader().read(buffer) {
                Ok(0) => return Ok(Answer::End),
                Ok(len) => return Ok(Answer::Bytes(len)),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => {}
                    io::ErrorKind::UnexpectedEof => return Ok(Answer::End),
                    _ => return Err(error.into()),
                },
            }
            if self.receive(socket)?.is_none() {
                return Ok(Answer::Nothing);
            }
        }
    }

    /// Receives encrypted bytes. Returns their number: `None` if there are none yet, 0 at the end.
    fn receive(&mut self, socket: &mut dyn Duplex) -> Result<Option<usize>, SessionError> {
        let len = loop {
            match self.0.read_tls(socket) {
                Ok(len) => break len,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(None),
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(error.into()),
                },
            }
        };
        if let Err(error) = self.0.process_new_packets() {
            // Sends the alert with the reason, which Redis logs.
            let _ = self.flush(socket);
            return Err(error.into());
        }
        Ok(Some(len))
    }

    /// Whether encrypted bytes wait for the socket.
    pub(in crate::net) fn wants_write(&self) -> bool {
        self.0.wants_write()
    }

    /// Writes what earlier calls have encrypted, then encrypts as much of the slices as the buffer
    /// has room for. Returns how many bytes of the slices were encrypted.
    pub(in crate::net) fn write(
        &mut self,
        socket: &mut dyn Duplex,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        if !self.flush(socket)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        // The caller removes these bytes from the outbox. A full socket shows in the next write, a
        // broken one in the next read.
        self.0.writer().write_vectored(slices)
    }

    /// Writes the encrypted bytes. Returns whether none are left.
    fn flush(&mut self, socket: &mut dyn Duplex) -> io::Result<bool> {
        while self.0.wants_write() {
            match self.0.write_tls(socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(false),
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
        Ok(true)
    }
}

/// Why a session cannot be used.
#[derive(Debug)]
pub(crate) struct SessionError {
    reason: String,
    remedy: Option<Remedy>,
}

/// The kind of setting that may fix an error.
#[derive(Debug, Clone, Copy)]
enum Remedy {
    Authorities,
    PeerName,
    OwnCertificate,
}

impl SessionError {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        SessionError { reason: reason.into(), remedy: None }
    }

    /// The reason, with the setting to change if the server is Redis.
    #[cfg(feature = "redis")]
    pub(in crate::net) fn for_redis(&self) -> String {
        let advice = match self.remedy {
            None => "",
            Some(Remedy::Authorities) => "; set REDIS_TLS_CAFILE to a file with that issuer",
            Some(Remedy::PeerName) => "; set REDIS_TLS_PEER_NAME to a name in the certificate",
            Some(Remedy::OwnCertificate) => {
                "; if it requires a client certificate, set REDIS_TLS_LOCAL_CERT"
            }
        };
        format!("{}{advice}", self.reason)
    }
}

/// The reason, with the setting to change if the server is a web server.
impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let advice = match self.remedy {
            Some(Remedy::Authorities) => "; set SSL_CERT_FILE to a file with that issuer",
            _ => "",
        };
        write!(f, "{}{advice}", self.reason)
    }
}

impl From<io::Error> for SessionError {
    fn from(error: io::Error) -> Self {
        SessionError::new(error.to_string())
    }
}

impl From<rustls::Error> for SessionError {
    fn from(error: rustls::Error) -> Self {
        use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage};
        let (reason, remedy) = match &error {
            InvalidCertificate(CertificateError::UnknownIssuer) => (
                "the issuer of its certificate is not trusted".to_owned(),
                Some(Remedy::Authorities),
            ),
            InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => (error.to_string(), Some(Remedy::PeerName)),
            AlertReceived(
                AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure,
            ) => (error.to_string(), Some(Remedy::OwnCertificate)),
            InvalidMessage(_) => (format!("{error}; does it speak TLS on this port?"), None),
            _ => (error.to_string(), None),
        };
        SessionError { reason, remedy }
    }
}

/// Accepts every certificate, for `verify_peer` false. Signatures are still verified: the server
/// must have the private key of its certificate.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

const CLOSED_EARLY: &str =
    "it closed the connection in the middle of the TLS handshake; does it speak TLS on this port?";
/// The most bytes that a session encrypts before the socket can take them: a few records. The rest
/// stays in the outbox, where it counts against the limit.
const AHEAD_BYTES: usize = 65_536;
