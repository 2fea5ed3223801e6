//! What new TLS connections begin with: certificates, versions, suites. Loaded at the start, and
//! again when a file has changed or the operator says so; connections that are there already keep
//! what they began with.

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
use super::expiry::Moment;
use super::files::{self, Pair};
use crate::config::tls::is_tls13;
use crate::config::{self, Error};
use crate::hub::{LogThrottle, Now, Policy};

/// What makes a server secure.
pub(in crate::net) struct TlsAcceptor {
    settings: config::Tls,
    current: Arc<ServerConfig>,
    /// When the first of the certificates expires; `None` once it was said that it has.
    until: Option<Moment>,
    /// The files as they were before they were last read.
    stamps: Stamps,
    check_ms: u32,
    next_check_ms: u64,
    failures: LogThrottle,
}

impl TlsAcceptor {
    /// Loads everything; `None` where no certificate is configured.
    pub(in crate::net) fn load(
        settings: &config::Tls,
        check_ms: u32,
        now: Now,
    ) -> Result<Option<Self>, Error> {
        if settings.local_cert.is_none() {
            return Ok(None);
        }
        let stamps = stamps(settings);
        let (current, until) = build(settings, Moment::from_unix(now.unix_s))?;
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

    /// Looks whether a file has changed, if it is time to, and loads them if so.
    pub(in crate::net) fn check(&mut self, now: Now) {
        if now.ms < self.next_check_ms {
            return;
        }
        self.next_check_ms = now.ms + u64::from(self.check_ms);
        if stamps(&self.settings) != self.stamps {
            return self.reload(now);
        }
        if self.until.is_some_and(|until| until < Moment::from_unix(now.unix_s)) {
            self.until = None;
            log::error!("a certificate of this server has expired: clients will refuse it");
        }
    }

    /// Loads all files for the connections to come. What cannot be used changes nothing.
    pub(in crate::net) fn reload(&mut self, now: Now) {
        // Looked at before they are read: what changes meanwhile is seen the next time.
        self.stamps = stamps(&self.settings);
        match build(&self.settings, Moment::from_unix(now.unix_s)) {
            Ok((current, until)) => {
                (self.current, self.until) = (current, Some(until));
                log::info!("loaded the certificates anew; the first expires on {until}");
            }
            Err(error) => log::error!("the certificates stay as they were: {error}"),
        }
    }

    /// Logs why a session did not come about, or broke; says whether that was so.
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

    /// Logs that a client spoke something else than TLS.
    pub(in crate::net) fn log_plain(&mut self, session: &Tls, now: Now) {
        let text = "spoke plain HTTP to this port, which speaks TLS: use https:// and wss://, \
                    also in a proxy's address for this server";
        self.failures.warn(now.ms, format_args!("{}: {text}", session.address));
    }
}

/// What tells a file from the file it was, for each file; `None` for one that is not there.
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

/// Reads all files and puts together what new sessions begin with.
pub(super) fn build(
    settings: &config::Tls,
    now: Moment,
) -> Result<(Arc<ServerConfig>, Moment), Error> {
    let provider = Arc::new(provider(settings));
    let (names, until) = Names::read(settings, &provider, now)?;
    let whole = |error: rustls::Error| Error::new("configuration", OPTIONS, error.to_string());
    let versions: Vec<_> = [(settings.tls12, &TLS12), (settings.tls13, &TLS13)]
        .into_iter()
        .filter_map(|(spoken, version)| spoken.then_some(version))
        .collect();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(whole)?;
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
    // Sessions are resumed from tickets, so that they take no memory here. Their keys are made
    // anew with the rest: a session does not outlive the authority that let its client in.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    if !settings.no_ticket {
        config.ticketer = ring::Ticketer::new().map_err(whole)?;
        // A client takes a new one with every connection.
        config.send_tls13_tickets = 1;
    }
    Ok((Arc::new(config), until))
}

const OPTIONS: &str = "servers.reverb.options.tls";

/// The library's suites, less those that are not wanted, in the order they are wanted.
fn provider(settings: &config::Tls) -> CryptoProvider {
    let mut provider = ring::default_provider();
    let wanted = &settings.ciphers;
    if wanted.is_empty() {
        return provider;
    }
    // The library has a spelling of its own for the suites of TLS 1.3.
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

/// The certificates by the names they are for.
#[derive(Debug)]
struct Names {
    named: HashMap<String, Arc<CertifiedKey>>,
    other: Arc<CertifiedKey>,
}

impl Names {
    /// Reads all certificates, and says when the first expires.
    fn read(
        settings: &config::Tls,
        provider: &CryptoProvider,
        now: Moment,
    ) -> Result<(Self, Moment), Error> {
        let passphrase = settings.passphrase.as_deref();
        let identity = |local_cert: &Path, local_pk: Option<&Path>| {
            files::identity(&Pair { local_cert, local_pk, passphrase }, provider, now)
        };
        let Some(local_cert) = &settings.local_cert else {
            return Err(Error::new("configuration", OPTIONS, "needs local_cert"));
        };
        let (other, mut until) = identity(local_cert, settings.local_pk.as_deref())?;
        let mut named = HashMap::new();
        for one in &settings.sni_server_certs {
            let (key, key_until) = identity(&one.local_cert, one.local_pk.as_deref())?;
            until = until.min(key_until);
            named.insert(one.name.clone(), key);
        }
        Ok((Names { named, other }, until))
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = || {
            let name = hello.server_name()?.to_ascii_lowercase();
            let (_, parent) = name.split_once('.').unwrap_or_default();
            self.named.get(&name).or_else(|| self.named.get(&format!("*.{parent}")))
        };
        Some(Arc::clone(named().unwrap_or(&self.other)))
    }
}
