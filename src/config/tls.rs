//! `servers.reverb.options.tls`: the options of PHP's SSL context, and the location of certificates
//! of Herd and Valet.
//!
//! Parses and validates options only; certificates are read in `net::tls`. An option without effect
//! is a finding.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::values::{boolean, shown};
use crate::nearest::did_you_mean;

/// The TLS options of the server; TLS is off without [`Tls::local_cert`].
#[derive(Clone, PartialEq)]
pub struct Tls {
    /// The PEM file with the certificate chain. `local_cert`.
    pub local_cert: Option<PathBuf>,
    /// The PEM file with the private key; `None` means in the file of `local_cert`. `local_pk`.
    pub local_pk: Option<PathBuf>,
    /// The passphrase of the private keys; never logged. `passphrase`.
    pub passphrase: Option<String>,
    /// Whether clients must present a certificate. `verify_peer`.
    pub verify_peer: bool,
    /// The PEM file with the certificate authorities for clients. `cafile`.
    pub cafile: Option<PathBuf>,
    /// A directory of such files. `capath`.
    pub capath: Option<PathBuf>,
    /// Certificates for single host names; a name with `*.` matches all names one level below.
    /// `SNI_server_certs`.
    pub sni_server_certs: Vec<SniCertificate>,
    /// The protocols offered by ALPN. `alpn_protocols`.
    pub alpn_protocols: Vec<String>,
    /// Whether TLS 1.2 is enabled. `crypto_method`, `min_proto_version`, `max_proto_version`.
    pub tls12: bool,
    /// Whether TLS 1.3 is enabled.
    pub tls13: bool,
    /// The IANA names of the allowed cipher suites; empty for all. `ciphers`.
    pub ciphers: Vec<&'static str>,
    /// Whether the order of `ciphers` takes precedence over that of the client, which knows the fast
    /// suites of its processor. `honor_cipher_order`.
    pub honor_cipher_order: bool,
    /// Whether session resumption is disabled. `no_ticket`.
    pub no_ticket: bool,
}

/// A certificate for one host name.
#[derive(Debug, Clone, PartialEq)]
pub struct SniCertificate {
    /// The name, in lower case.
    pub name: String,
    /// See [`Tls::local_cert`].
    pub local_cert: PathBuf,
    /// See [`Tls::local_pk`].
    pub local_pk: Option<PathBuf>,
}

impl Default for Tls {
    fn default() -> Self {
        Tls {
            local_cert: None,
            local_pk: None,
            passphrase: None,
            verify_peer: false,
            cafile: None,
            capath: None,
            sni_server_certs: Vec::new(),
            alpn_protocols: Vec::new(),
            tls12: true,
            tls13: true,
            ciphers: Vec::new(),
            honor_cipher_order: false,
            no_ticket: false,
        }
    }
}

/// Omits the passphrase.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("local_cert", &self.local_cert).finish_non_exhaustive()
    }
}

/// The key of an option and a reason; the key is empty if the reason concerns several options.
type Fault<'k> = (&'k str, String);

/// Findings about valid options, each with its key.
#[derive(Debug, Default)]
pub struct Remarks<'k> {
    /// Likely mistakes.
    pub mistakes: Vec<Fault<'k>>,
    /// Findings that may be intended.
    pub others: Vec<Fault<'k>>,
}

/// The finding about an unknown key.
pub const UNKNOWN_KEY: &str = "is not a known key, so it has no effect";

impl Tls {
    /// The error for TLS options in a build without the feature `tls`.
    pub const MISSING: &str =
        "this build has no TLS; terminate TLS in nginx, or build with the feature tls";

