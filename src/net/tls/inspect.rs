//! Checks a certificate as clients will, without a connection: whether it can be used, for which host
//! name, and for how long.

use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::ParsedCertificate;

use super::validity::Timestamp;
use super::{acceptor, files};
use crate::config::Tls;
use crate::net::clock;

/// Checks the certificates: they must be for this host name, if there is one, and valid for longer
/// than a renewal may take. Returns until when they are valid.
///
/// # Errors
///
/// What is wrong with them, as a sentence.
pub(crate) fn check_certificate(settings: &Tls, name: Option<&str>) -> Result<String, String> {
    let now = clock::unix_s();
    let built = acceptor::build(settings, Timestamp::from_unix(now));
    let (_, until) = built.map_err(|error| error.to_string())?;
    let is_of_another = |name: &&str| !settings.sni_server_certs.iter().any(|c| c.name == *name);
    if let Some(file) = &settings.local_cert
        && let Some(name) = name.filter(is_of_another)
    {
        let read = files::certificates(file, "local_cert").map_err(|error| error.to_string())?;
        let is_for = read.first().is_some_and(|certificate| {
            let parsed = ParsedCertificate::try_from(certificate);
            let name = ServerName::try_from(name);
            parsed.ok().zip(name.ok()).is_some_and(|(c, n)| verify_server_name(&c, &n).is_ok())
        });
        if !is_for {
            let file = file.display();
            return Err(format!("{file}: is not valid for {name} (REVERB_HOST or --hostname)"));
        }
    }
    match until < Timestamp::from_unix(now + SOON_S) {
        true => Err(format!("a certificate of this server expires on {until}: renew it")),
        false => Ok(format!("valid until {until}")),
    }
}

/// Ten days. Tools renew certificates thirty days before their end.
const SOON_S: u64 = 10 * 86_400;
