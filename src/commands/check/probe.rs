//! Requests to a server as a publisher or a browser would send them, and what the responses mean.
//! Connections are made by `net`.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use super::answer::{self, Problem};
use super::laravel::{Place, in_url};
use crate::config::App;
use crate::net::{self, Destination, Fetch, RequestError, unix_s};
use crate::proto::auth::Signer;
use crate::proto::http::{ResponseReader, UPGRADE};

/// The timeout of each call.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// Tests whether an address works for publishers and browsers.
pub(super) struct Probe<'a> {
    pub place: &'a Place,
    /// Whether the certificate is verified: its issuer and the host name.
    pub verifies: bool,
    /// The file with the trusted authorities; `None` means those of the system.
    pub authorities: Option<&'a Path>,
    pub timeout: Duration,
}

impl<'a> Probe<'a> {
    /// For a server on this machine. Its certificate need not name the address that it listens at.
    pub(super) fn local(place: &'a Place) -> Self {
        Probe { place, verifies: false, authorities: None, timeout: TIMEOUT }
    }

    /// Connects, with TLS if the address needs it, and disconnects.
    pub(super) fn connect(&self) -> Result<(), RequestError> {
        self.fetch(String::new(), |_| true).map(|_| ())
    }

    /// Requests a path without a signature, and returns the status.
    pub(super) fn status_of(&self, path: &str) -> Result<u16, RequestError> {
        let request = self.request(path, "Connection: close\r\n");
        self.fetch(request, |_| false).map(|response| response.status().unwrap_or_default())
    }

    /// Requests the number of connections of an app, as a publisher would.
    pub(super) fn request_as_publisher(&self, app: &App, prefix: &str) -> Result<(), Problem> {
        let path = format!("{prefix}/apps/{}/connections", app.id);
        let query = format!("auth_key={}&auth_timestamp={}&auth_version=1.0", app.key, unix_s());
        let signature = Signer::new(&app.secret).sign(&["GET\n", &path, "\n", &query]);
        let target = format!("{path}?{query}&auth_signature={signature}");
        let request = self.request(&target, "Connection: close\r\n");
        let response = self.fetch(request, |_| false).map_err(|error| error.to_string())?;
        match response.status() {
            Some(200) if text(&response).contains("\"connections\"") => Ok(()),
            _ => Err(rejection(&response)),
        }
    }

    /// Opens a WebSocket as Laravel Echo would on a page of this origin, until the connection is
    /// established.
    pub(super) fn connect_as_browser(
        &self,
        key: &str,
        prefix: &str,
        origin: Option<&str>,
    ) -> Result<(), Problem> {
        let target =
            format!("{prefix}/app/{key}?protocol=7&client=reverb-check&version=1.0&flash=false");
        let mut headers = String::from(UPGRADE);
        // An origin is a URL without its path.
        if let Some(origin) = origin.map(|url| url.splitn(4, '/').take(3)) {
            headers.push_str("Origin: ");
            headers.push_str(&origin.collect::<Vec<_>>().join("/"));
            headers.push_str("\r\n");
        }
        let request = self.request(&target, &headers);
        let is_enough = |response: &ResponseReader| text(response).contains('}');
        let response = self.fetch(request, is_enough).map_err(|error| error.to_string())?;
        if response.status() != Some(101) {
            return Err(rejection(&response));
        }
        match text(&response).contains("pusher:connection_established") {
            true => Ok(()),
            false => Err(answer::refusal(&text(&response))),
        }
    }

    fn fetch(
        &self,
        request: String,
        is_enough: fn(&ResponseReader) -> bool,
    ) -> Result<ResponseReader, RequestError> {
        let Place { host, port, is_secure } = self.place;
        let host = host.trim_matches(['[', ']']).to_owned();
        let fetch = Fetch {
            destination: &Destination { host, port: *port, is_secure: *is_secure },
            verifies: self.verifies,
            authorities: self.authorities,
            refuses_private: false,
            timeout: self.timeout,
        };
        net::fetch(&fetch, request.into_bytes(), b"", is_enough)
    }

    fn request(&self, target: &str, headers: &str) -> String {
        let host = &self.place.host;
        let host = if host.starts_with('/') { "localhost".into() } else { in_url(host) };
        let port = self.place.port;
        format!("GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: */*\r\n{headers}\r\n")
    }
}

/// The body; after a WebSocket handshake, the frames.
fn text(response: &ResponseReader) -> Cow<'_, str> {
    String::from_utf8_lossy(response.body())
}

fn rejection(response: &ResponseReader) -> Problem {
    let status = response.status().unwrap_or_default().to_string();
    answer::rejection(&status, &String::from_utf8_lossy(response.head()), &text(response))
}
