//! The settings of the console: the page that shows what the server does. The page and its requests
//! are in `hub/console`.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::values::shown;

/// The console; off without an address.
#[derive(Clone, PartialEq, Default)]
pub struct Console {
    /// Where the server serves the console. `REVERB_SERVER_CONSOLE`.
    pub address: Option<ConsoleAddress>,
    /// Whether the address may be one that other machines reach. `REVERB_CONSOLE_ANYWHERE`.
    pub anywhere: bool,
    /// Whether the console may publish and disconnect clients. `REVERB_CONSOLE_WRITE`.
    pub write: bool,
    /// The token that opens the console; without it, each start makes one. `REVERB_CONSOLE_TOKEN`.
    pub token: Option<String>,
}

/// The address of the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsoleAddress {
    /// An IP address with a port.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl Console {
    /// Why a build without this part rejects the setting.
    pub const MISSING: &'static str =
        "this build has no console; build with the feature `console`, or remove this setting";

    /// Checks the settings together.
    ///
    /// # Errors
    ///
    /// Other machines could reach the address, and that is not allowed. The text says what to do.
    pub(super) fn check(&self) -> Result<(), String> {
        match &self.address {
            Some(ConsoleAddress::Tcp(address)) if !address.ip().is_loopback() && !self.anywhere => {
                Err(format!(
                    "{address} can be reached from other machines, and the console speaks plain \
                     HTTP: use a loopback address such as 127.0.0.1:9101 or the path of a Unix \
                     socket, and reach it through a tunnel (ssh -L) or a proxy with TLS; \
                     REVERB_CONSOLE_ANYWHERE=true allows any address"
                ))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Console { address, anywhere, write, token } = self;
        f.debug_struct("Console")
            .field("address", address)
            .field("anywhere", anywhere)
            .field("write", write)
            .field("token", &token.as_ref().map(|_| "…"))
            .finish()
    }
}

/// As the setting is written.
impl fmt::Display for ConsoleAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConsoleAddress::Tcp(address) => address.fmt(f),
            ConsoleAddress::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Parses the address of the console: an address with a port, a port of the loopback address, or the
/// path of a Unix socket.
///
/// # Errors
///
/// The text is none of them, or this build has no console.
pub(super) fn address(text: &str) -> Result<ConsoleAddress, String> {
    if !cfg!(feature = "console") {
        return Err(Console::MISSING.into());
    }
    if text.starts_with('/') {
        return Ok(ConsoleAddress::Unix(text.into()));
    }
    let port = text.parse().map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    port.or_else(|_| text.parse()).map(ConsoleAddress::Tcp).map_err(|_| {
        let text = shown(text);
        format!("{text} is neither a port, an address such as 127.0.0.1:9101, nor a path")
    })
}

/// Checks a token. The error does not quote it.
///
/// # Errors
///
/// The token is short, or has a character that is hard to type into the page.
pub(super) fn token(text: &str) -> Result<String, String> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("has a character other than ASCII letters, digits and signs".into());
    }
    if text.len() < TOKEN_LENGTH_MIN {
        return Err(format!(
            "is shorter than {TOKEN_LENGTH_MIN} characters, so that it could be guessed: use, for \
             example, the output of `openssl rand -hex 16`"
        ));
    }
    if text.len() > TOKEN_LENGTH_MAX {
        return Err(format!("is longer than {TOKEN_LENGTH_MAX} characters"));
    }
    Ok(text.to_owned())
}

/// The most characters of a token: it must fit into the body of a login, and into the file for
/// `reverb console`.
const TOKEN_LENGTH_MAX: usize = 1_024;
/// The fewest characters of a token. 16 random hexadecimal digits are 64 bits. Pauses allow about one
/// attempt in eight seconds, so guessing one takes about 10^12 years.
const TOKEN_LENGTH_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "console")]
    #[test]
    fn an_address_is_a_port_an_address_or_a_path() {
        for (text, written) in [
            ("9101", "127.0.0.1:9101"),
            ("[::1]:9101", "[::1]:9101"),
            ("10.0.0.1:9101", "10.0.0.1:9101"),
            ("/run/reverb/console.sock", "/run/reverb/console.sock"),
        ] {
            assert_eq!(address(text).unwrap().to_string(), written);
        }
        for text in ["", "here", "127.0.0.1", "localhost:9101", "70000"] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn other_machines_reach_it_only_if_that_is_allowed() {
        let at = |text: &str, anywhere| Console {
            address: Some(ConsoleAddress::Tcp(text.parse().unwrap())),
            anywhere,
            ..Console::default()
        };
        for text in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1"] {
            assert_eq!(at(text, false).check(), Ok(()), "{text}");
        }
        for text in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1"] {
            assert!(at(text, false).check().unwrap_err().contains("REVERB_CONSOLE_ANYWHERE"));
            assert_eq!(at(text, true).check(), Ok(()), "{text}");
        }
    }

    #[test]
    fn a_token_is_long_and_no_text_shows_it() {
        assert!(token("0123456789abcde").unwrap_err().contains("openssl rand"));
        assert!(token("0123456789abcde ").is_err());
        assert!(token("0123456789abcdé!").is_err());
        assert!(token(&"a".repeat(1_024)).is_ok() && token(&"a".repeat(1_025)).is_err());
        let token = token("0123456789abcdef").ok();
        let text = format!("{:?}", Console { token, ..Console::default() });
        assert!(!text.contains("0123456789"), "{text}");
    }
}