    /// Applies an object of options.
    ///
    /// # Errors
    ///
    /// The first option that is invalid, or in conflict with others.
    pub fn read<'k>(&mut self, options: &'k Map<String, Value>) -> Result<Remarks<'k>, Fault<'k>> {
        let mut remarks = Remarks::default();
        for (key, value) in options {
            let effectless = MEANINGLESS.iter().find(|(name, _)| name == key);
            let is_known = KEYS.contains(&&**key);
            // As for all settings, null and an empty text are no value.
            if (is_known || effectless.is_some()) && (value.is_null() || value.as_str() == Some(""))
            {
                continue;
            }
            if let Some((_, reason)) = effectless {
                remarks.others.push((key, format!("has no effect: {reason}")));
            } else if is_known {
                let mistake = self.set(key, value).map_err(|reason| (&**key, reason))?;
                remarks.mistakes.extend(mistake.map(|text| (&**key, text)));
            } else {
                match did_you_mean(key, KEYS.iter().copied()) {
                    meant if meant.is_empty() => remarks.others.push((key, UNKNOWN_KEY.into())),
                    meant => remarks.mistakes.push((key, format!("{UNKNOWN_KEY}{meant}"))),
                }
            }
        }
        self.drop_unused_authorities(&mut remarks);
        self.check()?;
        Ok(remarks)
    }

    /// Without `verify_peer`, authorities have no effect. Some expect that the server sends them to
    /// clients, with its own certificate.
    fn drop_unused_authorities(&mut self, remarks: &mut Remarks<'_>) {
        if self.verify_peer {
            return;
        }
        let unused = [("cafile", self.cafile.take()), ("capath", self.capath.take())];
        for (key, _) in unused.iter().filter(|(_, path)| path.is_some()) {
            let text = "has no effect without verify_peer: it is for client certificates; \
                        intermediate certificates of the server belong in local_cert, after its own";
            remarks.mistakes.push((key, text.into()));
        }
    }

    /// Sets one option; returns a warning about a likely mistake.
    fn set(&mut self, key: &str, value: &Value) -> Result<Option<String>, String> {
        match key {
            "local_cert" => self.local_cert = Some(path(value)?),
            "local_pk" => self.local_pk = Some(path(value)?),
            "passphrase" => self.passphrase = Some(text(value)?.to_owned()),
            "verify_peer" => self.verify_peer = switch(value)?,
            "cafile" => self.cafile = Some(path(value)?),
            "capath" => self.capath = Some(path(value)?),
            "SNI_server_certs" => {
                let (certificates, unknown) = sni_certificates(value)?;
                self.sni_server_certs = certificates;
                return Ok(unknown);
            }
            "alpn_protocols" => self.alpn_protocols = protocols(value)?,
            "crypto_method" => {
                let method = version_bits(value)?;
                self.tls12 &= method & TLS_1_2 != 0;
                self.tls13 &= method & TLS_1_3 != 0;
            }
            "min_proto_version" => self.tls12 &= version(value)? <= TLS_1_2,
            "max_proto_version" => {
                let newest = version(value)?;
                self.tls12 &= newest >= TLS_1_2;
                self.tls13 &= newest >= TLS_1_3;
            }
            "ciphers" => {
                let (ciphers, unknown) = ciphers(text(value)?)?;
                self.ciphers = ciphers;
                return Ok(unknown);
            }
            "honor_cipher_order" => self.honor_cipher_order = switch(value)?,
            "no_ticket" => self.no_ticket = switch(value)?,
            _ => {}
        }
        Ok(None)
    }

    fn check(&self) -> Result<(), Fault<'static>> {
        let has_authority = self.cafile.is_some() || self.capath.is_some();
        if self.local_pk.is_some() && self.local_cert.is_none() {
            return Err(("local_pk", "needs local_cert as well".into()));
        }
        if self.verify_peer && !has_authority {
            let reason = "requires client certificates, so it needs cafile or capath";
            return Err(("verify_peer", reason.into()));
        }
        let none_for = |newest: bool| {
            !self.ciphers.is_empty() && !self.ciphers.iter().any(|name| is_tls13(name) == newest)
        };
        let tls12 = self.tls12 && !none_for(false);
        let tls13 = self.tls13;
        if !tls12 && !tls13 {
            let reason = "leave no supported version of TLS: only 1.2 and 1.3 are supported";
            return Err(("", reason.into()));
        }
        Ok(())
    }

    /// Whether options are set that have no effect, because no certificate is configured.
    pub fn is_without_certificate(&self) -> bool {
        self.local_cert.is_none() && *self != Tls::default()
    }

    /// Whether a server without TLS would contradict these options: they restrict its clients, or
    /// name certificates.
    pub fn needs_certificate(&self) -> bool {
        self.is_without_certificate() && (self.verify_peer || !self.sni_server_certs.is_empty())
    }
}

/// The certificate and key of Herd or Valet for a host name, if they exist.
pub fn of_host(home: &Path, hostname: &str) -> Option<(PathBuf, PathBuf)> {
    // Laravel accepts a URL here.
    let name = hostname.split_once("://").map_or(hostname, |(_, rest)| rest);
    let name = name.split(['/', ':']).next()?;
    // The name becomes a file name, so it must not lead to another directory.
    if name.is_empty() || name.starts_with('.') {
        return None;
    }
    HOST_CERTIFICATES.iter().find_map(|folder| {
        let folder = home.join(folder);
        let certificate = folder.join(format!("{name}.crt"));
        let key = folder.join(format!("{name}.key"));
        (certificate.is_file() && key.is_file()).then_some((certificate, key))
    })
}

