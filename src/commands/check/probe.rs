//! A minimal HTTP and WebSocket client, which sends requests to a server as a publisher or a
//! browser would.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use super::answer::{self, Problem};
use super::laravel::{Place, in_url};
use crate::config::App;
use crate::net::{BlockingStream, unix_s};
use crate::proto::auth::Signer;

/// Tests whether an address works for publishers and browsers.
pub(super) struct Probe<'a> {
    pub place: &'a Place,
    /// Whether the certificate is verified: its issuer and the host name.
    pub verifies: bool,
    /// The file with the trusted authorities; `None` means those of the system.
    pub authorities: Option<&'a Path>,
    pub timeout: Duration,
}

/// Why a connection failed.
pub(super) struct ConnectError {
    /// Whether no server listens at the address.
    pub no_listener: bool,
    why: String,
}

impl Probe<'_> {
    /// Connects, with TLS if the address needs it.
    pub(super) fn connect(&self) -> Result<BlockingStream, ConnectError> {
        let Place { host, port, is_secure } = self.place;
        let host = host.trim_matches(['[', ']']);
        let stream = match host.starts_with('/') {
            true => BlockingStream::unix(Path::new(host), self.timeout),
            false => BlockingStream::tcp(host, *port, self.timeout),
        };
        let mut stream = stream.map_err(|error| ConnectError {
            no_listener: [ErrorKind::ConnectionRefused, ErrorKind::NotFound]
                .contains(&error.kind()),
            why: error.to_string(),
        })?;
        if *is_secure {
            let secured = stream.secure_as(host, self.verifies, self.authorities);
            secured.map_err(|why| ConnectError { no_listener: false, why })?;
        }
        Ok(stream)
    }

    /// Requests the number of connections of an app, as a publisher would.
    pub(super) fn request_as_publisher(&self, app: &App, prefix: &str) -> Result<(), Problem> {
        let mut stream = self.connect().map_err(|error| error.why)?;
        let path = format!("{prefix}/apps/{}/connections", app.id);
        let query = format!("auth_key={}&auth_timestamp={}&auth_version=1.0", app.key, unix_s());
        let signature = Signer::new(&app.secret).sign(&["GET\n", &path, "\n", &query]);
        let target = format!("{path}?{query}&auth_signature={signature}");
        let request = self.request(&target, "Connection: close\r\n");
        stream.write(request.as_bytes()).map_err(|error| error.to_string())?;
        let response = read(&mut stream, |_| false)?;
        match status(&response)? {
            "200" if body(&response).contains("\"connections\"") => Ok(()),
            status => Err(answer::rejection(status, head(&response), body(&response))),
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
        let mut stream = self.connect().map_err(|error| error.why)?;
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
        stream.write(request.as_bytes()).map_err(|error| error.to_string())?;
        let response = read(&mut stream, |response| body(response).contains("}"))?;
        let status = status(&response)?;
        if status != "101" {
            return Err(answer::rejection(status, head(&response), body(&response)));
        }
        match body(&response).contains("pusher:connection_established") {
            true => {
                // A close frame with code 1000, masked with zeroes. An error here does not matter.
                let _ = stream.write(&[0x88, 0x82, 0, 0, 0, 0, 3, 0xe8]);
                Ok(())
            }
            false => Err(answer::refusal(body(&response))),
        }
    }

    fn request(&self, target: &str, headers: &str) -> String {
        let host = &self.place.host;
        let host = if host.starts_with('/') { "localhost".into() } else { in_url(host) };
        let port = self.place.port;
        format!("GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: */*\r\n{headers}\r\n")
    }
}

/// The key is the example of RFC 6455. The server's `Sec-WebSocket-Accept` is not verified.
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Reads a response up to its end, or until `is_enough` returns true. An error after the first
/// bytes counts as the end.
fn read(stream: &mut BlockingStream, is_enough: fn(&str) -> bool) -> Result<String, String> {
    let (mut response, mut buffer) = (Vec::new(), [0; 4_096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => response.extend_from_slice(&buffer[..len]),
            Err(error) if response.is_empty() => return Err(error.to_string()),
            Err(_) => break,
        }
        if response.len() > RESPONSE_BYTES_MAX || is_enough(&String::from_utf8_lossy(&response)) {
            break;
        }
    }
    match response.is_empty() {
        true => Err("it closed the connection without a response".to_owned()),
        false => Ok(String::from_utf8_lossy(&response).into_owned()),
    }
}

/// The status code of a response.
fn status(response: &str) -> Result<&str, String> {
    let digits = response.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
    digits.ok_or_else(|| "it answers, but not in HTTP: another program listens there".to_owned())
}

/// The text after the head; after a WebSocket handshake, the frames.
fn body(response: &str) -> &str {
    response.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

/// The first line and the headers.
fn head(response: &str) -> &str {
    response.split_once("\r\n\r\n").map_or(response, |(head, _)| head)
}

/// The most bytes read of a response. Error pages of proxies are shorter.
const RESPONSE_BYTES_MAX: usize = 65_536;
