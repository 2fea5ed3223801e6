//! The URL of a webhook: parsed once, so that the parts need no check later. Only `http` and `https`
//! exist; names are looked up in `net`.

use std::fmt;
use std::net::Ipv6Addr;

use super::values::shown;

/// A URL with the scheme `http` or `https`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Url {
    /// Whether the scheme is `https`.
    pub is_tls: bool,
    /// A name in lower case or an address, without brackets.
    pub host: String,
    /// The port; that of the scheme if the URL has none.
    pub port: u16,
    /// The path and the query, as they stand in the first line of a request; begins with a slash.
    pub path: String,
}

impl Url {
    /// Parses a URL.
    ///
    /// # Errors
    ///
    /// The text is not a URL that the server can send to. The error does not quote it, because a
    /// URL may contain a secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or(NO_SCHEME)?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(NO_SCHEME.into()),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err("has a user or a password; put them into headers.Authorization".into());
        }
        let (host, port) = host_and_port(authority)?;
        let path = path.split('#').next().unwrap_or_default();
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("has a space or a character that is not ASCII after the host; encode it \
                        as %XX"
                .into());
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let port = port.unwrap_or(if is_tls { 443 } else { 80 });
        Ok(Url { is_tls, host, port, path })
    }

    /// The value of the header `Host`: brackets around an IPv6 address, and no default port.
    pub fn authority(&self) -> String {
        let is_default = self.port == if self.is_tls { 443 } else { 80 };
        let port = if is_default { String::new() } else { format!(":{}", self.port) };
        match self.host.contains(':') {
            true => format!("[{}]{port}", self.host),
            false => format!("{}{port}", self.host),
        }
    }

    /// The whole URL, with the query. For the configuration and the request, not for the log.
    pub fn text(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority(), self.path)
    }
}

/// Omits the query, which may contain a secret.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        f.write_str(text.split('?').next().unwrap_or_default())
    }
}

/// As [`fmt::Display`].
impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Splits `host`, `host:port`, `[address]` or `[address]:port`.
fn host_and_port(authority: &str) -> Result<(String, Option<u16>), String> {
    let colon = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
    let (host, port) = authority.split_at(colon.unwrap_or(authority.len()));
    let port = match port.get(1..) {
        None | Some("") => None,
        Some(digits) => match digits.parse() {
            Ok(port @ 1..) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(port),
            _ => return Err("has a port that is not between 1 and 65535".into()),
        },
    };
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let address: Ipv6Addr =
            address.parse().map_err(|_| format!("has an invalid host: {}", shown(host)))?;
        return Ok((address.to_string(), port));
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if host.is_empty() {
        return Err("has no host".into());
    }
    if !host.bytes().all(is_name) {
        return Err(format!("has an invalid host: {}", shown(host)));
    }
    Ok((host.to_ascii_lowercase(), port))
}

const NO_SCHEME: &str = "must begin with http:// or https://";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_split_into_its_parts() {
        for (text, is_tls, host, port, path, authority) in [
            ("http://a", false, "a", 80, "/", "a"),
            ("HTTPS://A.Example/x/y?z=1#f", true, "a.example", 443, "/x/y?z=1", "a.example"),
            ("http://a:8080?q", false, "a", 8080, "/?q", "a:8080"),
            ("https://[::1]:444/", true, "::1", 444, "/", "[::1]:444"),
            ("http://10.0.0.1:80/h", false, "10.0.0.1", 80, "/h", "10.0.0.1"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.is_tls, &*url.host, url.port, &*url.path), (is_tls, host, port, path));
            assert_eq!(url.authority(), authority);
            assert_eq!(Url::parse(&url.text()).as_ref(), Ok(&url), "{text}");
        }
        let secret = Url::parse("https://a/hook?token=secret").unwrap();
        assert_eq!(format!("{secret} {secret:?}"), "https://a/hook https://a/hook");
    }

    #[test]
    fn an_invalid_url_is_rejected_with_the_reason() {
        for (text, reason) in [
            ("a.example/hook", NO_SCHEME),
            ("ftp://a", NO_SCHEME),
            ("http://", "has no host"),
            ("http://u:p@a", "has a user or a password; put them into headers.Authorization"),
            ("http://a:0", "has a port that is not between 1 and 65535"),
            ("http://a:+1", "has a port that is not between 1 and 65535"),
            ("http://a b", "has an invalid host: \"a b\""),
            ("http://[::x]", "has an invalid host: \"[::x]\""),
            ("http://a\r\nX", "has an invalid host: \"a\\r\\nX\""),
        ] {
            assert_eq!(Url::parse(text).unwrap_err(), reason, "{text}");
        }
        assert!(Url::parse("http://a/b c").is_err() && Url::parse("http://a/é").is_err());
        assert!(Url::parse("http://a/\r\nX: y").is_err());
    }
}