/// The directories of Herd and Valet in the home directory, in Laravel's order.
const HOST_CERTIFICATES: [&str; 2] =
    ["Library/Application Support/Herd/config/valet/Certificates", ".config/valet/Certificates"];

/// The supported options.
pub const KEYS: &[&str] = &[
    "local_cert",
    "local_pk",
    "passphrase",
    "verify_peer",
    "cafile",
    "capath",
    "SNI_server_certs",
    "alpn_protocols",
    "crypto_method",
    "min_proto_version",
    "max_proto_version",
    "ciphers",
    "honor_cipher_order",
    "no_ticket",
];

/// PHP's other options, and why each has no effect on this server.
const MEANINGLESS: &[(&str, &str)] = &[
    ("peer_name", "it is the name that a client expects in a server certificate"),
    ("verify_peer_name", "it makes a client check the name of a server"),
    ("allow_self_signed", "self-signed client certificates belong in cafile"),
    ("verify_depth", "client certificate chains may have six intermediate certificates"),
    ("peer_fingerprint", "client certificates are verified by their issuer: see cafile"),
    ("capture_peer_cert", "there is no PHP code that could use the certificate"),
    ("capture_peer_cert_chain", "there is no PHP code that could use the certificates"),
    ("capture_session_meta", "there is no PHP code that could use the session"),
    ("SNI_enabled", "SNI is always enabled: see SNI_server_certs"),
    ("disable_compression", "TLS is never compressed here"),
    ("security_level", "it is for OpenSSL; nothing weaker than its level 2 is supported"),
    ("dh_param", "key exchange uses elliptic curves only"),
    ("single_dh_use", "every key exchange has its own key"),
    ("single_ecdh_use", "every key exchange has its own key"),
    ("ecdh_curve", "X25519, P-256 and P-384 are offered"),
    ("rsa_key_size", "RSA is used for signatures only, with the key of the certificate"),
    ("reneg_limit", "renegotiation is not supported"),
    ("reneg_window", "renegotiation is not supported"),
    ("reneg_limit_callback", "renegotiation is not supported"),
];

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or("must be text".to_owned())
}

fn path(value: &Value) -> Result<PathBuf, String> {
    match value.as_str() {
        Some(text) if !text.is_empty() && !text.contains('\0') => Ok(text.into()),
        _ => Err("must be the path of a file".into()),
    }
}

fn switch(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(on) => Ok(*on),
        Value::String(text) => boolean(text),
        Value::Number(number) => boolean(&number.to_string()),
        _ => Err("must be true or false".into()),
    }
}

/// Parses an object of host names, each with a path or an object of two paths. Also returns a warning
/// about an unknown key.
fn sni_certificates(value: &Value) -> Result<(Vec<SniCertificate>, Option<String>), String> {
    let names = match value {
        Value::Object(names) => names,
        Value::Array(list) if list.is_empty() => return Ok((Vec::new(), None)),
        _ => return Err("must be an object with host names as keys".into()),
    };
    let (mut certificates, mut unknown) = (Vec::new(), None);
    for (name, value) in names {
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
        if !is_name || name.strip_prefix("*.").unwrap_or(name).contains('*') {
            return Err(format!("{} is neither a host name nor *. and a host name", shown(name)));
        }
        let with_name = |reason| format!("{}: {reason}", shown(name));
        let (local_cert, local_pk) = match value {
            Value::Object(pair) => {
                let is_unknown = |key: &&String| !["local_cert", "local_pk"].contains(&&***key);
                if let Some(key) = pair.keys().find(is_unknown) {
                    unknown = Some(with_name(format!("{} {UNKNOWN_KEY}", shown(key))));
                }
                let certificate = pair.get("local_cert").unwrap_or(&Value::Null);
                let key = pair.get("local_pk").filter(|key| !key.is_null()).map(path);
                (path(certificate), key.transpose().map_err(with_name)?)
            }
            value => (path(value), None),
        };
        let local_cert = local_cert
            .map_err(|_| with_name("must be a path, or have one as local_cert".into()))?;
        let name = name.to_ascii_lowercase();
        certificates.push(SniCertificate { name, local_cert, local_pk });
    }
    Ok((certificates, unknown))
}

