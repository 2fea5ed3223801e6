//! Signed requests to the HTTP API of a server, and what its errors mean.

use std::fmt::Display;
use std::io::{Read, Write};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::endpoint::{Endpoint, TIMEOUT};
use crate::commands::Failure;
use crate::commands::check::answer::{self, Kind, Problem};
use crate::net;
use crate::proto::auth::{Signer, md5_hex};
use crate::proto::http::ResponseReader;
use crate::proto::query::Query;

/// A request about an app.
pub(super) struct Call<'a> {
    pub method: &'a str,
    /// What follows `/apps/ID`; arguments must be [`encoded`].
    pub path: &'a str,
    pub parameters: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
}

impl Call<'_> {
    /// The bytes of the request up to its body.
    pub(super) fn head(&self, endpoint: &Endpoint) -> String {
        let host = endpoint.authority();
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nConnection: close\r\n",
            self.method,
            self.target(endpoint)
        );
        if !self.body.is_empty() {
            let len = self.body.len();
            head.push_str(&format!("Content-Type: application/json\r\nContent-Length: {len}\r\n"));
        } else if self.method == "POST" {
            // RFC 9110 section 8.6; some proxies insist on it.
            head.push_str("Content-Length: 0\r\n");
        }
        head.push_str("\r\n");
        head
    }

    /// The signed target. The path is signed without the prefix, because a proxy may remove it.
    fn target(&self, endpoint: &Endpoint) -> String {
        let app = &endpoint.app;
        let path = format!("/apps/{}{}", encoded(&app.id), self.path);
        let (timestamp, hash) = (net::unix_s().to_string(), md5_hex(self.body));
        let mut pairs =
            vec![("auth_key", &*app.key), ("auth_timestamp", &timestamp), ("auth_version", "1.0")];
        if !self.body.is_empty() {
            pairs.push(("body_md5", &hash));
        }
        pairs.extend_from_slice(self.parameters);
        let pairs: Vec<String> = pairs.iter().map(|(k, v)| format!("{k}={}", encoded(v))).collect();
        let query = pairs.join("&");
        let signed = Query::parse(&query).signed();
        let signature = Signer::new(&app.secret).sign(&[self.method, "\n", &path, "\n", &signed]);
        format!("{}{path}?{query}&auth_signature={signature}", endpoint.prefix)
    }

    /// Sends the request, and returns the body of the response.
    ///
    /// # Errors
    ///
    /// The server does not answer, or not with status 200.
    pub(super) fn send(&self, endpoint: &Endpoint) -> Result<String, Failure> {
        let fetch = endpoint.fetch(TIMEOUT);
        let response = net::fetch(&fetch, self.head(endpoint).into(), self.body, |_| false)
            .map_err(|error| Failure::at_work(endpoint.unreachable(&error)))?;
        match response.status() {
            Some(200) => Ok(String::from_utf8_lossy(response.body()).into_owned()),
            _ => Err(Failure::at_work(rejected(endpoint, &response))),
        }
    }

    /// Sends the request, and returns the body of a response of at most [`LIST_BYTES_MAX`].
    ///
    /// # Errors
    ///
    /// As [`Call::send`]; the response is longer.
    pub(super) fn send_for_list(&self, endpoint: &Endpoint) -> Result<String, String> {
        let mut stream = endpoint.open().map_err(|error| endpoint.unreachable(&error))?;
        let failed = |why: &dyn Display| format!("{endpoint}: {why}");
        stream.set_timeout(LIST_TIMEOUT).map_err(|error| failed(&error))?;
        stream.write_all(self.head(endpoint).as_bytes()).map_err(|error| failed(&error))?;
        let (mut reader, mut body, mut buffer) =
            (ResponseReader::endless(), Vec::new(), vec![0; 65_536]);
        while !reader.is_done() {
            match stream.read(&mut buffer).map_err(|error| failed(&error))? {
                0 => reader.end(),
                len => reader.receive(&buffer[..len]),
            }
            .map_err(|why| failed(&why))?;
            match reader.status() {
                Some(200) => body.append(&mut reader.take_body()),
                _ if reader.body().len() > ERROR_BYTES_MAX => break,
                _ => {}
            }
            if body.len() > LIST_BYTES_MAX {
                return Err(format!("the list of channels of {endpoint} is over 64 MiB"));
            }
        }
        match reader.status() {
            Some(200) => Ok(String::from_utf8_lossy(&body).into_owned()),
            _ => Err(rejected(endpoint, &reader)),
        }
    }
}

/// Why a request was rejected, with what to do.
pub(super) fn rejected(endpoint: &Endpoint, response: &ResponseReader) -> String {
    let status = response.status().unwrap_or_default();
    let head = String::from_utf8_lossy(response.head());
    let body = String::from_utf8_lossy(response.body());
    let Problem { text, kind } = answer::rejection(&status.to_string(), &head, &body);
    let advice = match kind {
        Kind::Credentials => {
            "; the server has other credentials for this app: run `reverb reload` there, or name its \
             configuration with --env or --config"
        }
        Kind::Address if status == 404 && body.starts_with("Not found") => {
            "; the server is of an older version, or was built without the feature console"
        }
        // The server itself gives its reason.
        Kind::Address if status == 404 && !body.trim_start().starts_with('<') => "",
        Kind::Address => "; name the server with --url or --port",
        Kind::Certificate | Kind::Origin | Kind::Other => "",
    };
    format!("{endpoint} rejects the request for the app {}: {text}{advice}", endpoint.app.id)
}

/// A text as a part of a path, or as a value of a query.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// All but the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The longest silence within a list: the server makes it in pieces.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes read of an error. Those of a server are a sentence, those of a proxy a page.
pub(super) const ERROR_BYTES_MAX: usize = 65_536;
/// The most bytes of a list: that of 100,000 channels has 25 MB, with names of 200 characters.
const LIST_BYTES_MAX: usize = 64 << 20;
