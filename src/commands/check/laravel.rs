//! What the `.env` tells Laravel and, through Vite, browsers: whether it goes together, and where
//! it leads them. Nothing is connected to here.

use std::borrow::Cow;
use std::fmt;

use super::Report;
use crate::config::env::Environment;
use crate::config::{Loaded, Server};

/// Where somebody connects to; the host may be a path.
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

/// A host as URLs have it: addresses of IPv6 in brackets.
pub(super) fn in_url(host: &str) -> Cow<'_, str> {
    match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]").into(),
        false => host.into(),
    }
}

/// Where Laravel publishes to, by `config/broadcasting.php` and its defaults.
pub(super) fn publishers(environment: &Environment) -> Option<Place> {
    place(environment, "", 443)
}

/// Where Echo connects to. A browser's code that is built elsewhere has its variables there.
pub(super) fn browsers(environment: &Environment) -> Option<Place> {
    // Laravel's `echo.js` says 80 and 443.
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

/// What to change if a place does not lead to this server.
pub(super) fn hint(place: &Place, prefix: &str, server: &Server) -> String {
    let speaks_tls = server.tls.local_cert.is_some();
    if place.port != server.port {
        return format!(
            "the server listens on port {}: have the proxy at {place} pass it on, or set \
             {prefix}REVERB_PORT={}",
            server.port, server.port
        );
    }
    match (place.is_secure, speaks_tls) {
        (true, false) => format!("the server speaks no TLS there: set {prefix}REVERB_SCHEME=http"),
        (false, true) => format!("the server speaks TLS there: set {prefix}REVERB_SCHEME=https"),
        _ => format!("it is {prefix}REVERB_HOST, {prefix}REVERB_PORT and {prefix}REVERB_SCHEME"),
    }
}

/// Tells what does not go together.
pub(super) fn look(report: &mut Report<'_>, loaded: &Loaded) {
    let environment = &loaded.environment;
    driver(report, environment);
    credentials(report, loaded);
    public_side(report, environment);
    for name in ["APP_KEY", "HOST", "PORT", "SCHEME"] {
        let vite = format!("VITE_REVERB_{name}");
        let own = format!("REVERB_{name}");
        let Some(told) = environment.get(&vite) else { continue };
        let is_same = environment.get(&own) == Some(told);
        if told.contains("${") {
            report.wrong(&format!("{vite} names a variable that is not there: {told}"));
        } else if name == "APP_KEY" && !is_same {
            report.wrong(&format!("{vite} is not {own}: set it to \"${{{own}}}\""));
        } else if !is_same {
            report.note(&format!("{vite} is not {own}: browsers and Laravel go different ways"));
        }
    }
}

fn driver(report: &mut Report<'_>, environment: &Environment) {
    // Up to Laravel 10 the name was another.
    let names = ["BROADCAST_CONNECTION", "BROADCAST_DRIVER"];
    let given = names.into_iter().find_map(|name| Some((name, environment.get(name)?)));
    match given {
        Some((_, "reverb")) => {}
        Some((name, other)) => report.wrong(&format!(
            "{name} is {}: Laravel publishes nothing to this server; set it to reverb",
            other.escape_debug()
        )),
        // Only the file of a Laravel app has this one.
        None if environment.get("APP_KEY").or(environment.get("APP_URL")).is_some() => {
            report.wrong("BROADCAST_CONNECTION is not set: set it to reverb");
        }
        None => {}
    }
}

/// Where `reverb.json` has apps, those of the `.env` mean nothing to the server.
fn credentials(report: &mut Report<'_>, loaded: &Loaded) {
    let own = |name| loaded.environment.get(name);
    let Some(id) = own("REVERB_APP_ID") else { return };
    let app = loaded.config.apps.iter().find(|app| app.id == id);
    let Some(app) = app.filter(|_| !loaded.generated_app) else {
        return report.wrong("REVERB_APP_ID names no app of reverb.json, which wins over it");
    };
    let pairs = [("REVERB_APP_KEY", &app.key), ("REVERB_APP_SECRET", &app.secret)];
    for (name, value) in pairs {
        if own(name).is_some_and(|own| own != value) {
            let text = "is not that of the app in reverb.json, which wins over it";
            report.wrong(&format!("{name} {text}"));
        }
    }
}

fn public_side(report: &mut Report<'_>, environment: &Environment) {
    let told = |name: &str| environment.get(name).is_some();
    if !told("REVERB_HOST") && (told("APP_URL") || told("REVERB_PORT")) {
        return report.wrong(
            "REVERB_HOST is not set: Laravel would publish to Pusher's own servers; set it to the \
             name by which Laravel and browsers reach this server",
        );
    }
    let publishers = publishers(environment);
    // Vite's variables are those of Laravel in most apps, and one advice is enough then.
    let browsers = browsers(environment).filter(|place| publishers.as_ref() != Some(place));
    for (prefix, place) in [("", &publishers), ("VITE_", &browsers)] {
        let Some(place) = place else { continue };
        if ["0.0.0.0", "::"].contains(&place.host.as_str()) {
            report.wrong(&format!(
                "{prefix}REVERB_HOST is {}, which is for listening alone (REVERB_SERVER_HOST): set \
                 it to the name of this machine",
                place.host
            ));
        }
        let usual = if place.is_secure { 80 } else { 443 };
        if place.port == usual {
            let scheme = if place.is_secure { "http" } else { "https" };
            report.wrong(&format!(
                "{prefix}REVERB_PORT {usual} does not go with the scheme: set \
                 {prefix}REVERB_SCHEME={scheme}, or another port"
            ));
        }
    }
    let page = environment.get("APP_URL").unwrap_or_default();
    let is_local = |place: &Place| ["localhost", "127.0.0.1"].contains(&place.host.as_str());
    let browsers = browsers.or(publishers).filter(|place| !place.is_secure && !is_local(place));
    if page.starts_with("https://") && browsers.is_some() {
        report.wrong(
            "APP_URL begins with https, so browsers refuse what is not wss: set \
             VITE_REVERB_SCHEME=https and VITE_REVERB_PORT to a port that speaks TLS",
        );
    }
}