/// Parses a list of protocols, or a text with commas between them, as in PHP.
fn protocols(value: &Value) -> Result<Vec<String>, String> {
    let names: Option<Vec<&str>> = match value {
        Value::String(text) => Some(text.split(',').map(str::trim).collect()),
        Value::Array(list) => list.iter().map(Value::as_str).collect(),
        _ => None,
    };
    let names = names.ok_or("must be text")?;
    match names.iter().find(|name| !["http/1.1", "http/1.0"].contains(*name)) {
        None => Ok(names.into_iter().map(str::to_owned).collect()),
        Some(name) => Err(format!("{} is not supported; use http/1.1", shown(name))),
    }
}

/// Parses PHP's `STREAM_CRYPTO_METHOD_*_SERVER` and `STREAM_CRYPTO_PROTO_*`, by number or name. Each
/// bit is a version; newer versions have higher bits.
fn version_bits(value: &Value) -> Result<u64, String> {
    let wrong = || {
        let reason =
            "is not one of PHP's methods for servers: 32 is TLS 1.2, 64 is TLS 1.3, 96 both";
        format!("{} {reason}", shown(&value.to_string()))
    };
    let bits = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(name) => {
            let name = name.strip_prefix("STREAM_CRYPTO_").unwrap_or(name);
            let name = name.strip_prefix("METHOD_").or(name.strip_prefix("PROTO_")).unwrap_or(name);
            match name.strip_suffix("_SERVER").unwrap_or(name) {
                "SSLv3" => Some(4),
                "TLSv1_0" | "TLSv1.0" => Some(8),
                "TLSv1_1" | "TLSv1.1" => Some(16),
                "TLSv1_2" | "TLSv1.2" => Some(TLS_1_2),
                "TLSv1_3" | "TLSv1.3" => Some(TLS_1_3),
                "TLS" | "TLS_ANY" => Some(120),
                "ANY" => Some(126),
                digits => digits.parse().ok(),
            }
        }
        _ => None,
    };
    // An odd number is a method for clients.
    bits.filter(|bits| bits % 2 == 0 && (2..=126).contains(bits)).ok_or_else(wrong)
}

/// Parses a single version, which is one bit.
fn version(value: &Value) -> Result<u64, String> {
    let bits = version_bits(value)?;
    match bits.is_power_of_two() {
        true => Ok(bits),
        false => Err("must be one version: 32 is TLS 1.2, 64 is TLS 1.3".into()),
    }
}

const TLS_1_2: u64 = 32;
const TLS_1_3: u64 = 64;

/// Parses a list of cipher suites in OpenSSL's syntax, but without its groups of suites. Returns a
/// warning with unknown names.
fn ciphers(list: &str) -> Result<(Vec<&'static str>, Option<String>), String> {
    let (mut taken, mut refused, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for word in list.split([':', ',', ' ']).filter(|word| !word.is_empty()) {
        let (no, name) = match word.strip_prefix(['!', '-']) {
            Some(name) => (true, name),
            None => (false, word),
        };
        let known = CIPHERS.iter().find(|(iana, openssl)| *iana == name || *openssl == name);
        match (known, no) {
            (Some((iana, _)), true) => refused.push(*iana),
            (Some((iana, _)), false) => taken.push(*iana),
            (None, false) if ["ALL", "DEFAULT", "HIGH"].contains(&name) => {
                taken.extend(CIPHERS.iter().map(|(iana, _)| iana));
            }
            // Other exclusions, such as !aNULL, concern suites that are not supported anyway.
            (None, true) => {}
            (None, false) => unknown.push(shown(name)),
        }
    }
    taken.retain(|name| !refused.contains(name));
    if taken.is_empty() {
        let names: Vec<_> = CIPHERS.iter().map(|(_, openssl)| *openssl).collect();
        return Err(format!("has no supported cipher suite; supported are {}", names.join(":")));
    }
    let unknown = (!unknown.is_empty())
        .then(|| format!("names unsupported cipher suites: {}", unknown.join(", ")));
    Ok((taken, unknown))
}

/// The supported suites: IANA name and OpenSSL name.
const CIPHERS: &[(&str, &str)] = &[
    ("TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
    ("TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
    ("TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256"),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"),
];

/// Whether a suite, by its IANA name, belongs to TLS 1.3. As in OpenSSL, a list without suites of
/// TLS 1.3 allows all of them.
pub fn is_tls13(iana: &str) -> bool {
    !iana.contains("_WITH_")
}

#[cfg(test)]
mod tests;
