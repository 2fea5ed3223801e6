//! The configuration of new TLS sessions: certificates, versions, cipher suites. Certificates are
//! loaded at the start, and again when a file has changed or on SIGHUP. Open sessions are not
//! affected.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConfig, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use super::Tls;
use super::files::{self, Pair};
use super::validity::Timestamp;
use crate::config::tls::is_tls13;
use crate::config::{self, Error};
use crate::hub::{LogThrottle, Now, Policy};

/// Begins the TLS sessions of clients.
pub(in crate::net) struct TlsAcceptor {
    settings: config::Tls,
    current: Arc<ServerConfig>,
    /// When the first certificate expires; `None` once the expiry was logged.
    until: Option<Timestamp>,
    /// The stamps of the files, taken before they were last read.
    stamps: Stamps,
    check_ms: u32,
    next_check_ms: u64,
    failures: LogThrottle,
}

impl TlsAcceptor {
    /// Loads the certificates; `None` if none is configured.
    pub(in crate::net) fn load(
        settings: &config::Tls,
        check_ms: u32,
        now: Now,
    ) -> Result<Option<Self>, Error> {
        if settings.local_cert.is_none() {
            return Ok(None);
        }
        let stamps = stamps(settings);
        let (current, until) = build(settings, Timestamp::from_unix(now.unix_s))?;
        Ok(Some(TlsAcceptor {
            settings: settings.clone(),
            current,
            until: Some(until),
            stamps,
            check_ms,
            next_check_ms: now.ms + u64::from(check_ms),
            failures: LogThrottle::new(Policy::A_FEW_CLIENTS),
        }))
    }

    /// A session for a new connection.
    pub(in crate::net) fn session(&self, address: SocketAddr) -> Tls {
        Tls::new(Arc::clone(&self.current), address)
    }

    /// When to call [`TlsAcceptor::check`] next.
    pub(in crate::net) fn next_check_ms(&self) -> u64 {
        self.next_check_ms
    }

    /// Sets the interval between checks; the next check is one interval from now.
    pub(in crate::net) fn check_every(&mut self, check_ms: u32, now: Now) {
        self.check_ms = check_ms;
        self.next_check_ms = now.ms + u64::from(check_ms);
    }

    /// Reloads the certificates if a check is due and a file has changed.
    pub(in crate::net) fn check(&mut self, now: Now) {
        if now.ms < self.next_check_ms {
            return;
        }
        self.next_check_ms = now.ms + u64::from(self.check_ms);
        if stamps(&self.settings) != self.stamps {
            return self.reload(now);
        }
        if self.until.is_some_and(|until| until < Timestamp::from_unix(now.unix_s)) {
            self.until = None;
            log::error!("a certificate of this server has expired, so clients reject it: renew it");
        }
    }

    /// Loads the files again, for new sessions. If they cannot be used, the old certificates stay.
    pub(in crate::net) fn reload(&mut self, now: Now) {
        // Before the files are read, so that the next check notices a change during the read.
        self.stamps = stamps(&self.settings);
        match build(&self.settings, Timestamp::from_unix(now.unix_s)) {
            Ok((current, until)) => {
                (self.current, self.until) = (current, Some(until));
                log::info!("reloaded the certificates; the first expires on {until}");
            }
            Err(error) => {
                log::error!("cannot reload the certificates: {error}; the old ones stay in use")
            }
        }
    }

    /// Logs why a session failed, if it did. Returns whether it did.
    pub(in crate::net) fn log_failure(&mut self, session: &Tls, now: Now) -> bool {
        if let Some(reason) = session.failure() {
            let name = session.server_name();
            let name = name.map_or("no host name".to_owned(), |name| format!("host name {name}"));
            let what = if session.is_handshaking() { "TLS handshake" } else { "TLS session" };
            let text = format!("{what} failed ({name}): {reason}");
            self.failures.warn(now.ms, format_args!("{}: {text}", session.address));
        }
        session.failure().is_some()
    }

    /// Logs that a client sent plain HTTP.
    pub(in crate::net) fn log_plain(&mut self, session: &Tls, now: Now) {
        let text = "sent plain HTTP to a port that speaks TLS: use https:// and wss://, also in \
                    the upstream address of a proxy";
        self.failures.warn(now.ms, format_args!("{}: {text}", session.address));
    }
}

/// Inode, size and time of each file; `None` if it does not exist.
type Stamps = Vec<(PathBuf, Option<(u64, u64, i64, i64)>)>;

