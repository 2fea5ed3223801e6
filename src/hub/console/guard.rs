//! The checks of a request to the console before anything is answered, the token, and the session
//! that a browser gets for it.
//!
//! - `Host` must be a name that no other site can have, so that a page of another site cannot reach
//!   the console by changing the address of its own name (DNS rebinding).
//! - `Origin` must be that of the console itself, and a request that changes something must have one,
//!   or else the token, where a program may send it.
//! - The token opens a session. The session is a random number of the server in a cookie, not the
//!   token, and ends when the server stops; a reload keeps it.
//! - Each wrong token doubles the pause until the next one is compared.

use std::fmt;
use std::net::IpAddr;

use super::responses::error;
use crate::config::{Config, ConsoleAddress};
use crate::hub::ids::Now;
use crate::proto::auth::Signer;
use crate::proto::http::{Head, Response};

/// What opens the console.
#[derive(Clone, PartialEq, Eq)]
pub struct ConsoleKeys {
    /// The token that a person enters.
    pub token: String,
    /// The number that the cookie contains afterwards.
    pub session: String,
}

impl fmt::Debug for ConsoleKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConsoleKeys(…)")
    }
}

/// Checks requests.
pub(super) struct Guard {
    /// Compares texts in constant time: both are signed, and the signatures compared.
    signer: Signer,
    token: String,
    session: String,
    hosts: Hosts,
    /// Wrong tokens since the last right one.
    failures: u32,
    /// When the next token is compared.
    retry_ms: u64,
}

/// The names in `Host` by which the console can be reached.
struct Hosts {
    /// The address that it listens at; `None` for a Unix socket.
    address: Option<IpAddr>,
    /// The public name of the server, where the console may be reached from other machines.
    public_name: Option<String>,
    /// Whether any IP address will do. A page cannot rebind an address, only a name.
    any_address: bool,
}

/// The result of an attempt to log in.
pub(super) enum Login {
    /// The value of `Set-Cookie`.
    Opened(String),
    Wrong,
    /// The next attempt is compared after this many seconds.
    TooSoon(u64),
}

impl Guard {
    pub(super) fn new(keys: &ConsoleKeys, config: &Config) -> Self {
        let console = &config.server.console;
        let address = match &console.address {
            Some(ConsoleAddress::Tcp(address)) => Some(address.ip()),
            _ => None,
        };
        let public_name = config.server.hostname.clone().filter(|_| console.anywhere);
        Guard {
            signer: Signer::new(&keys.session),
            token: keys.token.clone(),
            session: keys.session.clone(),
            hosts: Hosts { address, public_name, any_address: console.anywhere },
            failures: 0,
            retry_ms: 0,
        }
    }

    /// Checks that the request comes from the page of the console, or from no page.
    ///
    /// # Errors
    ///
    /// It does not. The response says why.
    pub(super) fn check_source(&self, head: &Head<'_>, takes_token: bool) -> Result<(), Response> {
        let host = head.host.unwrap_or_default();
        if !self.hosts.has(host) {
            let text = "This console is not served under this host name: use localhost or its IP \
                        address. With REVERB_CONSOLE_ANYWHERE=true, the name in REVERB_HOST is \
                        valid as well.";
            return Err(Response::text(403, text));
        }
        let is_own = |origin: &str| {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
        };
        let text = match head.origin {
            Some(origin) if !is_own(origin) => {
                "A page of another origin has sent this request to the console."
            }
            None if writes(head.method) && !(takes_token && head.authorization.is_some()) => {
                "A request that changes something needs an Origin header, which browsers send, or \
                 the token in an Authorization header."
            }
            _ => return Ok(()),
        };
        Err(Response::text(403, text))
    }

    /// Checks that the request has the cookie of the session, and that no other page has caused it.
    ///
    /// # Errors
    ///
    /// It does not. The response removes the cookie.
    pub(super) fn check_session(&self, head: &Head<'_>) -> Result<(), Response> {
        // Pages of other ports of this host are of the same site, and get the cookie sent as well.
        if head.fetch_site.is_some_and(|site| site != "same-origin" && site != "none") {
            let text = "A page of another origin has caused this request to the console.";
            return Err(Response::text(403, text));
        }
        let name = cookie_name(head);
        let mut cookies = head.cookie.unwrap_or_default().split(';').map(str::trim);
        let value = cookies.find_map(|cookie| cookie.strip_prefix(&*name)?.strip_prefix('='));
        match value.is_some_and(|value| self.are_equal(value, &self.session)) {
            true => Ok(()),
            false => Err(unauthorized().with_header("Set-Cookie", ended(head))),
        }
    }

