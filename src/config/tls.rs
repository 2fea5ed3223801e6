//! `servers.reverb.options.tls`: the options of PHP's SSL context as values, and the certificates
//! that Herd and Valet keep for a host name.
//!
//! Only their meaning is here: nothing in this file opens a certificate or knows the library that
//! speaks TLS. An option that would have no effect is an error that says so.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::values::{boolean, shown};
use crate::nearest::did_you_mean;

/// How the server speaks TLS; without [`Tls::local_cert`] it does not.
#[derive(Clone, PartialEq)]
pub struct Tls {
    /// The PEM file with the certificate and those that lead to its issuer. `local_cert`.
    pub local_cert: Option<PathBuf>,
    /// The PEM file with the private key; without it, `local_cert` holds both. `local_pk`.
    pub local_pk: Option<PathBuf>,
    /// Decrypts the private keys; never logged. `passphrase`.
    pub passphrase: Option<String>,
    /// Whether clients must show a certificate. `verify_peer`.
    pub verify_peer: bool,
    /// The PEM file of those who may have issued it. `cafile`.
    pub cafile: Option<PathBuf>,
    /// A directory of such files. `capath`.
    pub capath: Option<PathBuf>,
    /// Certificates for single host names, `*.` in front for all names one level below.
    /// `SNI_server_certs`.
    pub sni_server_certs: Vec<SniCertificate>,
    /// What is offered to clients that ask which protocols there are. `alpn_protocols`.
    pub alpn_protocols: Vec<String>,
    /// Whether TLS 1.2 is spoken. `crypto_method`, `min_proto_version`, `max_proto_version`.
    pub tls12: bool,
    /// Whether TLS 1.3 is spoken.
    pub tls13: bool,
    /// The cipher suites that may be used, by their IANA names; empty for all. `ciphers`.
    pub ciphers: Vec<&'static str>,
    /// Whether the order of `ciphers` decides, and not that of the client, which knows what its
    /// processor does fast. `honor_cipher_order`.
    pub honor_cipher_order: bool,
    /// Whether a client that comes back must begin anew. `no_ticket`.
    pub no_ticket: bool,
}

/// A certificate for one host name.
#[derive(Debug, Clone, PartialEq)]
pub struct SniCertificate {
    /// The name, in lower case.
    pub name: String,
    /// As [`Tls::local_cert`].
    pub local_cert: PathBuf,
    /// As [`Tls::local_pk`].
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

/// Leaves the passphrase out.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("local_cert", &self.local_cert).finish_non_exhaustive()
    }
}

/// An option that cannot be followed: its key, empty for all of them together, and what is wrong.
type Refused<'k> = (&'k str, String);

impl Tls {
    /// What a build without the feature `tls` says to whoever asks for it.
    pub const MISSING: &str =
        "this build has no TLS; leave it to nginx, or build with the feature tls";

