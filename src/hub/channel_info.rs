//! The `info` attributes of channels, in Laravel Reverb's order (protocol section 14.2):
//! `occupied`, `user_count`, `subscription_count`, `cache`. Attributes that do not apply to a
//! channel are omitted. Which channels are listed is decided in `api`.

use super::app::App;
use super::channel::Access;
use super::ids::Now;
use crate::proto::message::push_json_string;
use crate::proto::snapshot::{Codec, DecodeResult};
use crate::proto::websocket;

/// The attributes a request asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Info {
    occupied: bool,
    user_count: bool,
    subscription_count: bool,
    cache: bool,
}

impl Info {
    /// Encodes or decodes it, depending on the direction of `c`.
    pub(crate) fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        let flags = [
            &mut self.occupied,
            &mut self.user_count,
            &mut self.subscription_count,
            &mut self.cache,
        ];
        flags.into_iter().try_for_each(|flag| c.flag(flag))
    }

    /// Parses a comma-separated list; unknown names are ignored.
    pub(crate) fn parse(list: &str) -> Self {
        let mut info = Info::default();
        for name in list.split(',') {
            match name {
                "occupied" => info.occupied = true,
                "user_count" => info.user_count = true,
                "subscription_count" => info.subscription_count = true,
                "cache" => info.cache = true,
                _ => {}
            }
        }
        info
    }

    /// Adds `occupied`.
    pub(crate) fn with_occupied(mut self) -> Self {
        self.occupied = true;
        self
    }

    /// Appends the attributes of a channel as a JSON object.
    pub(crate) fn write(self, out: &mut String, app: &App, name: &str, now: Now) {
        let channel = app.channel(name).filter(|channel| channel.kind.is_listed());
        let mut fields = Vec::new();
        if self.occupied {
            fields.push(format!(r#""occupied":{}"#, channel.is_some()));
        }
        if let Some(channel) = channel {
            let presence = channel.presence.as_deref();
            if let (true, Some(presence)) = (self.user_count, presence) {
                fields.push(format!(r#""user_count":{}"#, presence.len()));
            }
            if self.subscription_count && channel.kind.access != Access::Presence {
                fields.push(format!(r#""subscription_count":{}"#, channel.subscriptions()));
            }
        }
        if self.cache
            && let Some((frame, ttl_s)) = app.cache.event(name, now.ms)
            && let Ok(event) = std::str::from_utf8(websocket::payload(frame))
            && let Some(open) = event.strip_suffix('}')
        {
            fields.push(format!(r#""cache":{open},"ttl":{ttl_s}}}"#));
        }
        out.push('{');
        out.push_str(&fields.join(","));
        out.push('}');
    }
}

/// Appends `"name":{attributes}`.
pub(crate) fn write_entry(out: &mut String, info: Info, app: &App, name: &str, now: Now) {
    push_json_string(out, name);
    out.push(':');
    info.write(out, app, name, now);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_attributes_are_ignored() {
        assert_eq!(Info::parse("nonsense,,"), Info::default());
        let both = Info { user_count: true, cache: true, ..Info::default() };
        assert_eq!(Info::parse("cache,user_count"), both);
    }
}
