//! The commands at the beginning of every session: the login and the subscription. The login is the
//! same for all Redis connections, and is in `proto/resp/login`.

use crate::config::RedisTarget;
use crate::proto::resp::{self, login};
use crate::proto::websocket::Frame;

/// The commands, each with the setting that the log names if the command fails.
pub(in crate::hub) fn login(target: &RedisTarget, channel: &str) -> Vec<(&'static str, Frame)> {
    let mut commands = login::login(target.login(), login::Protocol::Three);
    let subscribe = resp::command(&[b"SUBSCRIBE", channel.as_bytes()]);
    commands.push(("REVERB_SCALING_CHANNEL", subscribe));
    commands.into_iter().map(|(setting, command)| (setting, command.into())).collect()
}