    /// Reads the object of options on top of what is set. Returns warnings, each with its key.
    ///
    /// # Errors
    ///
    /// The first option that is unknown, has a wrong value or no meaning, or does not go with the
    /// others.
    pub fn read<'k>(
        &mut self,
        options: &'k Map<String, Value>,
    ) -> Result<Vec<Refused<'k>>, Refused<'k>> {
        let mut warnings = Vec::new();
        for (key, value) in options {
            let is_known =
                KEYS.contains(&&**key) || MEANINGLESS.iter().any(|(name, _)| name == key);
            // As everywhere, null and the empty text are no value.
            if is_known && (value.is_null() || value.as_str() == Some("")) {
                continue;
            }
            if let Some(warning) = self.set(key, value).map_err(|reason| (&**key, reason))? {
                warnings.push((&**key, warning));
            }
        }
        self.check()?;
        Ok(warnings)
    }

    /// Sets one option; returns what is most likely a mistake.
    fn set(&mut self, key: &str, value: &Value) -> Result<Option<String>, String> {
        match key {
            "local_cert" => self.local_cert = Some(path(value)?),
            "local_pk" => self.local_pk = Some(path(value)?),
            "passphrase" => self.passphrase = Some(text(value)?.to_owned()),
            "verify_peer" => self.verify_peer = switch(value)?,
            "cafile" => self.cafile = Some(path(value)?),
            "capath" => self.capath = Some(path(value)?),
            "SNI_server_certs" => self.sni_server_certs = sni_certificates(value)?,
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
            _ => match MEANINGLESS.iter().find(|(name, _)| *name == key) {
                Some((_, reason)) => return Err(format!("has no meaning here: {reason}")),
                None => {
                    return Err(format!(
                        "is not a known key{}",
                        did_you_mean(key, KEYS.iter().copied())
                    ));
                }
            },
        }
        Ok(None)
    }

    fn check(&self) -> Result<(), Refused<'static>> {
        let has_authority = self.cafile.is_some() || self.capath.is_some();
        if self.local_pk.is_some() && self.local_cert.is_none() {
            return Err(("local_pk", "needs local_cert beside it".into()));
        }
        if self.verify_peer && !has_authority {
            let reason = "asks clients for a certificate, and needs cafile or capath: whose?";
            return Err(("verify_peer", reason.into()));
        }
        if has_authority && !self.verify_peer {
            let key = if self.cafile.is_some() { "cafile" } else { "capath" };
            let reason = "is about certificates of clients and needs verify_peer; those that lead \
                          to the issuer of your own belong in local_cert, behind it";
            return Err((key, reason.into()));
        }
        let none_for = |newest: bool| {
            !self.ciphers.is_empty() && !self.ciphers.iter().any(|name| is_tls13(name) == newest)
        };
        let tls12 = self.tls12 && !none_for(false);
        let tls13 = self.tls13;
        if !tls12 && !tls13 {
            let reason = "leave no version of TLS: 1.2 and 1.3 are spoken here, no older one";
            return Err(("", reason.into()));
        }
        Ok(())
    }

    /// Whether this differs from the default in anything that only a certificate gives meaning.
    pub fn needs_certificate(&self) -> bool {
        self.local_cert.is_none() && *self != Tls::default()
    }
}

