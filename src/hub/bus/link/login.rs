//! The commands sent at the beginning of every connection to Redis.

use crate::config::RedisTarget;
use crate::proto::resp;
use crate::proto::websocket::Frame;

/// The commands, each with the setting it depends on: protocol 3, in which one connection may both
/// subscribe and publish; the credentials; the database; the channel.
pub(in crate::hub) fn login(target: &RedisTarget, channel: &str) -> Vec<(&'static str, Frame)> {
    let mut hello: Vec<&[u8]> = vec![b"HELLO", b"3"];
    if let Some(password) = &target.password {
        let username = target.username.as_deref().unwrap_or("default");
        hello.extend([&b"AUTH"[..], username.as_bytes(), password.as_bytes()]);
    }
    hello.extend([&b"SETNAME"[..], b"reverb"]);
    let mut login = vec![(LOGIN, resp::command(&hello).into())];
    if target.database > 0 {
        let database = target.database.to_string();
        login.push(("REDIS_DB", resp::command(&[b"SELECT", database.as_bytes()]).into()));
    }
    let subscribe = resp::command(&[b"SUBSCRIBE", channel.as_bytes()]);
    login.push(("REVERB_SCALING_CHANNEL", subscribe.into()));
    login
}

pub(in crate::hub) const LOGIN: &str = "REDIS_USERNAME and REDIS_PASSWORD";
