//! The bounds a client or publisher can run into, by the settings that set them: for counters and
//! for the log, so that whoever is refused can be told which setting it was. Their values are in
//! `Limits`, `App` and `Server`.

macro_rules! bounds {
    ($($bound:ident $setting:literal $description:literal;)*) => {
        /// A bound that was hit.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum LimitKind {
            $(#[doc = concat!("`", $setting, "`")] $bound,)*
        }

        impl LimitKind {
            /// All of them, in order: `LimitKind::ALL[bound as usize] == bound`.
            pub const ALL: [LimitKind; [$($setting),*].len()] = [$(LimitKind::$bound),*];

            /// The setting, as errors name it.
            pub const fn setting(self) -> &'static str {
                [$($setting),*][self as usize]
            }

            /// What a client does that hits it, and what becomes of the client.
            pub fn description(self) -> &'static str {
                [$($description),*][self as usize]
            }
        }
    };
}

bounds! {
    Connections "limits.connections"
        "came when there was no room and was put off";
    ConnectionsPerAddress "limits.connections_per_address"
        "has too many connections and was put off";
    AppConnections "max_connections"
        "found its app full and was refused";
    RequestTimeout "limits.request_timeout_ms"
        "did not send a whole request in time and was closed";
    RequestHeadBytes "limits.request_head_bytes"
        "sent too long a request head and was refused";
    RequestHeaders "limits.request_headers"
        "sent too many headers and was refused";
    RequestSize "max_request_size"
        "sent too long a request and was refused";
    PipelinedRequests "limits.pipelined_requests"
        "does not read the answers to what it asks and is read no further until it does";
    ApiRequests "limits.api_requests"
        "sent a request while too many others were on their way and was refused";
    MessageSize "max_message_size"
        "sent too long a message and was closed";
    MessageBytes "limits.message_bytes"
        "sent too long a message and was closed";
    MessageFragments "limits.message_fragments"
        "sent a message in too many frames and was closed";
    RateLimit "rate_limiting.max_attempts"
        "sent too many messages and was refused";
    OutboxBytes "limits.outbox_bytes"
        "reads too slowly and was closed";
    ClientEventsPerSecond "limits.client_events_per_second"
        "sent too many client events in a second, which were refused";
    ChannelsPerConnection "limits.channels_per_connection"
        "asked for too many channels and was refused";
    ChannelNameLength "limits.channel_name_length"
        "named a channel with too long a name and was refused";
    EventNameLength "limits.event_name_length"
        "sent an event with too long a name and was refused";
    ChannelsPerEvent "limits.channels_per_event"
        "sent an event to too many channels and was refused";
    EventsPerBatch "limits.events_per_batch"
        "sent too many events in a batch and was refused";
    PresenceMembers "limits.presence_members"
        "found a presence channel full and was refused";
    PresenceBytes "limits.presence_bytes"
        "found the list of a presence channel full and was refused";
    PresenceDataBytes "limits.presence_data_bytes"
        "joined a presence channel with too much data and was refused";
    AcceptsPerTurn "limits.accepts_per_turn"
        "is one of many who came at once; the others wait for the next turn";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;

    #[test]
    fn a_bound_that_says_it_is_a_limit_is_one() {
        for bound in LimitKind::ALL {
            assert_eq!(LimitKind::ALL[bound as usize], bound);
            if let Some(limit) = bound.setting().strip_prefix("limits.") {
                assert!(Limits::NAMES.contains(&limit), "{limit}");
            }
        }
    }
}