    /// Checks that the request has the token in `Authorization`, as programs send it, or else the
    /// cookie of the session.
    ///
    /// # Errors
    ///
    /// It does not.
    pub(super) fn check_token_or_session(
        &mut self,
        head: &Head<'_>,
        now: Now,
    ) -> Result<(), Response> {
        let Some(given) = head.authorization else { return self.check_session(head) };
        let token = given.split_once(' ').filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
        match token.map(|(_, token)| self.check_token(token.trim(), now)) {
            Some(Ok(())) => Ok(()),
            Some(Err(Login::TooSoon(seconds))) => Err(too_soon(seconds)),
            _ => Err(wrong_token().with_header("WWW-Authenticate", "Bearer")),
        }
    }

    /// Compares a token. After a wrong one, the next is compared after a pause.
    fn check_token(&mut self, token: &str, now: Now) -> Result<(), Login> {
        if now.ms < self.retry_ms {
            return Err(Login::TooSoon((self.retry_ms - now.ms).div_ceil(1_000)));
        }
        if self.are_equal(token, &self.token) {
            (self.failures, self.retry_ms) = (0, 0);
            return Ok(());
        }
        self.failures = self.failures.saturating_add(1);
        let pause_ms = PAUSE_MS << self.failures.saturating_sub(1).min(16);
        self.retry_ms = now.ms + pause_ms.min(PAUSE_MAX_MS);
        log::warn!(
            "console: wrong token, {} in a row; `reverb console` prints the right one",
            self.failures
        );
        Err(Login::Wrong)
    }

    /// Compares a token, and opens the session.
    pub(super) fn log_in(&mut self, token: &str, head: &Head<'_>, now: Now) -> Login {
        if let Err(rejected) = self.check_token(token, now) {
            return rejected;
        }
        // A proxy with TLS in front: the browser must not send the cookie without it.
        let is_secure = head.origin.is_some_and(|origin| origin.starts_with("https://"));
        let secure = if is_secure { "; Secure" } else { "" };
        let (name, session) = (cookie_name(head), &self.session);
        Login::Opened(format!("{name}={session}; Path=/; HttpOnly; SameSite=Strict{secure}"))
    }

    /// Compares in constant time.
    fn are_equal(&self, given: &str, own: &str) -> bool {
        self.signer.verify(&[given], &self.signer.sign(&[own]))
    }
}

/// Whether a method changes something.
fn writes(method: &str) -> bool {
    ["POST", "PUT", "DELETE"].iter().any(|name| method.eq_ignore_ascii_case(name))
}

/// The response to a wrong token.
pub(super) fn wrong_token() -> Response {
    let text = "This is not the token. `reverb console` prints it, on the machine and as the user of \
                the server.";
    error(401, text)
}

/// The response to a token during the pause after wrong ones, which lasts for this many seconds.
pub(super) fn too_soon(seconds: u64) -> Response {
    let response = error(429, "Too many wrong tokens: wait a moment before the next one.");
    response.with_header("Retry-After", seconds.to_string())
}

impl Hosts {
    /// Whether this value of `Host`, with or without a port, is one of the console's.
    fn has(&self, host: &str) -> bool {
        let port = host.rfind(':').filter(|at| !host[*at..].contains(']'));
        let name = &host[..port.unwrap_or(host.len())];
        let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        if let Ok(address) = inner.unwrap_or(name).parse::<IpAddr>() {
            return address.is_loopback() || self.any_address || self.address == Some(address);
        }
        let name = name.to_ascii_lowercase();
        name == "localhost"
            || name.ends_with(".localhost")
            || self.public_name.as_ref().is_some_and(|public| public.eq_ignore_ascii_case(&name))
    }
}

