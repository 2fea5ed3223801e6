//! Checks the server's certificates without a connection: whether the files are usable, whether the
//! host name matches, and how long they are valid.

use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::ParsedCertificate;

use super::validity::Timestamp;
use super::{acceptor, files};
use crate::config::Tls;
use crate::net::clock;

/// Checks that the certificates are valid for `name`, if given, and do not expire soon. Returns a
/// sentence with the expiry of the first one.
///
/// # Errors
///
/// What is wrong, as a sentence for the user.
pub(crate) fn check_certificate(settings: &Tls, name: Option<&str>) -> Result<String, String> {
    let now = clock::unix_s();
    let built = acceptor::build(settings, Timestamp::from_unix(now));
    let (_, until) = built.map_err(|error| error.to_string())?;
    let has_no_sni_certificate =
        |name: &&str| !settings.sni_server_certs.iter().any(|c| c.name == *name);
    if let Some(file) = &settings.local_cert
        && let Some(name) = name.filter(has_no_sni_certificate)
    {
        let read = files::certificates(file, "local_cert").map_err(|error| error.to_string())?;
        let is_valid_for_name = read.first().is_some_and(|certificate| {
            let parsed = ParsedCertificate::try_from(certificate);
            let name = ServerName::try_from(name);
            parsed.ok().zip(name.ok()).is_some_and(|(c, n)| verify_server_name(&c, &n).is_ok())
        });
        if !is_valid_for_name {
            let file = file.display();
            return Err(format!("{file}: is not valid for {name} (REVERB_HOST or --hostname)"));
        }
    }
    match until < Timestamp::from_unix(now + SOON_S) {
        true => Err(format!("a certificate of this server expires on {until}: renew it")),
        false => Ok(format!("valid until {until}")),
    }
}

/// Ten days. Tools renew certificates thirty days before they expire, so a renewal has failed by
/// then.
const SOON_S: u64 = 10 * 86_400;