fn stamps(settings: &config::Tls) -> Stamps {
    let mut paths: Vec<PathBuf> =
        [&settings.local_cert, &settings.local_pk, &settings.cafile, &settings.capath]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
    for one in &settings.sni_server_certs {
        paths.push(one.local_cert.clone());
        paths.extend(one.local_pk.clone());
    }
    if let Some(folder) = &settings.capath {
        paths.extend(files::files_of(folder).unwrap_or_default());
    }
    paths
        .into_iter()
        .map(|path| {
            let stamp = fs::metadata(&path).ok();
            let stamp = stamp.map(|m| (m.ino(), m.size(), m.mtime(), m.mtime_nsec()));
            (path, stamp)
        })
        .collect()
}

/// Reads all files and builds the configuration of new sessions. Also returns when the first
/// certificate expires.
pub(super) fn build(
    settings: &config::Tls,
    now: Timestamp,
) -> Result<(Arc<ServerConfig>, Timestamp), Error> {
    let provider = Arc::new(provider(settings));
    let (names, until) = Names::read(settings, &provider, now)?;
    let unusable = |error: rustls::Error| Error::new("configuration", OPTIONS, error.to_string());
    let versions: Vec<_> = [(settings.tls12, &TLS12), (settings.tls13, &TLS13)]
        .into_iter()
        .filter_map(|(spoken, version)| spoken.then_some(version))
        .collect();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(unusable)?;
    let builder = match settings.verify_peer {
        false => builder.with_no_client_auth(),
        true => {
            let (cafile, capath) = (settings.cafile.as_deref(), settings.capath.as_deref());
            let roots = Arc::new(files::authorities(cafile, capath)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|error| Error::new("configuration", OPTIONS, error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(names));
    config.alpn_protocols =
        settings.alpn_protocols.iter().map(|name| name.clone().into_bytes()).collect();
    config.ignore_client_order = settings.honor_cipher_order;
    // Sessions are resumed from tickets, which take no memory in the server. A reload creates new
    // ticket keys, so a client must present its certificate again after its authority was removed.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    if !settings.no_ticket {
        config.ticketer = ring::Ticketer::new().map_err(unusable)?;
        // One ticket is enough, because a client gets a new one with each connection.
        config.send_tls13_tickets = 1;
    }
    Ok((Arc::new(config), until))
}

const OPTIONS: &str = "servers.reverb.options.tls";

/// The configured suites that the library has, in the configured order.
fn provider(settings: &config::Tls) -> CryptoProvider {
    let mut provider = ring::default_provider();
    let wanted = &settings.ciphers;
    if wanted.is_empty() {
        return provider;
    }
    // The library has other names than IANA for the suites of TLS 1.3.
    let place = |suite: &rustls::SupportedCipherSuite| {
        let name = suite.suite().as_str().map(|name| name.replace("TLS13_", "TLS_"));
        wanted.iter().position(|wanted| name.as_deref() == Some(wanted))
    };
    let names_tls13 = wanted.iter().any(|name| is_tls13(name));
    provider
        .cipher_suites
        .retain(|suite| place(suite).is_some() || (suite.tls13().is_some() && !names_tls13));
    provider.cipher_suites.sort_by_key(place);
    provider
}

/// The certificates, by host name.
#[derive(Debug)]
struct Names {
    named: HashMap<String, Arc<CertifiedKey>>,
    /// The certificate for every other name.
    default: Arc<CertifiedKey>,
}

impl Names {
    /// Reads all certificates. Returns when the first expires.
    fn read(
        settings: &config::Tls,
        provider: &CryptoProvider,
        now: Timestamp,
    ) -> Result<(Self, Timestamp), Error> {
        let passphrase = settings.passphrase.as_deref();
        let identity = |local_cert: &Path, local_pk: Option<&Path>| {
            files::identity(&Pair { local_cert, local_pk, passphrase }, provider, now)
        };
        let Some(local_cert) = &settings.local_cert else {
            return Err(Error::new("configuration", OPTIONS, "needs local_cert"));
        };
        let (default, mut until) = identity(local_cert, settings.local_pk.as_deref())?;
        let mut named = HashMap::new();
        for one in &settings.sni_server_certs {
            let (key, key_until) = identity(&one.local_cert, one.local_pk.as_deref())?;
            until = until.min(key_until);
            named.insert(one.name.clone(), key);
        }
        Ok((Names { named, default }, until))
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = || {
            let name = hello.server_name()?.to_ascii_lowercase();
            let (_, parent) = name.split_once('.').unwrap_or_default();
            self.named.get(&name).or_else(|| self.named.get(&format!("*.{parent}")))
        };
        Some(Arc::clone(named().unwrap_or(&self.default)))
    }
}