/// The name of the cookie. It has the port of the URL, because browsers send a cookie to all ports of
/// a host, and a machine may have several consoles.
fn cookie_name(head: &Head<'_>) -> String {
    let port = head.host.and_then(|host| host.rsplit_once(':')).map(|(_, port)| port);
    let port = port.filter(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    format!("reverb_console_{}", port.unwrap_or("80"))
}

/// The value of `Set-Cookie` that removes the cookie.
pub(super) fn ended(head: &Head<'_>) -> String {
    format!("{}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0", cookie_name(head))
}

fn unauthorized() -> Response {
    Response::json(401, r#"{"error":"Log in with the token that `reverb console` prints."}"#)
}

/// The pause after the first wrong token; each further one doubles it.
const PAUSE_MS: u64 = 250;
/// The longest pause. It is the same for all callers: a program on this machine that keeps sending
/// wrong tokens also delays the login of the owner.
const PAUSE_MAX_MS: u64 = 8_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::http::parse;

    fn guard(config: &Config) -> Guard {
        let keys = ConsoleKeys { token: "the token".into(), session: "5e55".into() };
        Guard::new(&keys, config)
    }

    fn at(ms: u64) -> Now {
        Now { ms, unix_s: 0 }
    }

    /// The status of a request with these headers; 200 if the source is right.
    #[track_caller]
    fn source(guard: &Guard, method: &str, headers: &str) -> u16 {
        let request = format!("{method} / HTTP/1.1\r\n{headers}\r\n");
        let (head, _) = parse(request.as_bytes(), 4_096, 64).unwrap().unwrap();
        guard.check_source(&head, false).map_or_else(|response| response.status, |()| 200)
    }

    fn session(guard: &Guard, headers: &str) -> u16 {
        let request = format!("GET / HTTP/1.1\r\n{headers}\r\n");
        let (head, _) = parse(request.as_bytes(), 4_096, 64).unwrap().unwrap();
        guard.check_session(&head).map_or_else(|response| response.status, |()| 200)
    }

    #[test]
    fn a_rebound_name_is_rejected() {
        let guard = guard(&Config::default());
        for host in ["localhost:9101", "127.0.0.1:9101", "[::1]:9101", "LOCALHOST", "a.localhost:1"]
        {
            assert_eq!(source(&guard, "GET", &format!("Host: {host}\r\n")), 200, "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "10.0.0.1", "127.0.0.1.evil", ""] {
            assert_eq!(source(&guard, "GET", &format!("Host: {host}\r\n")), 403, "{host}");
        }
        assert_eq!(source(&guard, "GET", ""), 403);
    }

    #[test]
    fn the_public_name_counts_where_other_machines_may_connect() {
        let mut config = Config::default();
        config.server.hostname = Some("ws.example".into());
        assert_eq!(source(&guard(&config), "GET", "Host: ws.example\r\n"), 403);
        config.server.console.anywhere = true;
        for host in ["ws.example:443", "10.0.0.1:9101"] {
            assert_eq!(source(&guard(&config), "GET", &format!("Host: {host}\r\n")), 200);
        }
        assert_eq!(source(&guard(&config), "GET", "Host: evil.example\r\n"), 403);
    }

    #[test]
    fn a_page_of_another_origin_is_rejected() {
        let guard = guard(&Config::default());
        let host = "Host: localhost:9101\r\n";
        for (method, origin, status) in [
            ("GET", "Origin: http://localhost:9101\r\n", 200),
            ("POST", "Origin: http://localhost:9101\r\n", 200),
            ("POST", "Origin: https://localhost:9101\r\n", 200),
            ("POST", "", 403),
            ("GET", "Origin: http://localhost:3000\r\n", 403),
            ("GET", "Origin: http://evil.example\r\n", 403),
            ("GET", "Origin: null\r\n", 403),
        ] {
            assert_eq!(source(&guard, method, &format!("{host}{origin}")), status, "{origin}");
        }
    }

    #[test]
    fn only_the_cookie_of_the_session_opens_it() {
        let guard = guard(&Config::default());
        let host = "Host: localhost:9101\r\n";
        for (headers, status) in [
            ("", 401),
            ("Cookie: reverb_console_9101=5e55\r\n", 200),
            ("Cookie: a=b; reverb_console_9101=5e55; c=d\r\n", 200),
            ("Cookie: reverb_console_9102=5e55\r\n", 401),
            ("Cookie: reverb_console_9101=5e5\r\n", 401),
            ("Cookie: reverb_console_9101=the token\r\n", 401),
            ("Cookie: reverb_console_9101=5e55\r\nSec-Fetch-Site: same-site\r\n", 403),
            ("Cookie: reverb_console_9101=5e55\r\nSec-Fetch-Site: same-origin\r\n", 200),
        ] {
            assert_eq!(session(&guard, &format!("{host}{headers}")), status, "{headers}");
        }
    }

    #[test]
    fn wrong_tokens_are_slowed() {
        let mut guard = guard(&Config::default());
        let request = b"POST / HTTP/1.1\r\nHost: localhost:9101\r\n\r\n";
        let (head, _) = parse(request, 4_096, 64).unwrap().unwrap();
        let mut ms = 0;
        for pause_ms in [250, 500, 1_000, 2_000, 4_000, 8_000, 8_000] {
            assert!(matches!(guard.log_in("wrong", &head, at(ms)), Login::Wrong));
            let soon = guard.log_in("the token", &head, at(ms + pause_ms - 1));
            assert!(matches!(soon, Login::TooSoon(1)), "{pause_ms}");
            ms += pause_ms;
        }
        let Login::Opened(cookie) = guard.log_in("the token", &head, at(ms)) else {
            panic!("the token is right")
        };
        assert_eq!(cookie, "reverb_console_9101=5e55; Path=/; HttpOnly; SameSite=Strict");
        assert!(matches!(guard.log_in("wrong", &head, at(ms)), Login::Wrong));
    }
}
