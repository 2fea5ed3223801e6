//! The limits of an app, in one table: field, key in `reverb.json`, and the kind under which it is
//! counted when it is exceeded. They apply in addition to those of the server (`Limits`). Their ranges
//! are in `settings/of_app`.

use super::LimitKind;

macro_rules! app_limits {
    ($($(#[$doc:meta])* $field:ident $key:literal $kind:ident;)*) => {
        /// The limits of an app; `None` is no limit except that of the server.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct AppLimits {
            $($(#[$doc])* pub $field: Option<u32>,)*
        }

        impl AppLimits {
            /// The keys with their values, in the order of the manual.
            pub fn values(&self) -> impl Iterator<Item = (&'static str, Option<u32>)> {
                [$(($key, self.$field)),*].into_iter()
            }

            /// Removes the limit with this key.
            pub(super) fn remove(&mut self, key: &str) {
                match key {
                    $($key => self.$field = None,)*
                    _ => {}
                }
            }

            /// The limit of this kind, if the app has it.
            pub fn of(&self, kind: LimitKind) -> Option<u32> {
                match kind {
                    $(LimitKind::$kind => self.$field,)*
                    _ => None,
                }
            }
        }
    };
}

app_limits! {
    /// Events that the API publishes in a second; each counts once for each channel it names.
    max_backend_events_per_second "max_backend_events_per_second" AppBackendEvents;
    /// `GET` requests of the API in a second.
    max_read_requests_per_second "max_read_requests_per_second" AppReadRequests;
    /// Client events of one connection in a second.
    max_client_events_per_second "max_client_events_per_second" AppClientEvents;
    /// Members of one presence channel.
    max_presence_members "max_presence_members" AppPresenceMembers;
    /// Occupied channels of the app.
    max_channels "max_channels" AppChannels;
    /// Bytes of the `data` of an event, of the API or of a client.
    max_event_payload_bytes "max_event_payload_size" AppEventPayload;
    /// Characters of an event name.
    max_event_name_length "max_event_name_length" AppEventName;
    /// Characters of a channel name.
    max_channel_name_length "max_channel_name_length" AppChannelName;
    /// Channels of one event.
    max_event_channels_at_once "max_event_channels_at_once" AppEventChannels;
    /// Events of one batch.
    max_event_batch_size "max_event_batch_size" AppEventBatch;
    /// Seconds in which a connection must sign in or join a private or presence channel. 0 is no
    /// limit, as `None`.
    authorization_timeout_s "authorization_timeout" AppAuthorization;
}
