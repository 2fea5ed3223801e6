//! The server that a command uses, and the app whose credentials it has. Requests are in `api`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::args::terminal::ServerArgs;
use crate::commands::Failure;
use crate::config::{self, App, Loaded, Url};
use crate::net::{self, BlockingStream, Destination, Fetch, RequestError};

/// A server and an app.
pub(super) struct Endpoint {
    pub app: App,
    destination: Destination,
    /// The prefix of every path; empty or begins with a slash.
    pub prefix: String,
    /// Whether the certificate is verified. That of a server on this machine need not name the address
    /// that it listens at.
    verifies: bool,
    authorities: Option<PathBuf>,
}

impl Endpoint {
    /// The server and the app that these flags name.
    pub(super) fn of(args: &ServerArgs) -> Result<Self, Failure> {
        let loaded = config::load(&args.running.sources(), std::env::vars_os())?;
        let app = app(&loaded, args.app.as_deref())?;
        let authorities = loaded.environment.get("SSL_CERT_FILE").map(PathBuf::from);
        let endpoint = match &args.url {
            Some(text) => {
                let (destination, prefix) = elsewhere(text).map_err(|why| invalid("--url", why))?;
                Endpoint { app, destination, prefix, verifies: true, authorities }
            }
            None => {
                let destination = local(&loaded.config.server)?;
                let prefix = loaded.config.server.path;
                Endpoint { app, destination, prefix, verifies: false, authorities }
            }
        };
        match endpoint.destination.is_secure && cfg!(not(feature = "tls")) {
            true => Err(invalid(
                "https",
                "needs TLS, which this build lacks; build with the feature tls",
            )),
            false => Ok(endpoint),
        }
    }

    /// Opens a connection.
    pub(super) fn open(&self) -> Result<BlockingStream, RequestError> {
        net::open(&self.fetch(TIMEOUT))
    }

    /// How requests are sent.
    pub(super) fn fetch(&self, timeout: Duration) -> Fetch<'_> {
        Fetch {
            destination: &self.destination,
            verifies: self.verifies,
            authorities: self.authorities.as_deref(),
            refuses_private: false,
            timeout,
        }
    }

    /// The value of the header `Host`.
    pub(super) fn authority(&self) -> String {
        let Destination { host, port, .. } = &self.destination;
        match host {
            host if host.starts_with('/') => "localhost".to_owned(),
            host if host.contains(':') => format!("[{host}]:{port}"),
            host => format!("{host}:{port}"),
        }
    }

    /// The failure of a request that got no response.
    pub(super) fn unreachable(&self, error: &RequestError) -> String {
        match error.no_listener {
            true => format!(
                "no server listens at {self}; run `reverb start`, or name another server with --url \
                 or --port"
            ),
            false => format!("{self} cannot be used: {error}"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Destination { host, is_secure, .. } = &self.destination;
        if host.starts_with('/') {
            return f.write_str(host);
        }
        let scheme = if *is_secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.prefix)
    }
}

/// The app with this id; by default that of the variables, or else the first.
fn app(loaded: &Loaded, id: Option<&str>) -> Result<App, Failure> {
    if loaded.generated_app {
        let text = "no app is configured here: set REVERB_APP_ID, REVERB_APP_KEY and \
                    REVERB_APP_SECRET, or name the configuration of the server with --env or --config";
        return Err(Failure { text: text.to_owned(), exit_code: 2 });
    }
    let apps = &loaded.config.apps;
    let of = |id: &str| apps.iter().find(|app| app.id == id);
    let Some(id) = id else {
        let own = loaded.environment.get("REVERB_APP_ID").and_then(of);
        let app = own.or(apps.first());
        return app.cloned().ok_or_else(|| invalid("configuration", "has no app"));
    };
    of(id).cloned().ok_or_else(|| {
        let ids: Vec<&str> = apps.iter().take(IDS_SHOWN).map(|app| app.id.as_str()).collect();
        let known = ids.join(", ");
        invalid("--app", format!("no app has the id {}; known are {known}", id.escape_debug()))
    })
}

/// The server and the prefix in a URL.
fn elsewhere(text: &str) -> Result<(Destination, String), String> {
    // The scheme of a WebSocket means the same server.
    let text = match text.strip_prefix("ws") {
        Some(rest) if rest.starts_with("://") || rest.starts_with("s://") => format!("http{rest}"),
        _ => text.to_owned(),
    };
    let url = Url::parse(&text)?;
    if url.path.contains('?') {
        return Err("has a query, but names a server".to_owned());
    }
    let prefix = url.path.trim_end_matches('/').to_owned();
    Ok((Destination { host: url.host, port: url.port, is_secure: url.is_tls }, prefix))
}

/// The first address that a server with this configuration listens at.
fn local(server: &config::Server) -> Result<Destination, Failure> {
    let host = server.local_hosts().next().unwrap_or_default();
    if server.port == 0 && !Path::new(host).is_absolute() {
        let why = "is 0, so the system has chosen the port: name it with --port or --url";
        return Err(invalid("REVERB_SERVER_PORT", why));
    }
    let is_secure = server.tls.local_cert.is_some();
    Ok(Destination { host: host.to_owned(), port: server.port, is_secure })
}

fn invalid(what: &str, why: impl fmt::Display) -> Failure {
    Failure { text: format!("{what}: {why}"), exit_code: 2 }
}

/// The timeout of a connection attempt and of a request.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// The most ids that an error lists.
const IDS_SHOWN: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_server_and_a_prefix() {
        for (text, host, port, is_secure, prefix) in [
            ("http://a", "a", 80, false, ""),
            ("https://a/", "a", 443, true, ""),
            ("ws://a:8080/ws/", "a", 8080, false, "/ws"),
            ("wss://[::1]:1/x", "::1", 1, true, "/x"),
        ] {
            let (destination, found) = elsewhere(text).unwrap();
            let expected = Destination { host: host.into(), port, is_secure };
            assert_eq!((destination, found.as_str()), (expected, prefix), "{text}");
        }
        for text in ["a:80", "wssx://a", "http://a/?b", "http://u:p@a"] {
            assert!(elsewhere(text).is_err(), "{text}");
        }
    }
}
