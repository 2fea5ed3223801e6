//! TLS to Redis: what sessions begin with, loaded at the start and on SIGHUP, and a session as
//! bytes in, bytes out.

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

use super::stream::Read;
use crate::config::{Error, RedisTls};
use crate::hub::Now;
use crate::net::blocking_stream::Duplex;
use crate::net::tls::expiry::Moment;
use crate::net::tls::files::{self, Pair};

/// What sessions begin with.
pub(crate) struct Connector {
    settings: RedisTls,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

impl Connector {
    /// Loads everything.
    pub(crate) fn load(settings: &RedisTls, now: Now) -> Result<Self, Error> {
        let name = settings.peer_name.clone().unwrap_or_default();
        let name = ServerName::try_from(name).map_err(|_| {
            let key = "servers.reverb.scaling.server.tls.peer_name";
            Error::new("configuration", key, "is no name that a certificate can be for")
        })?;
        let config = Arc::new(build(settings, now)?);
        Ok(Connector { settings: settings.clone(), name, config })
    }

    /// Loads everything for the connections to come. What cannot be used changes nothing.
    pub(super) fn reload(&mut self, now: Now) {
        match build(&self.settings, now) {
            Ok(config) => self.config = Arc::new(config),
            Err(error) => log::error!("the certificates for Redis stay as they were: {error}"),
        }
    }

    /// A session for a new connection.
    pub(in crate::net) fn session(&self) -> Result<Box<Session>, String> {
        let connection = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        let mut connection = connection.map_err(|error| reason(&error))?;
        connection.set_buffer_limit(Some(AHEAD_BYTES));
        Ok(Box::new(Session(connection)))
    }
}

fn build(settings: &RedisTls, now: Now) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new("configuration", OPTIONS, error.to_string()))?;
    let builder = match settings.verify_peer {
        true => builder.with_root_certificates(authorities(settings)?),
        false => {
            let any = Anybody(provider.signature_verification_algorithms);
            builder.dangerous().with_custom_certificate_verifier(Arc::new(any))
        }
    };
    let mut config = match &settings.local_cert {
        None => builder.with_no_client_auth(),
        Some(_) => builder.with_client_cert_resolver(identity(settings, &provider, now)?),
    };
    // A connection lasts for days: there is nothing to gain from the one before.
    config.resumption = Resumption::disabled();
    Ok(config)
}

const OPTIONS: &str = "servers.reverb.scaling.server.tls";

/// What this server shows of itself.
fn identity(
    settings: &RedisTls,
    provider: &CryptoProvider,
    now: Now,
) -> Result<Arc<SingleCertAndKey>, Error> {
    let RedisTls { local_cert, local_pk, passphrase, .. } = settings;
    let local_cert = local_cert.as_deref().unwrap_or(Path::new(""));
    let pair =
        Pair { local_cert, local_pk: local_pk.as_deref(), passphrase: passphrase.as_deref() };
    let (key, _) = files::identity(&pair, provider, Moment::from_unix(now.unix_s))?;
    Ok(Arc::new(SingleCertAndKey::from(key)))
}

/// Who may have issued the certificate of Redis.
fn authorities(settings: &RedisTls) -> Result<RootCertStore, Error> {
    let systems = || SYSTEMS.iter().map(Path::new).find(|file| file.is_file());
    let Some(file) = settings.cafile.as_deref().or_else(systems) else {
        let reason = format!(
            "needs cafile (REDIS_TLS_CAFILE), to know whose certificates to trust: this system has \
             none of {}",
            SYSTEMS.join(", ")
        );
        return Err(Error::new("configuration", OPTIONS, reason));
    };
    let mut store = RootCertStore::empty();
    // A system's bundle may have ancient ones that nobody understands any more.
    let (understood, _) = store.add_parsable_certificates(files::certificates(file, "cafile")?);
    match understood {
        0 => Err(Error::new(file.display(), "cafile", "has no certificate that is understood")),
        _ => Ok(store),
    }
}

/// Where systems keep all authorities in one file: Debian, Alpine and Arch; Fedora and RHEL;
/// SUSE; the BSDs and macOS.
const SYSTEMS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A session. It encrypts a little ahead of the socket.
pub(in crate::net) struct Session(ClientConnection);

impl Session {
    /// Goes on with the handshake, and says whether it is done.
    pub(in crate::net) fn shake_hands(&mut self, socket: &mut dyn Duplex) -> Result<bool, String> {
        loop {
            if !self.flush(socket).map_err(|error| error.to_string())? {
                return Ok(false);
            }
            if !self.0.is_handshaking() {
                return Ok(true);
            }
            match self.take(socket)? {
                None => return Ok(false),
                Some(0) => return Err(SILENT.to_owned()),
                Some(_) => {}
            }
        }
    }

    /// Reads and decrypts until there is something.
    pub(in crate::net) fn read(
        &mut self,
        socket: &mut dyn Duplex,
        buffer: &mut [u8],
    ) -> Result<Read, String> {
        loop {
            match self.0.reader().read(buffer) {
                Ok(0) => return Ok(Read::End),
                Ok(len) => return Ok(Read::Bytes(len)),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => {}
                    io::ErrorKind::UnexpectedEof => return Ok(Read::End),
                    _ => return Err(error.to_string()),
                },
            }
            if self.take(socket)?.is_none() {
                return Ok(Read::Nothing);
            }
        }
    }

    /// Takes what has come, and says how much it was; `None` for nothing yet, 0 at the end.
    fn take(&mut self, socket: &mut dyn Duplex) -> Result<Option<usize>, String> {
        let len = loop {
            match self.0.read_tls(socket) {
                Ok(len) => break len,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(None),
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(error.to_string()),
                },
            }
        };
        if let Err(error) = self.0.process_new_packets() {
            // Redis logs the alert that says why.
            let _ = self.flush(socket);
            return Err(reason(&error));
        }
        Ok(Some(len))
    }

    /// Whether something encrypted waits for the socket.
    pub(super) fn wants_write(&self) -> bool {
        self.0.wants_write()
    }

    /// Encrypts as much of the slices as there is room for, writes what it can, and says how much
    /// it took.
    pub(in crate::net) fn write(
        &mut self,
        socket: &mut dyn Duplex,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        if !self.flush(socket)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        // What it took is gone for the outbox; if the socket is full, the next call finds that
        // out, and if it is broken, the next read.
        self.0.writer().write_vectored(slices)
    }

    /// Writes what is encrypted, and says whether all of it has gone.
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

/// An error of the library, with what an operator can do about the common ones.
fn reason(error: &rustls::Error) -> String {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage};
    match error {
        InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the issuer of its certificate is not trusted; REDIS_TLS_CAFILE names a file with it"
                .to_owned()
        }
        InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!("{error}; REDIS_TLS_PEER_NAME names the one it is for"),
        AlertReceived(
            AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure,
        ) => {
            format!("{error}; if it asks for a certificate, REDIS_TLS_LOCAL_CERT names one")
        }
        InvalidMessage(_) => format!("{error}; does it speak TLS on this port?"),
        _ => error.to_string(),
    }
}

/// Takes every certificate, for those who say so, but has signatures checked: who answers must
/// at least have the key.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anybody {
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

const SILENT: &str =
    "it closed the connection in the middle of the TLS handshake; does it speak TLS on this port?";
/// Bytes that are encrypted ahead of the socket: a few records. What else waits stays in the
/// outbox, whose bound counts it.
const AHEAD_BYTES: usize = 65_536;
