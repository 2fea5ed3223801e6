//! The commands that log a connection in to Redis. Which replies mean what is decided by the owner
//! of the connection.

use super::command;
use crate::config::RedisTarget;

/// The protocol that a connection speaks after its login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Protocol 2, which Redis before version 6 speaks as well.
    Two,
    /// Protocol 3, in which one connection may both subscribe and publish.
    Three,
}

/// The settings that the credentials come from.
pub const CREDENTIALS: &str = "REDIS_USERNAME and REDIS_PASSWORD";

/// The commands in the order to send them, each with the setting to look at if it fails.
pub fn login(target: &RedisTarget, protocol: Protocol) -> Vec<(&'static str, Vec<u8>)> {
    let mut commands = Vec::new();
    let mut credentials: Vec<&[u8]> = Vec::new();
    if let Some(password) = &target.password {
        credentials.push(b"AUTH");
        match (target.username.as_deref(), protocol) {
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
    if target.database > 0 {
        let setting = match protocol {
            Protocol::Three => "REDIS_DB",
            Protocol::Two => "REDIS_DB, REDIS_CACHE_DB",
        };
        let database = target.database.to_string();
        commands.push((setting, command(&[b"SELECT", database.as_bytes()])));
    }
    commands
}

#[cfg(all(test, feature = "redis"))]
mod tests {
    use super::*;
    use crate::config::Transport;

    fn commands(username: Option<&str>, password: Option<&str>, protocol: Protocol) -> Vec<String> {
        let target = RedisTarget {
            transport: Transport::Tcp { host: "redis.example".into(), port: 6379 },
            tls: None,
            username: username.map(str::to_owned),
            password: password.map(str::to_owned),
            database: 2,
        };
        let words = |(_, bytes): &(_, Vec<u8>)| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let words: Vec<&str> = text.split("\r\n").skip(2).step_by(2).collect();
            words.join(" ")
        };
        login(&target, protocol).iter().map(words).collect()
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
