//! The settings of the `.env` for Laravel and, through Vite, for browsers: whether they match, and to
//! which address they lead. Connections are made in `probe`.

use std::borrow::Cow;
use std::fmt;

use super::report::Report;
use crate::commands::broadcasting;
use crate::config::env::Environment;
use crate::config::{Loaded, Server};

/// An address to connect to. The host may be the path of a Unix socket.
#[derive(PartialEq)]
pub(super) struct Place {
    pub host: String,
    pub port: u16,
    pub is_secure: bool,
}

impl Place {
    /// A server on this machine, at one of [`Server::local_hosts`].
    pub(super) fn local(host: &str, server: &Server) -> Self {
        let is_secure = server.tls.local_cert.is_some();
        Place { host: host.to_owned(), port: server.port, is_secure }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { host, port, is_secure } = self;
        match host.starts_with('/') {
            true => f.write_str(host),
            false => {
                let scheme = if *is_secure { "https" } else { "http" };
                write!(f, "{scheme}://{}:{port}", in_url(host))
            }
        }
    }
}

/// A host as in a URL: IPv6 addresses in brackets.
pub(super) fn in_url(host: &str) -> Cow<'_, str> {
    match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]").into(),
        false => host.into(),
    }
}

/// The address that Laravel publishes to, by `config/broadcasting.php` and its defaults.
pub(super) fn publishers(environment: &Environment) -> Option<Place> {
    place(environment, "", 443)
}

/// The address that Laravel Echo connects to. If the browser's code is built elsewhere, its variables
/// are not known here.
pub(super) fn browsers(environment: &Environment) -> Option<Place> {
    // The defaults of Laravel's `echo.js` are 80 and 443.
    let mut place = place(environment, "VITE_", 80)?;
    if place.is_secure && value(environment, "VITE_", "PORT").is_none() {
        place.port = 443;
    }
    Some(place)
}

/// The key that browsers connect with, unless it refers to an unknown variable.
pub(super) fn browsers_key(environment: &Environment) -> Option<&str> {
    environment.get("VITE_REVERB_APP_KEY").filter(|key| !key.contains("${"))
}

fn place(environment: &Environment, prefix: &str, port: u16) -> Option<Place> {
    let value = |name| value(environment, prefix, name);
    Some(Place {
        host: value("HOST").filter(|host| faults(host).is_none())?.to_owned(),
        port: value("PORT").and_then(|port| port.parse().ok()).unwrap_or(port),
        is_secure: value("SCHEME") != Some("http"),
    })
}

fn value<'a>(environment: &'a Environment, prefix: &str, name: &str) -> Option<&'a str> {
    let plain = || environment.get(&format!("REVERB_{name}"));
    environment.get(&format!("{prefix}REVERB_{name}")).or_else(plain)
}

/// What to change if an address does not lead to this server.
pub(super) fn hint(place: &Place, prefix: &str, server: &Server) -> String {
    let speaks_tls = server.tls.local_cert.is_some();
    if place.port != server.port {
        return format!(
            "the server listens on port {}: make the proxy at {place} forward to it, or set \
             {prefix}REVERB_PORT={}",
            server.port, server.port
        );
    }
    match (place.is_secure, speaks_tls) {
        (true, false) => {
            format!("the server does not speak TLS there: set {prefix}REVERB_SCHEME=http")
        }
        (false, true) => format!("the server speaks TLS there: set {prefix}REVERB_SCHEME=https"),
        _ => format!("see {prefix}REVERB_HOST, {prefix}REVERB_PORT and {prefix}REVERB_SCHEME"),
    }
}

/// Reports settings that do not match.
pub(super) fn check(report: &mut Report<'_>, loaded: &Loaded) {
    let environment = &loaded.environment;
    driver(report, environment);
    if let Some(finding) = broadcasting::missing_connection(&loaded.app_folder) {
        report.wrong(&finding);
    }
    public_side(report, environment);
    vite_is_set(report, environment);
    for name in ["APP_KEY", "HOST", "PORT", "SCHEME"] {
        let vite = format!("VITE_REVERB_{name}");
        let own = format!("REVERB_{name}");
        let Some(value) = environment.get(&vite) else { continue };
        let is_same = environment.get(&own) == Some(value);
        if value.contains("${") {
            report.wrong(&format!("{vite} refers to a variable that is not set: {value}"));
        } else if name == "APP_KEY" && !is_same {
            report.wrong(&format!("{vite} differs from {own}: set it to \"${{{own}}}\""));
        } else if !is_same && faults(value).is_none() {
            report.note(&format!(
                "{vite} differs from {own}: browsers and Laravel connect to different addresses"
            ));
        }
    }
}

fn driver(report: &mut Report<'_>, environment: &Environment) {
    // Laravel 10 and older use another name.
    let names = ["BROADCAST_CONNECTION", "BROADCAST_DRIVER"];
    let given = names.into_iter().find_map(|name| Some((name, environment.get(name)?)));
    match given {
        Some((_, "reverb")) => {}
        Some((name, other)) => report.wrong(&format!(
            "{name} is {}: Laravel publishes nothing to this server; set it to reverb",
            other.escape_debug()
        )),
        // Only a Laravel app has these variables.
        None if environment.get("APP_KEY").or(environment.get("APP_URL")).is_some() => {
            report.wrong("BROADCAST_CONNECTION is not set: set it to reverb");
        }
        None => {}
    }
}

