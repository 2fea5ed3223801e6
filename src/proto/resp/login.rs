//! The commands that log a connection in to Redis. The owner of the connection interprets the
//! replies.

use super::command;
use crate::config::Sentinels;

/// The protocol that a connection speaks after its login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Protocol 2, which Redis before version 6 speaks as well.
    Two,
    /// Protocol 3, in which one connection may both subscribe and publish.
    Three,
}

/// The credentials and the database for a login.
#[derive(Debug, Clone, Copy)]
pub struct Login<'a> {
    /// The user, if it is not the default user.
    pub username: Option<&'a str>,
    /// The password, if Redis requires one.
    pub password: Option<&'a str>,
    /// The database to select.
    pub database: u32,
}

/// The settings with the credentials.
pub const CREDENTIALS: &str = "REDIS_USERNAME and REDIS_PASSWORD";

/// The commands in the order to send them, each with the setting to check if it fails.
pub fn login(login: Login<'_>, protocol: Protocol) -> Vec<(&'static str, Vec<u8>)> {
    let mut commands = Vec::new();
    let mut credentials: Vec<&[u8]> = Vec::new();
    if let Some(password) = login.password {
        credentials.push(b"AUTH");
        match (login.username, protocol) {
            (Some(username), _) => credentials.push(username.as_bytes()),
            (None, Protocol::Three) => credentials.push(b"default"),
            // Redis before version 6 knows no user.
            (None, Protocol::Two) => {}
        }
        credentials.push(password.as_bytes());
    }
    if protocol == Protocol::Three {
        let hello = [&[&b"HELLO"[..], b"3"], &credentials[..], &[&b"SETNAME"[..], b"reverb"]];
        commands.push((CREDENTIALS, command(&hello.concat())));
    } else if !credentials.is_empty() {
        commands.push((CREDENTIALS, command(&credentials)));
    }
    if login.database > 0 {
        let setting = match protocol {
            Protocol::Three => "REDIS_DB",
            Protocol::Two => "REDIS_DB, REDIS_CACHE_DB",
        };
        let database = login.database.to_string();
        commands.push((setting, command(&[b"SELECT", database.as_bytes()])));
    }
    commands
}

/// The settings with the credentials of sentinels.
pub const SENTINEL_CREDENTIALS: &str = "REDIS_SENTINEL_USERNAME and REDIS_SENTINEL_PASSWORD";

/// The subcommand of SENTINEL that asks for the address of the master.
pub const MASTER_QUESTION: &[u8] = b"get-master-addr-by-name";

/// The command that logs in to a sentinel; `None` if it needs no login.
pub fn sentinel(sentinels: &Sentinels) -> Option<Vec<u8>> {
    let password = sentinels.password.as_deref()?.as_bytes();
    Some(match &sentinels.username {
        Some(username) => command(&[b"AUTH", username.as_bytes(), password]),
        None => command(&[b"AUTH", password]),
    })
}

/// The error of a sentinel that does not know the master.
pub fn unknown_service(service: &str) -> String {
    format!("it monitors no master named {service:?}; check REDIS_SENTINEL_SERVICE")
}

#[cfg(test)]
#[cfg(feature = "redis")]
mod tests {
    use super::*;

    fn commands(username: Option<&str>, password: Option<&str>, protocol: Protocol) -> Vec<String> {
        let login = Login { username, password, database: 2 };
        let words = |(_, bytes): &(_, Vec<u8>)| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let words: Vec<&str> = text.split("\r\n").skip(2).step_by(2).collect();
            words.join(" ")
        };
        super::login(login, protocol).iter().map(words).collect()
    }

    #[test]
    fn each_protocol_has_its_own_login() {
        let three = |username, password| commands(username, password, Protocol::Three);
        assert_eq!(three(None, None), ["HELLO 3 SETNAME reverb", "SELECT 2"]);
        let hello = "HELLO 3 AUTH default secret SETNAME reverb";
        assert_eq!(three(None, Some("secret")), [hello, "SELECT 2"]);
        let hello = "HELLO 3 AUTH me secret SETNAME reverb";
        assert_eq!(three(Some("me"), Some("secret")), [hello, "SELECT 2"]);
        let two = |username, password| commands(username, password, Protocol::Two);
        assert_eq!(two(None, None), ["SELECT 2"]);
        assert_eq!(two(None, Some("secret")), ["AUTH secret", "SELECT 2"]);
        assert_eq!(two(Some("me"), Some("secret")), ["AUTH me secret", "SELECT 2"]);
    }
}
