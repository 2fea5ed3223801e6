//! The limits that a client or publisher can exceed, with their settings, for counters, error
//! responses and the log. Their values are in `Limits`, `App` and `Server`.

use std::num::NonZeroU32;

macro_rules! limit_kinds {
    ($($kind:ident $setting:literal $description:literal;)*) => {
        /// A limit that was exceeded.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum LimitKind {
            $(#[doc = concat!("`", $setting, "`")] $kind,)*
        }

        impl LimitKind {
            /// All kinds, in order: `LimitKind::ALL[kind as usize] == kind`.
            pub const ALL: [LimitKind; [$($setting),*].len()] = [$(LimitKind::$kind),*];

            /// The setting, as errors name it.
            pub const fn setting(self) -> &'static str {
                match self {
                    $(LimitKind::$kind => $setting,)*
                }
            }

            /// What a client did to exceed the limit, and the consequence; the subject is its address.
            pub fn description(self) -> &'static str {
                match self {
                    $(LimitKind::$kind => $description,)*
                }
            }
        }
    };
}

limit_kinds! {
    Connections "limits.connections"
        "connected when the server was full and was asked to retry";
    ConnectionsPerAddress "limits.connections_per_address"
        "has too many connections and was asked to retry";
    AppConnections "max_connections"
        "connected when its app was full and was rejected";
    RequestTimeout "limits.request_timeout_ms"
        "did not send a complete request in time and was disconnected";
    RequestHeadBytes "limits.request_head_bytes"
        "sent a request head that is too long and was rejected";
    RequestHeaders "limits.request_headers"
        "sent too many headers and was rejected";
    RequestSize "max_request_size"
        "sent a request that is too long and was rejected";
    PipelinedRequests "limits.pipelined_requests"
        "does not read its responses; the server reads no more from it until it does";
    ApiRequests "limits.api_requests"
        "sent a request while too many others were incomplete and was rejected";
    MessageSize "max_message_size"
        "sent a message that is too long and was disconnected";
    MessageBytes "limits.message_bytes"
        "sent a message that is too long and was disconnected";
    MessageFragments "limits.message_fragments"
        "sent a message in too many frames and was disconnected";
    RateLimit "rate_limiting.max_attempts"
        "sent too many messages and was rejected";
    OutboxBytes "limits.outbox_bytes"
        "reads too slowly and was disconnected";
    ClientEventsPerSecond "limits.client_events_per_second"
        "sent too many client events in a second, which were rejected";
    ChannelsPerConnection "limits.channels_per_connection"
        "subscribed to too many channels and was rejected";
    ChannelNameLength "limits.channel_name_length"
        "used a channel name that is too long and was rejected";
    EventNameLength "limits.event_name_length"
        "sent an event name that is too long and was rejected";
    ChannelsPerEvent "limits.channels_per_event"
        "sent an event to too many channels and was rejected";
    EventsPerBatch "limits.events_per_batch"
        "sent too many events in a batch and was rejected";
    PresenceMembers "limits.presence_members"
        "joined a presence channel with too many members and was rejected";
    PresenceBytes "limits.presence_bytes"
        "joined a presence channel whose member list is full and was rejected";
    PresenceDataBytes "limits.presence_data_bytes"
        "joined a presence channel with too much data and was rejected";
    ConsoleConnections "limits.console_connections"
        "opened one connection too many to the console and was disconnected";
    FeedViewers "limits.feed_viewers"
        "asked for the feed of an app that has as many viewers as it may and was rejected";
    AcceptsPerTurn "limits.accepts_per_turn"
        "is one of many simultaneous connections; the rest wait for the next turn";
    AppBackendEvents "max_backend_events_per_second"
        "published more events than its app may in a second and was rejected";
    AppReadRequests "max_read_requests_per_second"
        "sent more read requests than its app may in a second and was rejected";
    AppClientEvents "max_client_events_per_second"
        "sent more client events than its app allows in a second, which were rejected";
    AppPresenceMembers "max_presence_members"
        "joined a presence channel with as many members as its app allows and was rejected";
    AppChannels "max_channels"
        "subscribed to a new channel when its app had as many as it may and was rejected";
    AppEventPayload "max_event_payload_size"
        "sent an event with more data than its app allows and was rejected";
    AppEventName "max_event_name_length"
        "sent an event name that is longer than its app allows and was rejected";
    AppChannelName "max_channel_name_length"
        "used a channel name that is longer than its app allows and was rejected";
    AppEventChannels "max_event_channels_at_once"
        "sent an event to more channels than its app allows and was rejected";
    AppEventBatch "max_event_batch_size"
        "sent more events in a batch than its app allows and was rejected";
    AppAuthorization "authorization_timeout"
        "was not authorized in time and was disconnected";
}

/// A limit that was exceeded, with its value if it is one of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// The limit.
    pub kind: LimitKind,
    /// The index of the app in the hub, and the value of its setting; `None` for a limit of the
    /// server.
    pub of_app: Option<(u32, NonZeroU32)>,
}

impl From<LimitKind> for Exceeded {
    fn from(kind: LimitKind) -> Self {
        Exceeded { kind, of_app: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;

    #[test]
    fn each_kind_has_its_index_and_an_existing_setting() {
        for kind in LimitKind::ALL {
            assert_eq!(LimitKind::ALL[kind as usize], kind);
            if let Some(limit) = kind.setting().strip_prefix("limits.") {
                assert!(Limits::NAMES.contains(&limit), "{limit}");
            }
        }
    }
}