/// Reports variables of Vite that are missing. They may be set elsewhere, if the JavaScript is not
/// built here.
fn vite_is_set(report: &mut Report<'_>, environment: &Environment) {
    // The other two have defaults in Laravel's `echo.js`.
    let names = ["VITE_REVERB_APP_KEY", "VITE_REVERB_HOST"];
    let missing: Vec<&str> =
        names.into_iter().filter(|name| environment.get(name).is_none()).collect();
    if environment.get("REVERB_APP_KEY").is_some() && !missing.is_empty() {
        let verb = if missing.len() == 1 { "is" } else { "are" };
        report.note(&format!(
            "{} {verb} not set, so Laravel Echo does not know this server: `reverb install` adds \
             the variables of Vite (ignore this if the JavaScript is built elsewhere)",
            missing.join(" and ")
        ));
    }
}

/// What is wrong with a public host, and what it should be: the host, and then further settings.
fn faults(host: &str) -> Option<(&'static str, String)> {
    if host.starts_with('/') {
        return None;
    }
    let (scheme, rest) = match host.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, host),
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    // An IPv6 address without brackets has several colons.
    let split = authority.rsplit_once(':');
    let (name, port) = match split.filter(|(name, _)| !name.contains(':') || name.ends_with(']')) {
        Some((name, port)) => (name, Some(port)),
        None => (authority, None),
    };
    let mut advice = format!("set it to {}", name.escape_debug());
    let mut add = |setting: &str, value: &str| {
        advice.push_str(&format!(", and REVERB_{setting} to {}", value.escape_debug()));
    };
    if let Some(scheme) = scheme {
        let is_secure = ["https", "wss"].contains(&scheme);
        add("SCHEME", if is_secure { "https" } else { "http" });
    }
    port.into_iter().for_each(|port| add("PORT", port));
    Some(path).filter(|path| !path.is_empty()).into_iter().for_each(|path| {
        add("SERVER_PATH", &format!("/{path}"));
    });
    let what = match (scheme, port) {
        (Some(_), _) => "a scheme",
        (None, Some(_)) => "a port",
        (None, None) if host != name => "a path",
        (None, None) => return None,
    };
    Some((what, advice))
}

fn public_side(report: &mut Report<'_>, environment: &Environment) {
    let own = environment.get("REVERB_HOST");
    for name in ["REVERB_HOST", "VITE_REVERB_HOST"] {
        let host = environment.get(name).filter(|host| name == "REVERB_HOST" || own != Some(host));
        if let Some((what, advice)) = host.and_then(faults) {
            report.wrong(&format!("{name} contains {what}, but must be a host only: {advice}"));
        }
    }
    let is_set = |name: &str| environment.get(name).is_some();
    if !is_set("REVERB_HOST") && (is_set("APP_URL") || is_set("REVERB_PORT")) {
        return report.wrong(
            "REVERB_HOST is not set: Laravel would publish to Pusher's own servers; set it to the \
             name by which Laravel and browsers reach this server",
        );
    }
    let publishers = publishers(environment);
    // In most apps Vite's variables are those of Laravel; one hint is enough then.
    let browsers = browsers(environment).filter(|place| publishers.as_ref() != Some(place));
    for (prefix, place) in [("", &publishers), ("VITE_", &browsers)] {
        let Some(place) = place else { continue };
        if ["0.0.0.0", "::"].contains(&place.host.as_str()) {
            report.wrong(&format!(
                "{prefix}REVERB_HOST is {}, which is an address to listen on \
                 (REVERB_SERVER_HOST), not to connect to: set it to the name of this machine",
                place.host
            ));
        }
        let usual = if place.is_secure { 80 } else { 443 };
        if place.port == usual {
            let scheme = if place.is_secure { "http" } else { "https" };
            report.wrong(&format!(
                "{prefix}REVERB_PORT {usual} does not match the scheme: set \
                 {prefix}REVERB_SCHEME={scheme}, or another port"
            ));
        }
    }
    let page = environment.get("APP_URL").unwrap_or_default();
    let is_local = |place: &Place| ["localhost", "127.0.0.1"].contains(&place.host.as_str());
    let browsers = browsers.or(publishers).filter(|place| !place.is_secure && !is_local(place));
    if page.starts_with("https://") && browsers.is_some() {
        report.wrong(
            "APP_URL begins with https, so browsers accept only wss: set \
             VITE_REVERB_SCHEME=https and VITE_REVERB_PORT to a port that speaks TLS",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_more_than_a_host_is_taken_apart() {
        for (host, expected) in [
            ("localhost", None),
            ("::1", None),
            ("[::1]", None),
            ("/run/reverb.sock", None),
            (
                "http://127.0.0.1",
                Some(("a scheme", "set it to 127.0.0.1, and REVERB_SCHEME to http")),
            ),
            (
                "wss://ws.test:8443/ws",
                Some((
                    "a scheme",
                    "set it to ws.test, and REVERB_SCHEME to https, and REVERB_PORT to 8443, and \
                     REVERB_SERVER_PATH to /ws",
                )),
            ),
            ("ws.test:80", Some(("a port", "set it to ws.test, and REVERB_PORT to 80"))),
            ("[::1]:80", Some(("a port", "set it to [::1], and REVERB_PORT to 80"))),
            ("ws.test/", Some(("a path", "set it to ws.test"))),
        ] {
            let found = faults(host);
            assert_eq!(found.as_ref().map(|(what, advice)| (*what, &**advice)), expected, "{host}");
        }
    }
}
