//! The commands at the beginning of every session: the login, which all Redis connections share
//! (`proto/resp/login`), and the subscription.

use crate::config::RedisTarget;
use crate::proto::resp::{self, login};
use crate::proto::websocket::Frame;

/// The commands, each with the setting to check if it fails.
pub(in crate::hub) fn login(target: &RedisTarget, channel: &str) -> Vec<(&'static str, Frame)> {
    let mut commands = login::login(target.login(), login::Protocol::Three);
    let subscribe = resp::command(&[b"SUBSCRIBE", channel.as_bytes()]);
    commands.push(("REVERB_SCALING_CHANNEL", subscribe));
    commands.into_iter().map(|(setting, command)| (setting, command.into())).collect()
}

pub(in crate::hub) use login::CREDENTIALS as LOGIN;
