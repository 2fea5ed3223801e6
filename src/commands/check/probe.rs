//! Requests to a server as a publisher or a browser sends them: as much of HTTP and WebSocket as that
//! takes.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use super::laravel::{Place, in_url};
use crate::config::App;
use crate::net::{BlockingStream, unix_s};
use crate::proto::auth::Signer;
use crate::proto::shown;

/// A client that tests an address.
pub(super) struct Probe<'a> {
    pub place: &'a Place,
    /// Whether the certificate must be trusted and for the host.
    pub verifies: bool,
    /// The file with the trusted authorities; `None` means those of the system.
    pub authorities: Option<&'a Path>,
    pub timeout: Duration,
}

/// Why a connection failed.
pub(super) struct Refused {
    /// Whether no server listens at the address.
    pub no_listener: bool,
    why: String,
}

impl Probe<'_> {
    /// Connects, with TLS if the address needs it.
    pub(super) fn connect(&self) -> Result<BlockingStream, Refused> {
        let Place { host, port, is_secure } = self.place;
        let host = host.trim_matches(['[', ']']);
        let stream = match host.starts_with('/') {
            true => BlockingStream::unix(Path::new(host), self.timeout),
            false => BlockingStream::tcp(host, *port, self.timeout),
        };
        let mut stream = stream.map_err(|error| Refused {
            no_listener: [ErrorKind::ConnectionRefused, ErrorKind::NotFound]
                .contains(&error.kind()),
            why: error.to_string(),
        })?;
        if *is_secure {
            let secured = stream.secure_as(host, self.verifies, self.authorities);
            secured.map_err(|why| Refused { no_listener: false, why })?;
        }
        Ok(stream)
    }

    /// Requests the number of connections of an app, as a publisher would.
    pub(super) fn request_as_publisher(&self, app: &App, prefix: &str) -> Result<(), String> {
        let mut stream = self.connect().map_err(|refused| refused.why)?;
        let path = format!("{prefix}/apps/{}/connections", app.id);
        let query = format!("auth_key={}&auth_timestamp={}&auth_version=1.0", app.key, unix_s());
        let signature = Signer::new(&app.secret).sign(&["GET\n", &path, "\n", &query]);
        let target = format!("{path}?{query}&auth_signature={signature}");
        let request = self.request(&target, "Connection: close\r\n");
        stream.write(request.as_bytes()).map_err(|error| error.to_string())?;
        let answer = read(&mut stream, |_| false)?;
        match status(&answer)? {
            "200" if body(&answer).contains("\"connections\"") => Ok(()),
            _ => Err(description(&answer)),
        }
    }

    /// Opens a WebSocket as Laravel Echo would on a page of this origin, until the connection is
    /// established.
    pub(super) fn connect_as_browser(
        &self,
        app: &App,
        prefix: &str,
        origin: Option<&str>,
    ) -> Result<(), String> {
        let mut stream = self.connect().map_err(|refused| refused.why)?;
        let target = format!(
            "{prefix}/app/{}?protocol=7&client=reverb-check&version=1.0&flash=false",
            app.key
        );
        let mut headers = String::from(UPGRADE);
        // An origin has no path.
        if let Some(origin) = origin.map(|url| url.splitn(4, '/').take(3)) {
            headers.push_str("Origin: ");
            headers.push_str(&origin.collect::<Vec<_>>().join("/"));
            headers.push_str("\r\n");
        }
        let request = self.request(&target, &headers);
        stream.write(request.as_bytes()).map_err(|error| error.to_string())?;
        let answer = read(&mut stream, |answer| body(answer).contains("}"))?;
        if status(&answer)? != "101" {
            return Err(description(&answer));
        }
        match body(&answer).contains("pusher:connection_established") {
            true => {
                // A close frame with code 1000, masked with zeroes. An error here does not matter.
                let _ = stream.write(&[0x88, 0x82, 0, 0, 0, 0, 3, 0xe8]);
                Ok(())
            }
            false => Err(format!("it sends {}", shown(body(&answer)))),
        }
    }

    fn request(&self, target: &str, headers: &str) -> String {
        let host = &self.place.host;
        let host = if host.starts_with('/') { "localhost".into() } else { in_url(host) };
        let port = self.place.port;
        format!("GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: */*\r\n{headers}\r\n")
    }
}

/// The key is the example of RFC 6455. The server's answer to it is not verified.
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Reads an answer to its end, or until it is enough. A broken connection ends it as well.
fn read(stream: &mut BlockingStream, is_enough: fn(&str) -> bool) -> Result<String, String> {
    let (mut answer, mut buffer) = (Vec::new(), [0; 4_096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => answer.extend_from_slice(&buffer[..len]),
            Err(error) if answer.is_empty() => return Err(error.to_string()),
            Err(_) => break,
        }
        if answer.len() > ANSWER_BYTES || is_enough(&String::from_utf8_lossy(&answer)) {
            break;
        }
    }
    match answer.is_empty() {
        true => Err("it closed the connection without an answer".to_owned()),
        false => Ok(String::from_utf8_lossy(&answer).into_owned()),
    }
}

/// The three digits of an answer.
fn status(answer: &str) -> Result<&str, String> {
    let digits = answer.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
    digits.ok_or_else(|| format!("the answer is not HTTP: {}", shown(answer)))
}

/// The bytes after the head, frames included.
fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

fn description(answer: &str) -> String {
    // After `HTTP/1.1 `, which `status` has checked.
    let line = answer.lines().next().and_then(|line| line.get(9..)).unwrap_or_default();
    // The report continues the sentence after the body, so the body loses its full stop.
    let body = body(answer).trim_end().trim_end_matches('.');
    format!("it answers {} {}", shown(line), shown(body))
}

/// The beginning of an answer, escaped, on one line.
fn shown(text: &str) -> String {
    shown::shown(text, SHOWN).escape_debug().to_string()
}

/// The characters shown of an answer.
const SHOWN: usize = 120;

/// The bytes read of an answer. Error pages of proxies are shorter.
const ANSWER_BYTES: usize = 65_536;