/// The certificate and key that Herd or Valet made for a host name, if they did.
pub fn of_host(home: &Path, hostname: &str) -> Option<(PathBuf, PathBuf)> {
    // Laravel takes a URL for a host name here.
    let name = hostname.split_once("://").map_or(hostname, |(_, rest)| rest);
    let name = name.split(['/', ':']).next()?;
    // A name is a file's name below: it must not lead elsewhere.
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

/// Where Herd and Valet keep certificates, below the home directory, in Laravel's order.
const HOST_CERTIFICATES: [&str; 2] =
    ["Library/Application Support/Herd/config/valet/Certificates", ".config/valet/Certificates"];

/// The options that are followed.
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

/// PHP's other options, and why each has no meaning for this server.
const MEANINGLESS: &[(&str, &str)] = &[
    ("peer_name", "it is the name a client expects a server to have"),
    ("verify_peer_name", "it has a client check the name of a server"),
    ("allow_self_signed", "a client with a certificate of its own making belongs in cafile"),
    ("verify_depth", "chains of client certificates may have six intermediate ones"),
    ("peer_fingerprint", "clients are known by who issued their certificate: see cafile"),
    ("capture_peer_cert", "there is no PHP code to hand the certificate to"),
    ("capture_peer_cert_chain", "there is no PHP code to hand the certificates to"),
    ("capture_session_meta", "there is no PHP code to hand the session to"),
    ("SNI_enabled", "the name a client asks for is always looked at: see SNI_server_certs"),
    ("disable_compression", "TLS is never compressed here"),
    ("security_level", "it is OpenSSL's; nothing weaker than its level 2 is spoken here"),
    ("dh_param", "key exchange is by elliptic curves alone"),
    ("single_dh_use", "every key exchange has a key of its own"),
    ("single_ecdh_use", "every key exchange has a key of its own"),
    ("ecdh_curve", "X25519, P-256 and P-384 are offered"),
    ("rsa_key_size", "RSA is used to sign alone, with the key of the certificate"),
    ("reneg_limit", "nothing is ever renegotiated"),
    ("reneg_window", "nothing is ever renegotiated"),
    ("reneg_limit_callback", "nothing is ever renegotiated"),
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

/// Names to paths, or to objects of two paths.
fn sni_certificates(value: &Value) -> Result<Vec<SniCertificate>, String> {
    let names = match value {
        Value::Object(names) => names,
        Value::Array(list) if list.is_empty() => return Ok(Vec::new()),
        _ => return Err("must be an object with host names as keys".into()),
    };
    let mut certificates = Vec::new();
    for (name, value) in names {
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
        if !is_name || name.strip_prefix("*.").unwrap_or(name).contains('*') {
            return Err(format!("{} is not a host name, nor one behind *.", shown(name)));
        }
        let told = |reason| format!("{}: {reason}", shown(name));
        let (local_cert, local_pk) = match value {
            Value::Object(pair) => {
                if let Some(key) =
                    pair.keys().find(|k| !["local_cert", "local_pk"].contains(&&***k))
                {
                    return Err(told(format!("{} is not a known key", shown(key))));
                }
                let certificate = pair.get("local_cert").unwrap_or(&Value::Null);
                let key = pair.get("local_pk").filter(|key| !key.is_null()).map(path);
                (path(certificate), key.transpose().map_err(told)?)
            }
            value => (path(value), None),
        };
        let local_cert =
            local_cert.map_err(|_| told("must be a path, or have one as local_cert".into()))?;
        let name = name.to_ascii_lowercase();
        certificates.push(SniCertificate { name, local_cert, local_pk });
    }
    Ok(certificates)
}

/// Protocols with commas between them, as PHP has them, or a list.
fn protocols(value: &Value) -> Result<Vec<String>, String> {
    let names: Option<Vec<&str>> = match value {
        Value::String(text) => Some(text.split(',').map(str::trim).collect()),
        Value::Array(list) => list.iter().map(Value::as_str).collect(),
        _ => None,
    };
    let names = names.ok_or("must be text")?;
    match names.iter().find(|name| !["http/1.1", "http/1.0"].contains(*name)) {
        None => Ok(names.into_iter().map(str::to_owned).collect()),
        Some(name) => Err(format!("{} is not spoken here, http/1.1 is", shown(name))),
    }
}

/// PHP's `STREAM_CRYPTO_METHOD_*_SERVER` and `STREAM_CRYPTO_PROTO_*`, by number or name. One bit
/// is a version, and a newer version a higher bit.
fn version_bits(value: &Value) -> Result<u64, String> {
    let wrong = || {
        let reason = "is none of PHP's methods for servers: 32 is TLS 1.2, 64 is TLS 1.3, 96 both";
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

/// One version, which is one bit.
fn version(value: &Value) -> Result<u64, String> {
    let bits = version_bits(value)?;
    match bits.is_power_of_two() {
        true => Ok(bits),
        false => Err("must be one version: 32 is TLS 1.2, 64 is TLS 1.3".into()),
    }
}

const TLS_1_2: u64 = 32;
const TLS_1_3: u64 = 64;

/// Reads a list of cipher suites as OpenSSL writes it, as far as it names single suites. Says
/// which names were passed over.
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
            // Whatever else is excluded, such as !aNULL, is not there.
            (None, true) => {}
            (None, false) => unknown.push(shown(name)),
        }
    }
    taken.retain(|name| !refused.contains(name));
    if taken.is_empty() {
        let names: Vec<_> = CIPHERS.iter().map(|(_, openssl)| *openssl).collect();
        return Err(format!("names none of the suites there are: {}", names.join(":")));
    }
    let unknown = (!unknown.is_empty())
        .then(|| format!("names suites that are not spoken here: {}", unknown.join(", ")));
    Ok((taken, unknown))
}

/// The suites, by their IANA and their OpenSSL names.
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

/// Whether a suite, by its IANA name, is one of TLS 1.3. As in OpenSSL, a list that names none of
/// them leaves them all.
pub fn is_tls13(iana: &str) -> bool {
    !iana.contains("_WITH_")
}

#[cfg(test)]
mod tests;
