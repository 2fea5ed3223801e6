//! The limits of an app together with those of the server: the stricter one applies. The settings are
//! read at each use, as they change while clients are connected.

use std::num::NonZeroU32;

use super::channel::Kind;
use super::client_error::ClientError;
use super::pubsub::PubSub;
use crate::config::{Exceeded, LimitKind};
use crate::proto::message;

/// The limit that applies, and how it is counted when it is exceeded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    /// The value; 0 is no limit.
    pub max: u32,
    pub exceeded: Exceeded,
}

impl Bound {
    /// The setting, as errors name it.
    pub(super) fn setting(&self) -> &'static str {
        self.exceeded.kind.setting()
    }
}

impl PubSub {
    /// The stricter of a limit of the server, of this value, and one of an app.
    pub(super) fn bound(&self, app: u32, (kind, max): (LimitKind, u32), own: LimitKind) -> Bound {
        match self.app_bound(app, own) {
            Some(bound) if max == 0 || bound.max < max => bound,
            _ => Bound { max, exceeded: kind.into() },
        }
    }

    /// A limit that only apps have, if this app has it.
    pub(super) fn app_bound(&self, app: u32, kind: LimitKind) -> Option<Bound> {
        let max = NonZeroU32::new(self.apps[app].settings.limits.of(kind)?)?;
        Some(Bound { max: max.get(), exceeded: Exceeded { kind, of_app: Some((app, max)) } })
    }

    /// Client events of one connection in a second.
    pub(super) fn client_event_rate(&self, app: u32) -> Bound {
        let server = (LimitKind::ClientEventsPerSecond, self.limits.client_events_per_second);
        self.bound(app, server, LimitKind::AppClientEvents)
    }

    /// Characters of an event name.
    pub(super) fn event_name_length(&self, app: u32) -> Bound {
        let server = (LimitKind::EventNameLength, self.limits.event_name_length);
        self.bound(app, server, LimitKind::AppEventName)
    }

    /// Characters of a channel name.
    pub(super) fn channel_name_length(&self, app: u32) -> Bound {
        let server = (LimitKind::ChannelNameLength, self.limits.channel_name_length);
        self.bound(app, server, LimitKind::AppChannelName)
    }

    /// Members of a presence channel.
    pub(super) fn presence_members(&self, app: u32) -> Bound {
        let server = (LimitKind::PresenceMembers, self.limits.presence_members);
        self.bound(app, server, LimitKind::AppPresenceMembers)
    }

    /// The limit of channels, if one more channel would exceed it. Channels at other nodes count as far
    /// as this node knows them.
    pub(super) fn channels_exceeded(&self, app: u32, channel: &str) -> Option<Bound> {
        let bound = self.app_bound(app, LimitKind::AppChannels)?;
        let app = &self.apps[app];
        let is_new = app.place(channel).is_none() && Kind::of(channel).is_listed();
        Some(bound).filter(|bound| is_new && app.listed >= bound.max)
    }

    /// The limit of the bytes of an event's data, if this data exceeds it, and its bytes. `data` is
    /// JSON text; if it is a string, the bytes of the string count.
    pub(super) fn payload_exceeded(&self, app: u32, data: &str) -> Option<(Bound, usize)> {
        let bound = self.app_bound(app, LimitKind::AppEventPayload)?;
        let max = bound.max as usize;
        // Fast path: a string has at most as many bytes as its JSON text.
        if data.len() <= max {
            return None;
        }
        let bytes = message::string(data).map_or(data.len(), |text| text.len());
        (bytes > max).then_some((bound, bytes))
    }

    /// Checks the bytes of a client event's data.
    pub(super) fn check_payload(&self, app: u32, data: &str) -> Result<(), ClientError> {
        let Some((bound, _)) = self.payload_exceeded(app, data) else { return Ok(()) };
        let (max, setting) = (bound.max, bound.setting());
        let text = format!("Client event rejected: its data has more than {max} bytes ({setting})");
        Err(ClientError::new(4301, text, "too much data").at(bound.exceeded))
    }
}
