//! The longest message that nodes may have to say to each other under a configuration: what one
//! client or publisher may send, in an envelope with what is said beside it.

use super::{Config, Error};

/// The same limits count at all nodes, or what is longer is lost there.
///
/// # Errors
///
/// `redis_reply_bytes` is less than that.
pub(super) fn check(config: &Config) -> Result<(), Error> {
    let (bytes, setting) = largest(config);
    let max = config.limits.redis_reply_bytes;
    if !config.server.scaling.enabled || bytes <= max.into() {
        return Ok(());
    }
    let reason = format!(
        "is {max}, and other nodes may send messages of {bytes} bytes, as {setting} allows: raise \
         this (REVERB_LIMIT_REDIS_REPLY_BYTES) or lower that"
    );
    Err(Error::new("configuration", "servers.reverb.limits.redis_reply_bytes", reason))
}

/// Its bytes, and the setting that has the greatest part in them.
///
/// An envelope is complete with the item that takes it over [`BESIDE_BYTES`], so one item follows
/// them, however long it is. What was sent stands in it as it came: names of events and data are
/// copied, and other texts are no longer in JSON than they were in the JSON they came in. A user's id
/// in a path is: `%01` becomes `\u0001`.
fn largest(config: &Config) -> (u64, &'static str) {
    let limits = &config.limits;
    let messages = config.apps.iter().map(|app| match app.max_message_size as u64 {
        0 => limits.message_bytes.into(),
        size => size.min(limits.message_bytes.into()),
    });
    // A client event on a presence channel has the id of its user as well.
    let user = u64::from(limits.presence_data_bytes);
    let items = [
        (config.server.max_request_size as u64, "max_request_size"),
        (messages.max().unwrap_or_default() + user, "max_message_size with presence_data_bytes"),
        (2 * u64::from(limits.request_head_bytes), "limits.request_head_bytes"),
    ];
    let (bytes, setting) = items.into_iter().max().unwrap_or_default();
    (bytes + BESIDE_BYTES + FRAME_BYTES, setting)
}

/// Bytes of other items after which an envelope takes no more: the hub's number.
const BESIDE_BYTES: u64 = 65_536;
/// Room for what is around it: the ids of app, node and socket, the channel, and Redis' own bytes.
const FRAME_BYTES: u64 = 16_384;

#[cfg(test)]
mod tests {
    use super::super::App;
    use super::*;

    #[test]
    fn what_other_nodes_may_say_must_be_within_the_limit() {
        let mut config = Config { apps: vec![App::new("1", "k", "s")], ..Config::default() };
        config.server.max_request_size = 100_000;
        config.limits.redis_reply_bytes = 181_919;
        assert_eq!(check(&config), Ok(()), "there is one node");
        config.server.scaling.enabled = true;
        let told = check(&config).unwrap_err().to_string();
        assert_eq!(
            told,
            "configuration: servers.reverb.limits.redis_reply_bytes: is 181919, and other nodes \
             may send messages of 181920 bytes, as max_request_size allows: raise this \
             (REVERB_LIMIT_REDIS_REPLY_BYTES) or lower that"
        );
        config.limits.redis_reply_bytes = 181_920;
        assert_eq!(check(&config), Ok(()));
        config.apps[0].max_message_size = 0;
        assert!(check(&config).unwrap_err().reason.contains("as max_message_size"));
        config.limits.message_bytes = 90_000;
        assert_eq!(check(&config), Ok(()));
        config.limits.request_head_bytes = 50_001;
        assert!(check(&config).unwrap_err().reason.contains("as limits.request_head_bytes"));
    }
}
