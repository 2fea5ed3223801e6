//! Computes the longest message that nodes may send each other with a configuration: the longest
//! input of a client or publisher, in an envelope with other items.

use super::{Config, Error};
use crate::proto::envelope::ITEMS_BYTES;

/// Checks that this node accepts the longest message that nodes with the same limits send. A node
/// with a lower limit skips longer messages.
///
/// # Errors
///
/// `redis_reply_bytes` is less than the longest message.
pub(super) fn check(config: &Config) -> Result<(), Error> {
    let (bytes, setting) = largest(config);
    let max = config.limits.redis_reply_bytes;
    if !config.server.scaling.enabled || bytes <= max.into() {
        return Ok(());
    }
    let reason = format!(
        "is {max}, but {setting} allows messages of {bytes} bytes between nodes: raise it \
         (REVERB_LIMIT_REDIS_REPLY_BYTES), or lower {setting}"
    );
    Err(Error::new("configuration", "servers.reverb.limits.redis_reply_bytes", reason))
}

/// The bytes of the longest message, and the setting that contributes most to them.
///
/// An envelope is full when its items exceed [`ITEMS_BYTES`], so its last item may have any length.
/// An item is no longer than its input: event names and data are copied, and other texts are
/// re-encoded from JSON to JSON. The exception is a user's id in a path, which at most doubles:
/// `%01` becomes `\u0001`.
fn largest(config: &Config) -> (u64, &'static str) {
    let limits = &config.limits;
    let messages = config.apps.iter().map(|app| match app.max_message_size as u64 {
        0 => limits.message_bytes.into(),
        size => size.min(limits.message_bytes.into()),
    });
    // A client event on a presence channel also carries the id of its user.
    let user = u64::from(limits.presence_data_bytes);
    let items = [
        (config.server.max_request_size as u64, "max_request_size"),
        (messages.max().unwrap_or_default() + user, "max_message_size with presence_data_bytes"),
        (2 * u64::from(limits.request_head_bytes), "limits.request_head_bytes"),
    ];
    let (bytes, setting) = items.into_iter().max().unwrap_or_default();
    (bytes + ITEMS_BYTES as u64 + FRAME_BYTES, setting)
}

/// Bytes around the items: the ids of app, node and socket, the channel, and the framing of Redis.
const FRAME_BYTES: u64 = 16_384;

#[cfg(test)]
mod tests {
    use super::super::App;
    use super::*;

    #[test]
    fn the_limit_must_allow_messages_of_other_nodes() {
        let mut config = Config { apps: vec![App::new("1", "k", "s")], ..Config::default() };
        config.server.max_request_size = 100_000;
        config.limits.redis_reply_bytes = 181_919;
        assert_eq!(check(&config), Ok(()), "there is one node");
        config.server.scaling.enabled = true;
        let message = check(&config).unwrap_err().to_string();
        assert_eq!(
            message,
            "configuration: servers.reverb.limits.redis_reply_bytes: is 181919, but \
             max_request_size allows messages of 181920 bytes between nodes: raise it \
             (REVERB_LIMIT_REDIS_REPLY_BYTES), or lower max_request_size"
        );
        config.limits.redis_reply_bytes = 181_920;
        assert_eq!(check(&config), Ok(()));
        config.apps[0].max_message_size = 0;
        assert!(check(&config).unwrap_err().reason.contains("but max_message_size"));
        config.limits.message_bytes = 90_000;
        assert_eq!(check(&config), Ok(()));
        config.limits.request_head_bytes = 50_001;
        assert!(check(&config).unwrap_err().reason.contains("but limits.request_head_bytes"));
    }
}
