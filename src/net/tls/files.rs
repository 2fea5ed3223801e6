//! Reads certificates and keys from PEM files. Every error names the file, its option and the
//! reason; none contains text of a file.
//!
//! The event loop reads the files again when they have changed. They have a few kilobytes each.
//! Only regular files are opened, because others could block the event loop.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};

use super::validity::{self, Timestamp};
use crate::config::Error;

/// The files of a certificate and its key.
pub(super) struct Pair<'a> {
    pub local_cert: &'a Path,
    pub local_pk: Option<&'a Path>,
    pub passphrase: Option<&'a str>,
}

/// Reads a certificate and its key. Also returns when the certificate expires.
pub(super) fn identity(
    pair: &Pair<'_>,
    provider: &CryptoProvider,
    now: Timestamp,
) -> Result<(Arc<CertifiedKey>, Timestamp), Error> {
    let (file, key_file) = (pair.local_cert, pair.local_pk.unwrap_or(pair.local_cert));
    let key_option = if pair.local_pk.is_some() { "local_pk" } else { "local_cert" };
    let chain = certificates(file, "local_cert")?;
    let not_a_certificate = || Error::new(file.display(), "local_cert", NOT_A_CERTIFICATE);
    let validity = chain.first().and_then(|leaf| validity::validity(leaf));
    let (from, until) = validity.ok_or_else(not_a_certificate)?;
    if now > until {
        return Err(Error::new(file.display(), "local_cert", format!("expired on {until}")));
    }
    if now < from {
        log::warn!("{}: local_cert: is not valid before {from}", file.display());
    }
    let key_error = |reason: &str| Error::new(key_file.display(), key_option, reason);
    let key = private_key(&read(key_file, key_option)?, pair.passphrase)
        .map_err(|reason| key_error(&reason))?;
    match CertifiedKey::from_der(chain, key, provider) {
        Ok(certified) => Ok((Arc::new(certified), until)),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            let reason = format!("its key does not belong to the certificate {}", file.display());
            Err(key_error(&reason))
        }
        Err(rustls::Error::InvalidCertificate(_)) => Err(not_a_certificate()),
        Err(_) => Err(key_error(UNKNOWN_KEY)),
    }
}

/// Reads the authorities that may have issued the certificates of clients.
pub(super) fn authorities(
    cafile: Option<&Path>,
    capath: Option<&Path>,
) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    let mut add = |file: &Path, option| {
        for certificate in certificates(file, option)? {
            store
                .add(certificate)
                .map_err(|_| Error::new(file.display(), option, NOT_A_CERTIFICATE))?;
        }
        Ok(())
    };
    if let Some(file) = cafile {
        add(file, "cafile")?;
    }
    if let Some(folder) = capath {
        let files = files_of(folder)?;
        if files.is_empty() {
            return Err(Error::new(folder.display(), "capath", "has no files"));
        }
        for file in files {
            add(&file, "capath")?;
        }
    }
    Ok(store)
}

/// The files of a directory, in order.
pub(super) fn files_of(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |error| Error::new(folder.display(), "capath", not_read(&error));
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_file() {
            files.push(path);
        }
        if files.len() > FILES_MAX {
            let reason = format!("has more than {FILES_MAX} files");
            return Err(Error::new(folder.display(), "capath", reason));
        }
    }
    files.sort();
    Ok(files)
}

/// All certificates of a file; at least one.
pub(super) fn certificates(
    file: &Path,
    option: &str,
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let text = read(file, option)?;
    let failed = |reason: &str| Error::new(file.display(), option, reason);
    let mut certificates = Vec::new();
    for (kind, der) in sections(&text).map_err(failed)? {
        if kind == SectionKind::Certificate {
            certificates.push(CertificateDer::from(der));
        }
    }
    match certificates.is_empty() {
        true => Err(failed("has no certificate: no line is -----BEGIN CERTIFICATE-----")),
        false => Ok(certificates),
    }
}

/// The first private key of a text.
fn private_key(text: &[u8], passphrase: Option<&str>) -> Result<PrivateKeyDer<'static>, String> {
    if contains(text, b"Proc-Type: 4,ENCRYPTED") {
        return Err("is encrypted in the old format of OpenSSL; convert it with \
                    `openssl pkcs8 -topk8 -in OLD -out NEW`"
            .into());
    }
    // The library skips sections of encrypted keys. Only the label differs, so it is replaced here.
    let is_encrypted = contains(text, ENCRYPTED);
    let relabelled = String::from_utf8_lossy(text).replace("BEGIN ENCRYPTED ", "BEGIN ");
    let relabelled = relabelled.replace("END ENCRYPTED ", "END ");
    let key = sections(relabelled.as_bytes())?.into_iter().find_map(|(kind, der)| match kind {
        SectionKind::PrivateKey => Some(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der))),
        SectionKind::RsaPrivateKey => Some(PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(der))),
        SectionKind::EcPrivateKey => Some(PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(der))),
        _ => None,
    });
    let key = key.ok_or("has no private key: no line is -----BEGIN PRIVATE KEY-----")?;
    if !is_encrypted {
        return Ok(key);
    }
    let passphrase = passphrase.ok_or("is encrypted and needs passphrase")?;
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(key.secret_der())
        .map_err(|_| "has an unsupported encryption; encrypt it with PBES2 and AES")?;
    let der =
        encrypted.decrypt(passphrase).map_err(|_| "cannot be decrypted: wrong passphrase?")?;
    Ok(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der.as_bytes().to_vec())))
}

fn sections(text: &[u8]) -> Result<Vec<(SectionKind, Vec<u8>)>, &'static str> {
    let sections: Result<Vec<_>, _> = PemObject::pem_slice_iter(text).collect();
    match sections {
        // The library's error is not shown, because it may quote the file.
        Err(_) => Err("is broken PEM: a section has no end, or is not base64"),
        Ok(sections) if sections.is_empty() && !contains(text, b"-----BEGIN ") => {
            Err("is not PEM: no line begins with -----BEGIN")
        }
        Ok(sections) => Ok(sections),
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Reads a file, if it is a regular file and no longer than [`FILE_BYTES_MAX`].
fn read(file: &Path, option: &str) -> Result<Vec<u8>, Error> {
    let failed = |reason: String| Error::new(file.display(), option, reason);
    let metadata = fs::metadata(file).map_err(|error| failed(not_read(&error)))?;
    if !metadata.is_file() {
        return Err(failed("is not a file".into()));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(failed(format!("is longer than {FILE_BYTES_MAX} bytes")));
    }
    fs::read(file).map_err(|error| failed(not_read(&error)))
}

fn not_read(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "does not exist".into(),
        _ => format!("cannot be read: {error}"),
    }
}

const NOT_A_CERTIFICATE: &str = "has a certificate that cannot be parsed";
const UNKNOWN_KEY: &str = "has a key of an unsupported kind: RSA of 2048 to 8192 bits, ECDSA on \
                           P-256 and P-384, and Ed25519 are supported";
const ENCRYPTED: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
/// The longest file. A system's bundle of all authorities has about 230 KB.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The most files of a directory. A system's directory of all authorities has about 450.
const FILES_MAX: usize = 4_096;
