//! The settings of the `.env` for Laravel and, through Vite, for browsers: whether they match, and to
//! which address they lead. Connections are made in `probe`.

use std::borrow::Cow;
use std::fmt;

use super::report::Report;
use crate::config::env::Environment;
use crate::config::{Loaded, Server};

/// An address to connect to. The host may be the path of a Unix socket.
#[derive(PartialEq)]
pub(super) struct Place {
    pub host: String,
    pub port: u16,
    pub is_secure: bool,
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

fn place(environment: &Environment, prefix: &str, port: u16) -> Option<Place> {
    let value = |name| value(environment, prefix, name);
    Some(Place {
        host: value("HOST")?.to_owned(),
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
    credentials(report, loaded);
    public_side(report, environment);
    for name in ["APP_KEY", "HOST", "PORT", "SCHEME"] {
        let vite = format!("VITE_REVERB_{name}");
        let own = format!("REVERB_{name}");
        let Some(value) = environment.get(&vite) else { continue };
        let is_same = environment.get(&own) == Some(value);
        if value.contains("${") {
            report.wrong(&format!("{vite} refers to a variable that is not set: {value}"));
        } else if name == "APP_KEY" && !is_same {
            report.wrong(&format!("{vite} differs from {own}: set it to \"${{{own}}}\""));
        } else if !is_same {
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

/// The server ignores the apps of the `.env` if `reverb.json` has apps.
fn credentials(report: &mut Report<'_>, loaded: &Loaded) {
    let own = |name| loaded.environment.get(name);
    let Some(id) = own("REVERB_APP_ID") else { return };
    let app = loaded.config.apps.iter().find(|app| app.id == id);
    let Some(app) = app.filter(|_| !loaded.generated_app) else {
        return report
            .wrong("REVERB_APP_ID is not the id of an app in reverb.json, which takes precedence");
    };
    let pairs = [("REVERB_APP_KEY", &app.key), ("REVERB_APP_SECRET", &app.secret)];
    for (name, value) in pairs {
        if own(name).is_some_and(|own| own != value) {
            let text = "differs from that of the app in reverb.json, which takes precedence";
            report.wrong(&format!("{name} {text}"));
        }
    }
}

fn public_side(report: &mut Report<'_>, environment: &Environment) {
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
