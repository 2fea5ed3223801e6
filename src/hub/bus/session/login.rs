//! The login at the beginning of every session, and its errors. The login is the same for all Redis
//! connections, and is in `proto/resp/login`.

use super::link::Purpose;
use crate::config::RedisTarget;
use crate::proto::resp::login::{self, CREDENTIALS};
use crate::proto::shown::shown;
use crate::proto::websocket::Frame;

/// The commands, each with the setting that the log names if the command fails.
pub(in crate::hub) fn login(target: &RedisTarget) -> Vec<(&'static str, Frame)> {
    let commands = login::login(target.login(), login::Protocol::Three);
    commands.into_iter().map(|(setting, command)| (setting, command.into())).collect()
}

/// The subscription to the channel that all nodes share; without it no session can exist.
pub(in crate::hub) const SUBSCRIPTION: Purpose = Purpose::Login("REVERB_SCALING_CHANNEL");

/// The reason to log if a command that depends on this setting was rejected.
pub(in crate::hub) fn rejected(setting: &str, why: &str) -> String {
    let (code, shown) = (why.split(' ').next().unwrap_or_default(), shown(why, 200));
    match code {
        // HELLO exists since Redis 6.
        "ERR" if setting == CREDENTIALS && why.contains("unknown command") => {
            format!("the server is older than version 6 ({shown}); upgrade it")
        }
        _ => format!("the login was rejected: {shown}; check {setting}"),
    }
}
